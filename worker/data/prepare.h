/* Ratings -> prepared data set: a directory that every worker maps.
 *
 * manifest.json   written last; its keys:
 *
 *   format          1
 *   fingerprint     16 hex digits: XXH3 of the inputs' text and formats, of the options and of the base's fingerprint
 *   lineage         fingerprints of the bases (--base) whose ids were kept, oldest first; at most DATAINFO_MAX_LINEAGE
 *   options         as given to prepare
 *   inputs          [A, B] of name, format, unit of the times (s, ms), bytes, xxh3 (of the text), rows, malformed
 *   n_items n_users ids are smaller; id 0 is "unknown"
 *   common_items common_users
 *   domains         [A, B] of users, items, events, duplicates, n_train_items, valid_start, test_start (seconds, or
 *                   null in leave_one_out)
 *   n_chunks
 *   chunks          {warm, all}: per chunk [A train, A valid, A test, B train, B valid, B test]
 *   probes          {warm, all}: [A, B] of {valid, test}: [auc, wauc, mrr] of each rule, in the order of PROBE_NAMES
 *   files           {name: {bytes, xxh3}} of the binary files
 *
 * Binary files    little-endian, mapped as they are. A change of what follows changes `version`.
 *
 *    offset size
 *     0      8     "MGRVDATA"
 *     8      4     version = 1
 *    12      4     kind (DatafileKind)
 *    16      8     fingerprint, as in the manifest
 *    24      3*8   entries of sections 0, 1, 2
 *    48      16    0
 *    64            the sections, each padded with zeros to a multiple of 64 bytes
 *
 *    file                      section 0                   section 1                    section 2
 *    items.bin, users.bin      u64 offset of each name,    the names, each ended by 0
 *                              and the end (n+1)
 *    events_X.bin              per user id {u32 first      i64 seconds                  u32 items
 *                              event, u32 number}
 *    targets_X.bin             u32 targets of train_X, in its order
 *    train_X.bin,              u32 first instance of each  {u32 user, u32 first event,  u32 negatives (n,9);
 *    SPLIT_PROTOCOL_X.bin      chunk, and the end          u32 target event}            none in train
 *                              (n_chunks+1)
 *
 * X is A or B, SPLIT valid or test, PROTOCOL warm or all. In events and instances users lie in layout order, by a keyed
 * hash of their id; a chunk is a range of users in that order.
 *
 * Ids are append-only: with a base its users and items keep their ids, also where they have no event any more, and new
 * names follow behind in the order in which the inputs, A and then B, first name them. */
#ifndef MANGROVE_WORKER_DATA_PREPARE_H
#define MANGROVE_WORKER_DATA_PREPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "worker/data/prepared.h"
#include "worker/data/ratings.h"

typedef struct PrepareOptions {
    const char *inputs[N_DOMAINS];
    const char *out_dir;
    const char *base_dir; /* an earlier data set whose ids are kept, or NULL */
    RatingsOptions ratings;
    uint32_t user_core; /* users keep at least so many distinct items in the domain */
    uint32_t item_core; /* items keep at least so many users in the domain; 1 = all */
    SplitKind split;
    int days;             /* of SPLIT_BY_DAYS */
    uint32_t chunk;       /* training instances of a chunk, at least */
    uint64_t seed;        /* of layout and candidates */
    bool force;           /* replace an earlier data set in out_dir */
    bool allows_vanished; /* more than half of the base's items or users may have no event */
} PrepareOptions;

extern const char *const SPLIT_KIND_NAMES[N_SPLIT_KINDS];

/* Names with an id of the base that have events, names that are new, names of the base without events. */
typedef struct IdCounts {
    uint32_t n_kept, n_new, n_vanished;
} IdCounts;

/* What was found on the way. */
typedef struct PrepareReport {
    RatingsStats inputs[N_DOMAINS];
    uint32_t n_duplicates[N_DOMAINS];
    uint32_t n_users[N_DOMAINS], n_items[N_DOMAINS], n_events[N_DOMAINS]; /* after the core */
    uint32_t n_common_users, n_common_items;
    IdCounts user_ids, item_ids; /* without a base all are new */
} PrepareReport;

void prepare_defaults(PrepareOptions *o);

/* Writes to a temporary directory beside out_dir and renames it: out_dir is afterwards whole or as before. ERR_DATA,
 * ERR_IO or ERR_USAGE with one sentence. */
Err prepare_run(const PrepareOptions *options, PrepareReport *report) MUST_CHECK;

#endif
