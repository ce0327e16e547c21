/* link: mg_store_f32 */
/* The store in float, as the product has it: a million rows against a plain array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/rng.h"
#include "server/store/store.h"

enum { ROWS = 1000000, WIDTH = 8, STEPS = 500, KEYS = 4000, SEED = 3 };

/* Every row of the table as it should be, and a store with the rows that were pushed. */
typedef struct Pair {
    Schema schema;
    Store *store;
    float *want; /* (ROWS, WIDTH) */
    bool *is_pushed;
    uint32_t n_pushed;
} Pair;

static void pair_open(Pair *p) {
    const OptimizerConfig sgd = {.kind = OPTIMIZER_SGD, .lr = 0.5};
    memset(p, 0, sizeof *p);
    schema_add_sparse(&p->schema, "item.A", REACHED_BY_A, ROWS, WIDTH, 0.01);
    schema_finish(&p->schema);
    assert_int_equal(store_open(&p->store, &p->schema, &sgd, SEED, 1), OK);
    store_open_epoch(p->store, 1, (uint32_t[]){STEPS, 0});
    p->want = malloc((size_t)ROWS * WIDTH * sizeof *p->want);
    p->is_pushed = calloc(ROWS, sizeof *p->is_pushed);
    for (uint64_t row = 0; row < ROWS; row++)
        schema_initial_row_f32(&p->schema, SEED, 0, row, p->want + row * WIDTH);
}

/* KEYS distinct rows: one of each KEYS-th part of the table. */
static void push_random(Pair *p, uint32_t step, Rng *r) {
    uint64_t keys[KEYS];
    static float grads[KEYS * WIDTH];
    PushResult result;
    for (uint32_t i = 0; i < KEYS; i++) {
        uint32_t row = rng_below(r, ROWS / KEYS) * KEYS + i;
        keys[i] = key_of(0, row);
        p->n_pushed += !p->is_pushed[row];
        p->is_pushed[row] = true;
        for (int k = 0; k < WIDTH; k++) {
            grads[i * WIDTH + k] = (float)rng_below(r, 1024) / 1024;
            p->want[(size_t)row * WIDTH + k] -= 0.5f * grads[i * WIDTH + k];
        }
    }
    const Work work = {.epoch = 1, .domain = DOMAIN_A, .step = step};
    assert_int_equal(store_push(p->store, &work, keys, KEYS, grads, &result), OK);
    assert_int_equal(result, PUSH_APPLIED);
}

static void check_all(const Pair *p) {
    uint64_t keys[KEYS];
    static float got[KEYS * WIDTH];
    for (uint32_t first = 0; first < ROWS; first += KEYS) {
        for (uint32_t i = 0; i < KEYS; i++)
            keys[i] = key_of(0, first + i);
        store_pull(p->store, keys, KEYS, got);
        assert_memory_equal(got, p->want + (size_t)first * WIDTH, sizeof got); /* x - 0.5 g rounds alike everywhere */
    }
}

static void a_million_rows_equal_a_plain_array(void **state) {
    (void)state;
    static Pair p;
    pair_open(&p);
    Rng r = rng_stream(5, RNG_TEST, 0, 0);
    for (uint32_t step = 0; step < STEPS; step++)
        push_random(&p, step, &r);
    assert_true(p.n_pushed > ROWS / 2);
    check_all(&p); /* rows that were pushed and rows that never were */
    float row[WIDTH];
    for (uint32_t i = 0; i < ROWS; i++) { /* the rest comes in order */
        memcpy(row, p.want + (size_t)i * WIDTH, sizeof row);
        store_put(p.store, key_of(0, i), row);
    }
    check_all(&p);
    StoreStats stats = store_stats(p.store);
    assert_int_equal(stats.n_rows, ROWS);
    /* Beside the payload: 64 bytes for 7 places that are at least 4/7 full (16), a pointer per chunk of 16 (1), half a
     * chunk unused in each sub-table of 244 rows (1), a region of 2 MiB begun (2), the list of slots. */
    assert_in_range(stats.used_bytes - sizeof(float) * WIDTH * ROWS, 0, 24ul * ROWS);
    store_close(&p.store);
    free(p.want);
    free(p.is_pushed);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_million_rows_equal_a_plain_array)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
