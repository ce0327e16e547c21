/* Inside of a step, for step*.c and scorer.c alone.
 *
 * The rows of a step lie in one order, values and gradients alike:
 *   [ sparse rows, table by table | dense tables of the domain, whole | ema rows of the domain | the loss row ]
 * Training pulls the first two and pushes all; evaluation pulls the first three. */
#ifndef MANGROVE_WORKER_MODEL_STEP_PARTS_H
#define MANGROVE_WORKER_MODEL_STEP_PARTS_H

#include "worker/model/model_api.h"

enum { STEP_MAX_LOOKUPS = 32, STEP_MAX_KEPT = 32, STEP_MAX_STATS = 64 };

/* The part of a domain's keys that no batch changes. */
typedef struct DomainRows {
    uint64_t *keys;          /* dense, then ema, then the loss row */
    uint32_t n_dense, n_ema; /* keys; one loss row follows */
    size_t *value_at;        /* (n_tensors) first value behind the sparse ones; SIZE_MAX: not of this domain */
    size_t n_values;         /* of all these rows */
    int loss;                /* tensor */
} DomainRows;

typedef struct Lookup {
    int tensor, n;
    const uint32_t *ids;
    uint32_t *index; /* (n) into the tensor's distinct rows */
} Lookup;

typedef struct Kept {
    const char *name;
    const Var *var;
} Kept;

/* Batch statistics that wait for the push. */
typedef struct Stat {
    int tensor, row, n_rows;
    const real *x; /* (cols of the tensor) */
} Stat;

struct Step {
    const Model *model;
    const Schema *schema;
    ModelConfig config;
    void *layout;
    DomainRows domains[N_DOMAINS];
    Arena arena;
    Tape tape;
    /* of the current batch */
    const Batch *batch;
    bool is_training;
    bool has_moved_dense; /* out of keys and grads of the push */
    bool is_held; /* a scorer's: sparse tensors are whole, an id is its own index, and there is no loss */
    Lookup lookups[STEP_MAX_LOOKUPS];
    int n_lookups;
    Var **vars;           /* (n_tensors), NULL until asked for */
    size_t *value_at;     /* (n_tensors) first value in values and grads */
    uint32_t *n_distinct; /* (n_tensors) rows of the sparse ones */
    uint64_t *keys;
    uint32_t n_sparse; /* keys */
    size_t n_sparse_values, n_values;
    real *values, *grads;
    Var *logits;
    double loss, regulariser, watch;
    Kept kept[STEP_MAX_KEPT];
    int n_kept;
    Stat stats[STEP_MAX_STATS];
    int n_stats;
};

/* step_rows.c */
void step_rows_open(Step *s);
void step_rows_close(Step *s);
void step_rows_begin(Step *s); /* after lookup(): keys, their order, the memory of values and grads */
size_t step_values_before_ema(const Step *s);

/* step_stats.c */
void step_stats_write(Step *s); /* ema rows and the loss row into grads */

#endif
