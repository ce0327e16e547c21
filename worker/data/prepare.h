/* Ratings -> prepared data set: a directory that every worker maps.
 *
 * manifest.json   counts, options, chunks, probes; for each other file its size and XXH3. Written last. Keys: format
 * (1), fingerprint (16 hex digits: XXH3 of the inputs' text and of the options), options, inputs, n_items, n_users (ids
 * are smaller), common_items, common_users, domains [A, B] (users, items, events, n_train_items, valid_start,
 * test_start: seconds, or null in leave_one_out), n_chunks, chunks {warm, all}: per chunk [A train, A valid, A test, B
 * train, B valid, B test]; probes {warm, all}: [A, B] of {valid, test}: three of [auc, wauc, mrr] in the order of
 * PROBE_NAMES; files {name: {bytes, xxh3}}.
 *
 * Binary files    little-endian, mapped as they are; another version of the header's layout has another `version`:
 *
 *     0  8  "MGRVDATA"
 *     8  4  version = 1
 *    12  4  kind (DatafileKind)
 *    16  8  fingerprint, as in the manifest
 *    24 24  entries of sections 0, 1, 2
 *    48 16  0
 *    64     the sections, each padded with zeros to a multiple of 64 bytes
 *
 *   items.bin, users.bin          0: u64 offset of each id's name, and the end (n+1)   1: the names, each with a 0
 * behind events_X.bin                  0: per user id {u32 first event, u32 number}   1: i64 seconds   2: u32 items
 *   targets_X.bin                 0: u32 targets of the training instances, in their order
 *   train_X.bin, SPLIT_PROTOCOL_X.bin
 *                                 0: u32 first instance of each chunk, and the end (n_chunks+1)
 *                                 1: {u32 user, u32 first event, u32 target event}   2: u32 (n,9) negatives; none in
 * train
 *
 * X is A or B, SPLIT valid or test, PROTOCOL warm or all. Users lie in layout order (by a keyed hash of their id) in
 * events and instances; a chunk is a range of users. Ids 0 are "unknown". */
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
    RatingsOptions ratings;
    uint32_t user_core; /* users keep at least so many distinct items in the domain */
    uint32_t item_core; /* items keep at least so many users in the domain; 1 = all */
    SplitKind split;
    int days;       /* of SPLIT_BY_DAYS */
    uint32_t chunk; /* training instances of a chunk, at least */
    uint64_t seed;  /* of layout and candidates */
    bool force;     /* replace an earlier data set in out_dir */
} PrepareOptions;

extern const char *const SPLIT_KIND_NAMES[N_SPLIT_KINDS];

/* What was found on the way. */
typedef struct PrepareReport {
    RatingsStats inputs[N_DOMAINS];
    uint32_t n_duplicates[N_DOMAINS];
    uint32_t n_users[N_DOMAINS], n_items[N_DOMAINS], n_events[N_DOMAINS]; /* after the core */
    uint32_t n_common_users, n_common_items;
} PrepareReport;

void prepare_defaults(PrepareOptions *o);

/* Writes to a temporary directory beside out_dir and renames it: out_dir is afterwards whole or as before. ERR_DATA,
 * ERR_IO or ERR_USAGE with one sentence. */
Err prepare_run(const PrepareOptions *options, PrepareReport *report) MUST_CHECK;

#endif
