/* A small step for tests: a configuration, random values that give every path a signal, and batches. */
#ifndef MANGROVE_TESTS_GRADIENT_SAMPLE_STEP_H
#define MANGROVE_TESTS_GRADIENT_SAMPLE_STEP_H

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/rng.h"
#include "worker/model/step.h"

enum { SAMPLE_ITEMS = 9, SAMPLE_MAX_INSTANCES = 8, SAMPLE_MAX_LENGTH = 6, SAMPLE_MAX_CANDIDATES = 8 };

typedef struct Sample {
    Config config;
    Schema *schema;
    Step *step;
    uint32_t offset[SAMPLE_MAX_INSTANCES + 1];
    uint32_t hist[SAMPLE_MAX_INSTANCES * SAMPLE_MAX_LENGTH];
    uint32_t cand[SAMPLE_MAX_INSTANCES * SAMPLE_MAX_CANDIDATES];
    Batch batch;
} Sample;

static inline Config sample_config(void) {
    Config c = {0};
    c.model = (ModelConfig){.name = "man",
                            .dim = 4,
                            .seq_len = SAMPLE_MAX_LENGTH,
                            .groups = 3,
                            .blocks = 2,
                            .mlp = {2, {5, 3}},
                            .att_mlp = {2, {4, 3}},
                            .isa = true,
                            .sfa = true,
                            .gpa = true,
                            .lambda_group = 0.01,
                            .init_std = 0.01};
    return c;
}

/* A batch of the given lengths, items drawn from a few, so that they repeat; the first instance's second candidate is
 * in its history. */
static inline void sample_batch(Sample *s, int domain, int n, const int *lengths, int n_candidates) {
    Rng r = rng_stream(3, RNG_TEST, 5, (uint64_t)n);
    Batch *b = &s->batch;
    *b = (Batch){.domain = domain, .n_instances = n, .n_candidates = n_candidates, .step_instances = n};
    s->offset[0] = 0;
    for (int i = 0; i < n; i++) {
        s->offset[i + 1] = s->offset[i] + (uint32_t)lengths[i];
        b->longest = lengths[i] > b->longest ? lengths[i] : b->longest;
    }
    b->n_positions = (int)s->offset[n];
    for (int p = 0; p < b->n_positions; p++)
        s->hist[p] = 1 + rng_below(&r, SAMPLE_ITEMS - 1);
    for (int i = 0; i < n * n_candidates; i++)
        s->cand[i] = rng_below(&r, SAMPLE_ITEMS);
    if (n > 0 && n_candidates > 1)
        s->cand[1] = s->hist[0];
    b->offset = s->offset;
    b->hist = s->hist;
    b->cand = s->cand;
}

static inline void sample_open(Sample *s, const Config *config) {
    s->config = *config;
    s->schema = must_calloc(1, sizeof *s->schema);
    if (model_schema(&s->config, SAMPLE_ITEMS, 1, s->schema))
        log_die(ERR_FAILED, "%s", err_message());
    s->step = step_open(model_find("man"), &s->config, s->schema);
}

static inline void sample_close(Sample *s) {
    step_close(&s->step);
    free(s->schema);
}

/* The same value for the same key in every step. */
static inline void sample_fill(Sample *s) {
    uint32_t n_keys;
    size_t n_values;
    const uint64_t *keys = step_pull_keys(s->step, &n_keys, &n_values);
    real *out = step_values(s->step);
    for (uint32_t i = 0; i < n_keys; i++) {
        Rng r = rng_stream(17, RNG_TEST, 6, keys[i]);
        bool is_stat = s->schema->tables[key_table(keys[i])].is_stats;
        for (uint32_t j = 0; j < s->schema->tables[key_table(keys[i])].width; j++)
            *out++ = (real)(is_stat ? 0.5 + rng_uniform(&r) : 0.5 * rng_normal(&r));
    }
}

static inline void sample_begin(Sample *s, bool is_training) {
    step_reset(s->step);
    step_begin(s->step, &s->batch, is_training);
    sample_fill(s);
}

#endif
