/* All rows of one table of a snapshot, whichever servers wrote them and wherever in its chain they stand, in ascending
 * order of their ids: what inspect, diff, export and everybody who looks at single rows reads. Files are mapped; before
 * the first row is handed out every block of the table's files has been compared with its hash. */
#ifndef MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_ROWS_H
#define MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "server/snapshot/snapshot.h"

enum { SNAPSHOT_MAX_COLUMNS = 1 + 2 * N_DOMAINS };

typedef struct SnapshotRow {
    uint64_t id;                                /* row of the table; of an item table the item's id */
    const float *columns[SNAPSHOT_MAX_COLUMNS]; /* values, then m and v of each moment set; (width) each */
} SnapshotRow;

typedef struct SnapshotRows SnapshotRows;

/* table: its name in the schema. A table that has no file has 0 rows. ERR_DATA where the schema has no such table (the
 * sentence names those it has); ERR_CORRUPT names file and block; ERR_IO. */
Err snapshot_rows_open(SnapshotRows **out, const Snapshot *s, const char *table) MUST_CHECK;
void snapshot_rows_close(SnapshotRows **r);

uint64_t snapshot_rows_count(const SnapshotRows *r);
uint32_t snapshot_rows_width(const SnapshotRows *r);
uint32_t snapshot_rows_columns(const SnapshotRows *r);                         /* 1 + moments */
const char *snapshot_rows_column_name(const SnapshotRows *r, uint32_t column); /* "values", "m.A", .. */
void snapshot_rows_at(const SnapshotRows *r, uint64_t i, SnapshotRow *row); /* the i-th, i < count; valid until close */
bool snapshot_rows_find(const SnapshotRows *r, uint64_t id, SnapshotRow *row);

#endif
