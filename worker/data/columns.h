/* Which column of a ratings file holds what: told by the user, by a header, or by the looks of Amazon's item ids. */
#ifndef MANGROVE_WORKER_DATA_COLUMNS_H
#define MANGROVE_WORKER_DATA_COLUMNS_H

#include <stdbool.h>

#include "worker/data/ratings.h"

typedef struct Columns {
    bool is_csv;     /* else tab-separated */
    bool has_header; /* the first line is no row */
    int user, item, time;
} Columns;

/* Reads the start of the file. ERR_DATA with one sentence if it does not tell. */
Err columns_sniff(const char *path, const RatingsOptions *options, Columns *out) MUST_CHECK;

#endif
