/* A store of a few thousand rows in tables of every kind, random pushes to it, and its rows as one string of bytes. */
#ifndef MANGROVE_TESTS_CUT_FIXTURE_H
#define MANGROVE_TESTS_CUT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/log.h"
#include "common/rng.h"
#include "server/store/store_cut.h"

enum { ITEMS = 60000, WIDTH = 8, STEPS = 1 << 20, SEED = 11, KEYS = 200, MAX_ROW = 5 * 64, MAX_RANKS = 2 };

typedef struct Dump {
    char *bytes;
    size_t used, capacity;
    uint32_t n_rows;
    size_t row_bytes; /* of the table at hand */
} Dump;

typedef struct Fixture {
    Schema schema;
    Store *store;
    uint32_t n_ranks, step;
    uint32_t n_items; /* pushed rows are below: the fewer, the more often each is pushed */
    Rng rng;
    int a, b, shared, dense, stats;
} Fixture;

static inline void fixture_open(Fixture *f, uint32_t n_ranks) {
    const OptimizerConfig adam = {.kind = OPTIMIZER_ADAM, .lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    memset(f, 0, sizeof *f);
    schema_add_sparse(&f->schema, "item.A", REACHED_BY_A, ITEMS, WIDTH, 0.01);
    schema_add_sparse(&f->schema, "item.B", REACHED_BY_B, ITEMS, WIDTH, 0.01);
    schema_add_sparse(&f->schema, "item.shared", REACHED_BY_BOTH, ITEMS, WIDTH, 0.01);
    schema_add_dense(&f->schema, "W", REACHED_BY_BOTH, 40, 40, INIT_GLOROT_UNIFORM, 0, true);
    schema_add_sum(&f->schema, "loss", REACHED_BY_BOTH, 1, 4);
    schema_finish(&f->schema);
    f->b = 1;
    f->shared = 2;
    f->dense = schema_find_table(&f->schema, "dense_shared");
    f->stats = schema_find_table(&f->schema, "stats");
    f->n_ranks = n_ranks;
    f->n_items = ITEMS;
    f->rng = rng_stream(SEED, RNG_TEST, n_ranks, 0);
    assert_int_equal(store_open(&f->store, &f->schema, &adam, SEED, n_ranks), OK);
    store_open_epoch(f->store, 1, (uint32_t[]){STEPS, STEPS});
}

static inline void fixture_close(Fixture *f) {
    store_close(&f->store);
}

/* The push of this rank: rows of all tables that the step's domain reaches, some of them new, some far from any other.
 */
static inline PushResult push_rank(Fixture *f, uint32_t rank) {
    uint64_t keys[KEYS + 2];
    static real grads[KEYS * WIDTH + SCHEMA_DENSE_WIDTH + SCHEMA_STATS_WIDTH];
    Work work = {
        .epoch = store_epoch(f->store), .domain = f->step % N_DOMAINS, .step = f->step / N_DOMAINS, .rank = rank};
    PushResult result;
    for (uint32_t i = 0; i < KEYS; i++)
        keys[i] = key_of(i % 2                     ? f->shared
                         : work.domain == DOMAIN_A ? f->a
                                                   : f->b,
                         rng_below(&f->rng, f->n_items / KEYS) * KEYS + i);
    keys[KEYS] = key_of(f->dense, rng_below(&f->rng, (uint32_t)f->schema.tables[f->dense].n_rows));
    keys[KEYS + 1] = key_of(f->stats, 0);
    for (size_t i = 0; i < sizeof grads / sizeof *grads; i++)
        grads[i] = (real)rng_normal(&f->rng);
    assert_int_equal(store_push(f->store, &work, keys, KEYS + 2, grads, &result), OK);
    return result;
}

/* n whole steps; PUSH_WAIT is not expected. */
static inline void push_steps(Fixture *f, int n) {
    for (int i = 0; i < n; i++) {
        for (uint32_t r = 0; r < f->n_ranks; r++)
            assert_int_equal(push_rank(f, r), r + 1 < f->n_ranks ? PUSH_HELD : PUSH_APPLIED);
        f->step++;
    }
}

/* ---- all rows as bytes: key and row, by table, slot and row ----------------------------------------------------- */

static inline void dump_row(void *ctx, uint64_t key, const real *row) {
    Dump *d = ctx;
    size_t n = sizeof key + d->row_bytes;
    if (d->used + n > d->capacity) {
        d->capacity = 2 * (d->used + n);
        d->bytes = must_realloc(d->bytes, d->capacity);
    }
    memcpy(d->bytes + d->used, &key, sizeof key);
    memcpy(d->bytes + d->used + sizeof key, row, d->row_bytes);
    d->used += n;
    d->n_rows++;
}

static inline Dump dump_store(const Fixture *f, const Store *store) {
    Dump d = {0};
    for (int table = 0; table < f->schema.n_tables; table++) {
        d.row_bytes = store_row_reals(store, table) * sizeof(real);
        for (uint32_t slot = 0; slot < N_SLOTS; slot++)
            store_visit(store, table, slot, dump_row, &d);
    }
    return d;
}

/* As the reader reads it; what was counted before is what is there. */
static inline Dump dump_cut(const Fixture *f, StoreCut *cut) {
    Dump d = {0};
    for (int table = 0; table < f->schema.n_tables; table++) {
        uint64_t slots[N_SLOTS + 1];
        uint32_t n_before = d.n_rows;
        d.row_bytes = store_row_reals(store_cut_store(cut), table) * sizeof(real);
        store_cut_count(cut, table, slots);
        for (uint32_t slot = 0; slot < N_SLOTS; slot++) {
            store_cut_visit(cut, table, slot, dump_row, &d);
            assert_int_equal(d.n_rows - n_before, slots[slot + 1]);
        }
    }
    return d;
}

static inline void assert_same_dump(const Dump *a, const Dump *b) {
    assert_int_equal(a->n_rows, b->n_rows);
    assert_int_equal(a->used, b->used);
    assert_memory_equal(a->bytes, b->bytes, a->used);
}

static inline void assert_no_row_changed(const Fixture *f, const Dump *before) {
    Dump now = dump_store(f, f->store);
    assert_same_dump(&now, before);
    free(now.bytes);
}

#endif
