/* The evaluation files that MAN's authors published, plain or gzip, in one directory:
 *
 *   valid_A.tsv, test_A.tsv, valid_B.tsv, test_B.tsv    any of them; or .tsv.gz
 *   item_vocab.tsv, user_vocab.tsv                      likewise: id, name; id 0 is what stands for the unknown
 *
 * Eight fields, tabs between them: label, user, item, category, time, and the history: items, categories, times, each a
 * list with commas. Quotes are part of a name. A positive (label 1) is followed by its nine negatives (label 0) with
 * the positive's user, time and history. Categories are not used. Empty lines are skipped. */
#ifndef MANGROVE_WORKER_DATA_PUBLISHED_H
#define MANGROVE_WORKER_DATA_PUBLISHED_H

#include <stdbool.h>

#include "common/ranking.h"
#include "common/work.h"
#include "worker/data/vocab.h"

typedef struct Published {
    uint32_t n;           /* positives */
    Vocab items, users;   /* the names in the file; ids below are theirs, from 1 */
    uint32_t *candidates; /* (n, RANKING_CANDIDATES) the positive first */
    uint32_t *user;       /* (n) */
    int64_t *time;        /* (n) of the positive, in seconds */
    uint64_t *start;      /* (n+1) history of i is history[start[i] .. start[i+1]), oldest first, not empty */
    uint32_t *history;
    int64_t *history_time;
} Published;

/* The file of a domain and split; *exists = false and nothing to free if there is none. ERR_DATA with file and line
 * where it breaks the format; ERR_IO. */
Err published_read(Published *out, const char *dir, int domain, Split split, bool *exists) MUST_CHECK;
void published_free(Published *p); /* of a zeroed struct is legal */

/* Maps names to the ids of a vocabulary file: ids (names->n) out, 0 for a name it does not hold. ERR_DATA, ERR_IO. */
Err published_map_items(const char *dir, const Vocab *names, uint32_t *ids) MUST_CHECK;
Err published_map_users(const char *dir, const Vocab *names, uint32_t *ids) MUST_CHECK;

#endif
