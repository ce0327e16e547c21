/* Ratings files, row by row: CSV without a header as Amazon publishes them (user,item,rating,time or
 * item,user,rating,time), CSV with a header, and RecBole's .inter (tab-separated, header of name:type). Plain or gzip.
 *
 * A row is malformed, and only counted, if a field is missing, the quotes do not match, a name is empty, over 255
 * bytes, not UTF-8 or holds control characters, the time is no number of seconds in [0, 1e11), or the line is over 64
 * KiB. */
#ifndef MANGROVE_WORKER_DATA_RATINGS_H
#define MANGROVE_WORKER_DATA_RATINGS_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum { RATINGS_MAX_NAME = 255, RATINGS_BAD_LINES = 3, RATINGS_MAX_COLUMNS = 64 };

typedef enum RatingsFormat { RATINGS_SNIFF, RATINGS_CSV, RATINGS_INTER } RatingsFormat;

typedef struct RatingsOptions {
    RatingsFormat format;
    const char *columns; /* "item,user,rating,time": what the columns hold; NULL = look at the file */
    double max_bad;      /* refuse the file if a larger share of its rows is malformed */
} RatingsOptions;

typedef struct RatingsStats {
    uint64_t n_bytes, hash;                /* of the text */
    uint64_t n_rows;                       /* without header and empty lines */
    uint64_t n_bad;                        /* of those, malformed */
    uint64_t bad_lines[RATINGS_BAD_LINES]; /* the first of them */
    char bad_reason[96];                   /* of the first */
} RatingsStats;

typedef struct RatingsRow {
    const char *user, *item; /* valid during the call only, not terminated */
    size_t user_length, item_length;
    int64_t time;
} RatingsRow;

/* Calls sink for every good row, in file order; an Err of the sink ends the reading. ERR_DATA with one sentence where
 * the file cannot be used. */
Err ratings_read(const char *path, const RatingsOptions *options, Err (*sink)(void *self, const RatingsRow *row),
                 void *self, RatingsStats *stats) MUST_CHECK;

/* Checks options->columns. ERR_USAGE. */
Err ratings_check_columns(const char *columns) MUST_CHECK;

#endif
