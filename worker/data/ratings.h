/* Ratings files, row by row, plain or gzip, in three formats that the first line tells apart:
 *
 *   csv     without a header as Amazon publishes it (user,item,rating,time or item,user,rating,time), or with one that
 *           names the columns: user, user_id, userid or reviewerID; item, item_id, itemid, asin or parent_asin; time,
 *           timestamp, ts or unixReviewTime. Other columns are skipped. Beside parent_asin, asin counts as one of them.
 *   inter   RecBole's: tab-separated, header of name:type, the same names
 *   jsonl   one JSON object a line, whose members have these names; the first object that has all three decides
 *
 * A file's times are all seconds or all milliseconds: milliseconds if most of its first 1000 rows have 1e11 or more
 * (the year 5138 in seconds, 1973 in milliseconds). Fractions of a second are dropped.
 *
 * A row is malformed, and only counted, if a field is missing, the quotes or braces do not match, a name is empty, over
 * 255 bytes, not UTF-8 or holds control characters, the time is no number of seconds in [0, 1e11) or milliseconds in
 * [1e11, 1e14), or the line is over 1 MiB. */
#ifndef MANGROVE_WORKER_DATA_RATINGS_H
#define MANGROVE_WORKER_DATA_RATINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum { RATINGS_MAX_NAME = 255, RATINGS_BAD_LINES = 3, RATINGS_MAX_COLUMNS = 64 };

/* Values go into the fingerprint: append, never renumber. */
typedef enum RatingsFormat {
    RATINGS_SNIFF,
    RATINGS_CSV,
    RATINGS_INTER,
    RATINGS_JSONL,
    N_RATINGS_FORMATS,
} RatingsFormat;

extern const char *const RATINGS_FORMAT_NAMES[N_RATINGS_FORMATS]; /* NULL for RATINGS_SNIFF */

typedef struct RatingsOptions {
    RatingsFormat format;
    const char *columns; /* "item,user,rating,time": what the columns hold; NULL = look at the file */
    double max_bad;      /* refuse the file if a larger share of its rows is malformed */
} RatingsOptions;

typedef struct RatingsStats {
    uint64_t n_bytes, hash;                /* of the text */
    RatingsFormat format;                  /* as found */
    bool has_ms;                           /* its times are milliseconds */
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
