/* The tensors of a table's file (snapshot.h): their names, and what everybody who reads rows checks of them. */
#ifndef MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_COLUMNS_H
#define MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_COLUMNS_H

#include <stdint.h>

#include "common/err.h"
#include "common/safetensors.h"
#include "common/schema.h"
#include "server/snapshot/snapshot_manifest.h"
#include "server/snapshot/snapshot_rows.h"

enum { SNAPSHOT_COLUMN_NAME = 8 }; /* bytes of "values", with the 0 */

typedef struct SnapshotColumns {
    const char *path; /* of the file, for messages */
    int table;        /* in the schema */
    uint32_t width, n_columns;
    uint64_t n_rows;
    const uint64_t *rows;                       /* (n_rows) ids by (slot, id) */
    const uint64_t *slots;                      /* (N_SLOTS + 1) */
    const float *columns[SNAPSHOT_MAX_COLUMNS]; /* (n_rows, width) each: values, m, v, ... */
} SnapshotColumns;

/* "values", then m and v of each domain that reaches the table. column < SNAPSHOT_MAX_COLUMNS. */
void snapshot_column_name(const Table *table, uint32_t column, char name[SNAPSHOT_COLUMN_NAME]);

/* Finds rows, slots and n_columns columns of n_rows rows; what is above them is the caller's to set. Looks at the
 * header alone, so that hashes may be compared before the checks below. ERR_CORRUPT. */
Err snapshot_columns_find(SnapshotColumns *c, const Safetensors *tensors, const Table *table) MUST_CHECK;

/* Offsets ascend from 0 to the number of rows. ERR_CORRUPT. */
Err snapshot_columns_check_slots(const SnapshotColumns *c) MUST_CHECK;
/* Behind snapshot_columns_check_slots: rows ascend within their slot, belong to it, and are among the n_ids of the
 * table; the slot is, by s, the one of the server that wrote the file. ERR_CORRUPT. */
Err snapshot_columns_check_slot(const SnapshotColumns *c, const Snapshot *s, uint32_t server, uint64_t n_ids,
                                uint32_t slot) MUST_CHECK;

#endif
