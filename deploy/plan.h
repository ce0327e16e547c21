/* What a configuration will cost, known before anything starts: rows, memory, bytes on the wire, steps.
 *
 * Dense and stats tables follow from the model alone. Sparse tables hold the items that training touches, so they need
 * a data set; without one their rows are unknown and a batch's keys are bounded by its size. */
#ifndef MANGROVE_DEPLOY_PLAN_H
#define MANGROVE_DEPLOY_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/config.h"
#include "common/datainfo.h"
#include "common/err.h"
#include "common/schema.h"
#include "common/work.h"

enum { PLAN_ROW_OVERHEAD = 24 }; /* bytes a row beside its values and state: key, tag, free places */

/* What training batches of a domain look up, measured: means over a few of them. */
typedef struct PlanSample {
    uint64_t n_batches; /* that were looked at; 0: none */
    double n_keys, n_values;
} PlanSample;

typedef struct PlanTable {
    const char *name; /* borrowed from the schema */
    bool is_exact;    /* else `rows` is an upper bound */
    bool is_known;    /* false: a sparse table without a data set, rows is 0 */
    uint64_t rows;
    uint32_t row_bytes; /* values, optimizer state and PLAN_ROW_OVERHEAD */
} PlanTable;

typedef struct PlanDomain {
    uint64_t instances;              /* to train on; 0 without a data set, as the next three */
    uint64_t steps, batches;         /* of an epoch; a step is R batches in sync, one in async */
    uint64_t eval_batches[N_SPLITS]; /* SPLIT_TRAIN unused */
    bool is_measured;                /* else the bytes are upper bounds */
    uint64_t pull_bytes, push_bytes; /* of a batch: keys, values and gradients over all servers, without headers */
} PlanDomain;

typedef struct Plan {
    bool has_data;
    uint32_t n_items, n_users, n_chunks;
    int servers, n_tables;
    PlanTable tables[SCHEMA_MAX_TABLES];
    uint64_t bytes;        /* of all tables whose rows are known */
    uint64_t server_bytes; /* one server's share */
    PlanDomain domains[N_DOMAINS];
} Plan;

/* info and samples may be NULL. Borrows schema. ERR_DATA where the data set cannot be divided into steps. */
Err plan_make(Plan *out, const Config *config, const Schema *schema, const DataInfo *info,
              const PlanSample *samples) MUST_CHECK;

/* For people, each line after "# ", so that it may follow a configuration; for programs, one JSON object. */
void plan_print(const Plan *plan, FILE *out);
void plan_print_json(const Plan *plan, FILE *out);

#endif
