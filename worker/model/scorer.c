/* A step in evaluation that stays open: what encode() made lives in the step's arena, each block of candidates in an
 * arena of its own. */
#include "worker/model/scorer.h"

#include <assert.h>
#include <stdlib.h>

#include "common/log.h"
#include "worker/model/step_parts.h"

enum { FIRST_BLOCK_BYTES = 1 << 20 };

struct Scorer {
    Step *step;
    int domain;
    uint64_t *keys;
    uint32_t n_keys;
    size_t n_values;
    real *values;
    Batch batch;
    const void *encoded;
    Arena block;
    Var **vars; /* (n_tensors) those that encode() asked for */
    int n_kept;
};

static bool is_held_whole(const Tensor *t, int domain) {
    return t->kind == TENSOR_SPARSE && t->reached_by >> domain & 1;
}

static uint32_t count_sparse_rows(const Scorer *s) {
    uint32_t n = 0;
    for (int i = 0; i < s->step->schema->n_tensors; i++)
        if (is_held_whole(&s->step->schema->tensors[i], s->domain))
            n += s->step->schema->tensors[i].rows;
    return n;
}

/* All rows of a tensor: an id is its own index. Returns the number of keys. */
static uint32_t hold_tensor(Scorer *s, int tensor, uint64_t *keys) {
    const Tensor *t = &s->step->schema->tensors[tensor];
    for (uint32_t id = 0; id < t->rows; id++)
        keys[id] = key_of(t->table, id);
    s->step->n_distinct[tensor] = t->rows;
    s->step->value_at[tensor] = s->n_values;
    s->n_values += (size_t)t->rows * t->cols;
    return t->rows;
}

/* The rows in the order of a step's: sparse, dense, ema. */
static void hold_rows(Scorer *s) {
    Step *step = s->step;
    const DomainRows *d = &step->domains[s->domain];
    uint32_t n_fixed = d->n_dense + d->n_ema;
    s->keys = must_calloc(count_sparse_rows(s) + n_fixed, sizeof *s->keys);
    for (int i = 0; i < step->schema->n_tensors; i++)
        if (is_held_whole(&step->schema->tensors[i], s->domain))
            s->n_keys += hold_tensor(s, i, s->keys + s->n_keys);
    memcpy(s->keys + s->n_keys, d->keys, n_fixed * sizeof *s->keys);
    s->n_keys += n_fixed;
    for (int i = 0; i < step->schema->n_tensors; i++)
        if (step->schema->tensors[i].kind != TENSOR_SPARSE && d->value_at[i] != SIZE_MAX)
            step->value_at[i] = s->n_values + d->value_at[i];
    s->n_values += (size_t)d->n_dense * SCHEMA_DENSE_WIDTH + (size_t)d->n_ema * SCHEMA_STATS_WIDTH;
    s->values = must_calloc(s->n_values, sizeof *s->values);
}

Scorer *scorer_open(const Model *model, const Config *config, const Schema *schema, int domain) {
    Scorer *s = must_calloc(1, sizeof *s);
    s->domain = domain;
    s->step = step_open(model, config, schema);
    s->step->is_held = true;
    s->vars = must_calloc((size_t)schema->n_tensors, sizeof *s->vars);
    arena_init(&s->block, FIRST_BLOCK_BYTES);
    hold_rows(s);
    return s;
}

void scorer_close(Scorer **s) {
    if (!*s)
        return;
    step_close(&(*s)->step);
    arena_free(&(*s)->block);
    free((*s)->vars);
    free((*s)->values);
    free((*s)->keys);
    free(*s);
    *s = NULL;
}

const uint64_t *scorer_keys(const Scorer *s, uint32_t *n_keys, size_t *n_values) {
    *n_keys = s->n_keys;
    *n_values = s->n_values;
    return s->keys;
}

real *scorer_values(Scorer *s) {
    return s->values;
}

static size_t vars_bytes(const Scorer *s) {
    return (size_t)s->step->schema->n_tensors * sizeof *s->vars;
}

void scorer_encode(Scorer *s, const Batch *batch) {
    Step *step = s->step;
    assert(batch->domain == s->domain && batch->n_instances > 0);
    step_reset(step);
    s->batch = *batch;
    step->batch = &s->batch;
    step->values = s->values;
    tape_init(&step->tape, &step->arena, false);
    s->encoded = step->model->encode(step, &step->config, &s->batch);
    s->n_kept = step->n_kept;
    memcpy(s->vars, step->vars, vars_bytes(s));
}

const real *scorer_score(Scorer *s, const uint32_t *cand, int n) {
    Step *step = s->step;
    s->batch.cand = cand;
    s->batch.n_candidates = n;
    arena_reset(&s->block);
    step->tape.arena = &s->block;
    memcpy(step->vars, s->vars, vars_bytes(s)); /* what the last block asked for lay in its arena */
    step->n_kept = s->n_kept;
    step->model->score(step, &step->config, &s->batch, s->encoded);
    return step->logits->x;
}
