/* Which column of a ratings file holds what: told by the user, by a header, by the names of JSON members, or by the
 * looks of Amazon's item ids. */
#ifndef MANGROVE_WORKER_DATA_COLUMNS_H
#define MANGROVE_WORKER_DATA_COLUMNS_H

#include <stdbool.h>

#include "worker/data/fields.h"
#include "worker/data/ratings.h"

typedef struct Columns {
    FieldsKind kind;
    bool has_header; /* the first line is no row */
    int user, item, time;
    const char *keys[FIELDS_KEYS]; /* of FIELDS_JSON: the members that are fields 0, 1, 2 */
} Columns;

/* Reads the start of the file. ERR_DATA with one sentence if it does not tell. */
Err columns_sniff(const char *path, const RatingsOptions *options, Columns *out) MUST_CHECK;

#endif
