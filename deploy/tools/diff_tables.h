/* The difference of two snapshots, table by table. */
#ifndef MANGROVE_DEPLOY_TOOLS_DIFF_TABLES_H
#define MANGROVE_DEPLOY_TOOLS_DIFF_TABLES_H

#include <stdint.h>

#include "common/err.h"
#include "common/schema.h"
#include "deploy/tools/spread.h"
#include "server/snapshot/snapshot.h"

typedef struct MovedRow {
    uint64_t row;
    double distance, norm_before, norm_after;
} MovedRow;

typedef struct TableDiff {
    char name[SCHEMA_NAME];
    uint64_t n_before, n_after; /* rows */
    uint64_t n_added, n_removed;
    uint64_t n_changed, n_unchanged; /* of the others, by the bits of their values; moments are not looked at */
    uint64_t n_not_finite;           /* changed rows whose distance is not: left out of what follows */
    Spread distances;                /* 2-norm of the difference, of changed rows */
    MovedRow *top;                   /* (n_top) farthest first; owned */
    uint32_t n_top;
} TableDiff;

/* Of a table that both have in the same width, or that only one has (the other NULL). ERR_DATA; ERR_CORRUPT, ERR_IO. */
Err diff_table(TableDiff *out, const Snapshot *before, const Snapshot *after, const char *table,
               uint32_t max_top) MUST_CHECK;
void diff_table_free(TableDiff *d);

#endif
