/* One file of a snapshot (snapshot.h: its tensors), verified, mapped, and checked row by row. */
#ifndef MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_READER_H
#define MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_READER_H

#include <stdint.h>

#include "common/err.h"
#include "common/safetensors.h"
#include "common/schema.h"
#include "server/snapshot/snapshot_manifest.h"
#include "server/snapshot/snapshot_rows.h"

enum { SNAPSHOT_COLUMN_NAME = 8 }; /* bytes of "values", with the 0 */

typedef struct SnapshotReader {
    Safetensors *tensors; /* owns the mapping */
    char *path;
    int table; /* in the schema */
    uint32_t width, n_columns;
    uint64_t n_rows;
    const uint64_t *rows;                       /* (n_rows) ids by (slot, id) */
    const uint64_t *slots;                      /* (N_SLOTS + 1) */
    const float *columns[SNAPSHOT_MAX_COLUMNS]; /* (n_rows, width) each */
} SnapshotReader;

/* "values", then m and v of each domain that reaches the table. column < SNAPSHOT_MAX_COLUMNS. */
void snapshot_reader_column(const Table *table, uint32_t column, char name[SNAPSHOT_COLUMN_NAME]);

/* Every block has its hash, the columns fit each other, and each row stands where it belongs. ERR_CORRUPT, ERR_IO. */
Err snapshot_reader_open(SnapshotReader *t, const Snapshot *s, const SnapshotEntry *entry,
                         const Schema *schema) MUST_CHECK;
void snapshot_reader_close(SnapshotReader *t); /* of a zeroed struct is legal */

#endif
