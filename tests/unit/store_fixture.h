/* A small store with one table of each kind, for the tests of its rules. */
#ifndef MANGROVE_TESTS_STORE_FIXTURE_H
#define MANGROVE_TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/store/store.h"

enum { ITEMS = 1000, WIDTH = 4, STEPS = 100, SEED = 11 };
static const double LR = 0.125, L2 = 0.5, BETA1 = 0.9, BETA2 = 0.999, EPS = 1e-8;

/* A store with its schema, and the tables' numbers. */
typedef struct Fixture {
    Schema schema;
    Store *store;
    int a, b, shared, dense_a, stats;
    uint64_t matrix, bias, ema, sum; /* first rows of dense and stats tensors */
} Fixture;

static inline void build_schema(Fixture *f) {
    Schema *s = &f->schema;
    memset(s, 0, sizeof *s);
    schema_add_sparse(s, "item.A", REACHED_BY_A, ITEMS, WIDTH, 0.01);
    schema_add_sparse(s, "item.B", REACHED_BY_B, ITEMS, WIDTH, 0.01);
    schema_add_sparse(s, "item.shared", REACHED_BY_BOTH, ITEMS, WIDTH, 0.01);
    int matrix = schema_add_dense(s, "enc.A.W", REACHED_BY_A, 10, 10, INIT_GLOROT_UNIFORM, 0, true);
    int bias = schema_add_dense(s, "enc.A.b", REACHED_BY_A, 1, 10, INIT_CONSTANT, 1, false);
    int ema = schema_add_ema(s, "bn.mean", REACHED_BY_A, 2, 3, 1);
    int sum = schema_add_sum(s, "loss.A", REACHED_BY_A, 1, 4);
    schema_finish(s);
    f->a = s->tensors[0].table;
    f->b = s->tensors[1].table;
    f->shared = s->tensors[2].table;
    f->dense_a = s->tensors[matrix].table;
    f->stats = s->tensors[ema].table;
    f->matrix = s->tensors[matrix].first_row;
    f->bias = s->tensors[bias].first_row;
    f->ema = s->tensors[ema].first_row;
    f->sum = s->tensors[sum].first_row;
}

static inline void fixture_open(Fixture *f, OptimizerKind kind, double l2, uint32_t ranks) {
    const OptimizerConfig optimizer = {.kind = kind, .lr = LR, .beta1 = BETA1, .beta2 = BETA2, .eps = EPS, .l2 = l2};
    build_schema(f);
    assert_int_equal(store_open(&f->store, &f->schema, &optimizer, SEED, ranks), OK);
    store_open_epoch(f->store, 1, (uint32_t[]){STEPS, STEPS});
}

static inline Work work_of(uint32_t epoch, int domain, uint32_t step, int rank) {
    return (Work){.epoch = epoch, .domain = (uint8_t)domain, .step = step, .rank = (uint16_t)rank};
}

static inline PushResult push(Fixture *f, Work work, const uint64_t *keys, uint32_t n_keys, const real *grads) {
    PushResult result;
    assert_int_equal(store_push(f->store, &work, keys, n_keys, grads, &result), OK);
    return result;
}

/* One row of one width, the same gradient everywhere. */
static inline PushResult push_row(Fixture *f, Work work, uint64_t key, double grad) {
    real grads[SCHEMA_DENSE_WIDTH];
    for (int i = 0; i < SCHEMA_DENSE_WIDTH; i++)
        grads[i] = grad;
    return push(f, work, &key, 1, grads);
}

static inline void initial(const Fixture *f, uint64_t key, real *out) {
    schema_initial_row_f64(&f->schema, SEED, key_table(key), key_row(key), out);
}

#endif
