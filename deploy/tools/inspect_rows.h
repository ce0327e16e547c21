/* Single rows of a table of a snapshot, printed so that every float comes back to the last bit. */
#ifndef MANGROVE_DEPLOY_TOOLS_INSPECT_ROWS_H
#define MANGROVE_DEPLOY_TOOLS_INSPECT_ROWS_H

#include <stdbool.h>

#include "common/err.h"
#include "server/snapshot/snapshot.h"

typedef struct InspectRows {
    const char *table;
    const char *row;      /* an id; one of row, name and file is given, the others are NULL */
    const char *name;     /* of an item or a user */
    const char *file;     /* a list, one a line: of names, as name_text.h spells them, where data_dir is given, else of
                             ids; "-": stdin */
    const char *data_dir; /* NULL: for a name the data set that the configuration tells */
    bool is_json;         /* a line per row: {"table", "row", "name", "values": [..], "m.A": [..], ..}; what is not a
                             number is null */
} InspectRows;

/* Prints the rows that are there. ERR_DATA where one is not, after the others; ERR_CORRUPT before the first. */
Err inspect_rows(const Snapshot *s, const InspectRows *what) MUST_CHECK;

#endif
