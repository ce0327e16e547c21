/* A table of a snapshot in numbers: how many rows of how many ids, and how long the rows are. */
#ifndef MANGROVE_DEPLOY_TOOLS_TABLE_FACTS_H
#define MANGROVE_DEPLOY_TOOLS_TABLE_FACTS_H

#include <jansson.h>
#include <stdint.h>

#include "common/err.h"
#include "common/schema.h"
#include "deploy/tools/spread.h"
#include "server/snapshot/snapshot.h"

enum {
    TABLE_BINS = 640,       /* of norms, each sqrt(2) wide: every float's norm has its bin */
    TABLE_BIN_OF_ONE = 320, /* begins at norm 1 */
};

typedef struct TableFacts {
    char name[SCHEMA_NAME];
    bool is_sparse;
    uint64_t n_rows;    /* in the snapshot and its base */
    uint64_t n_written; /* in the snapshot's own files */
    uint64_t n_ids;     /* that could have a row */
    uint32_t width, n_columns;
    uint64_t n_not_finite; /* rows whose values are not all finite; the rest is counted below */
    uint64_t n_zero;       /* rows of norm 0 */
    uint64_t bins[TABLE_BINS];
    Spread norms; /* 2-norm of the values */
} TableFacts;

/* Reads the whole table, verified. ERR_CORRUPT, ERR_IO. */
Err table_facts(TableFacts *out, const Snapshot *s, const Schema *schema, int table) MUST_CHECK;

json_t *table_facts_json(const TableFacts *f);
/* A line for each table, then how the rows of the sparse ones are spread over the bins. */
void table_facts_print(const TableFacts *facts, int n);

#endif
