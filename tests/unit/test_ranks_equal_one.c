/* link: mg_numbers_f64 mg_store_f64 */
/* R ranks of a batch are one batch: without batch norm, sgd on the held and added pushes of slices ends where one rank
 * with the whole batch ends. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/log.h"
#include "common/options.h"
#include "common/rng.h"
#include "server/store/store.h"
#include "worker/model/step.h"

enum { ITEMS = 60, N_CAND = 5, MAX_LEN = 6, STEPS = 10, INSTANCES = 12, MAX_RANKS = 4, SEED = 21 };

/* A model, and a store that has taken STEPS steps of it. */
typedef struct Run {
    Config config;
    Schema schema;
    Store *store;
    Step *step;
} Run;

static Run *run_open(uint32_t ranks) {
    Run *run = must_calloc(1, sizeof *run);
    Config *c = &run->config;
    config_defaults(c);
    c->model.dim = 8;
    c->model.seq_len = MAX_LEN;
    c->model.groups = 3;
    c->model.norm = NORM_NONE;
    c->model.init_std = 0.3; /* so that every path has a signal */
    c->model.lambda_group = 1e-2;
    c->optimizer = (OptimizerConfig){.kind = OPTIMIZER_SGD, .lr = 2, .l2 = 1e-2};
    if (model_schema(c, ITEMS, 1, &run->schema) != OK)
        fail_msg("%s", err_message());
    assert_int_equal(store_open(&run->store, &run->schema, &c->optimizer, SEED, ranks), OK);
    store_open_epoch(run->store, 1, (uint32_t[]){STEPS, STEPS});
    run->step = step_open(model_find(c->model.name), c, &run->schema);
    return run;
}

static void run_close(Run *run) {
    store_close(&run->store);
    step_close(&run->step);
    free(run);
}

/* Instances [first, end) of a step, random but the same however they are cut. */
static Batch *slice(Run *run, int domain, uint32_t step, int first, int end) {
    Arena *arena = step_arena(run->step);
    Batch *b = arena_zeros(arena, Batch, 1);
    int n = end - first;
    uint32_t *offset = arena_zeros(arena, uint32_t, n + 1), *hist = arena_array(arena, uint32_t, n * MAX_LEN + 1),
             *cand = arena_array(arena, uint32_t, n * N_CAND + 1);
    for (int i = 0; i < n; i++) {
        Rng r = rng_stream(step, RNG_TEST, (uint32_t)domain, (uint64_t)(first + i));
        uint32_t length = 1 + rng_below(&r, MAX_LEN);
        for (uint32_t t = 0; t < length; t++)
            hist[offset[i] + t] = 1 + rng_below(&r, ITEMS - 1);
        for (int k = 0; k < N_CAND; k++)
            cand[i * N_CAND + k] = 1 + rng_below(&r, ITEMS - 1);
        offset[i + 1] = offset[i] + length;
        b->longest = (int)length > b->longest ? (int)length : b->longest;
    }
    b->domain = domain;
    b->n_instances = n;
    b->n_candidates = N_CAND;
    b->n_positions = (int)offset[n];
    b->step_instances = INSTANCES;
    b->offset = offset;
    b->hist = hist;
    b->cand = cand;
    return b;
}

static PushResult push_slice(Run *run, int domain, uint32_t step, int rank, int first, int end) {
    uint32_t n_keys;
    size_t n_values;
    PushResult result;
    step_reset(run->step);
    step_begin(run->step, slice(run, domain, step, first, end), true);
    const uint64_t *keys = step_pull_keys(run->step, &n_keys, &n_values);
    store_pull(run->store, keys, n_keys, step_values(run->step));
    step_forward(run->step);
    step_backward(run->step);
    keys = step_push_keys(run->step, &n_keys, &n_values);
    const Work work = {.epoch = 1, .domain = (uint8_t)domain, .step = step, .rank = (uint16_t)rank};
    if (store_push(run->store, &work, keys, n_keys, step_grads(run->step), &result) != OK)
        fail_msg("%s", err_message());
    return result;
}

/* cuts (ranks + 1): rank r computes instances [cuts[r], cuts[r+1]) of every step. */
static Run *train(uint32_t ranks, const int *cuts) {
    Run *run = run_open(ranks);
    for (uint32_t step = 0; step < STEPS; step++)
        for (int domain = 0; domain < N_DOMAINS; domain++)
            for (int r = (int)ranks - 1; r >= 0; r--) /* the last rank arrives first */
                assert_int_equal(push_slice(run, domain, step, r, cuts[r], cuts[r + 1]),
                                 r > 0 ? PUSH_HELD : PUSH_APPLIED);
    return run;
}

typedef struct Difference {
    const Run *other;
    double worst, moved;
    uint64_t n_rows;
} Difference;

static void compare_row(void *ctx, uint64_t key, const real *row) {
    Difference *d = ctx;
    uint32_t width = d->other->schema.tables[key_table(key)].width;
    real got[SCHEMA_DENSE_WIDTH], initial[SCHEMA_DENSE_WIDTH];
    store_pull(d->other->store, &key, 1, got);
    schema_initial_row_f64(&d->other->schema, SEED, key_table(key), key_row(key), initial);
    for (uint32_t i = 0; i < width; i++) {
        d->worst = fmax(d->worst, fabs(got[i] - row[i]) / (1 + fabs(row[i])));
        if (!d->other->schema.tables[key_table(key)].is_stats)
            d->moved = fmax(d->moved, fabs(row[i] - initial[i]));
    }
    d->n_rows++;
}

static void slices_of_a_batch_end_where_the_whole_ends(void **state) {
    (void)state;
    static const int WHOLE[] = {0, INSTANCES};
    static const struct {
        uint32_t ranks;
        int cuts[MAX_RANKS + 1];
    } CASES[] = {
        {2, {0, INSTANCES / 2, INSTANCES}},           /* two ranks of b are one of 2b */
        {3, {0, 1, 5, INSTANCES}},                    /* slices of different sizes */
        {4, {0, 6, INSTANCES, INSTANCES, INSTANCES}}, /* the last two are empty and still push */
    };
    Run *one = train(1, WHOLE);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        Run *many = train(CASES[i].ranks, CASES[i].cuts);
        Difference d = {.other = many};
        for (int table = 0; table < one->schema.n_tables; table++)
            for (uint32_t slot = 0; slot < N_SLOTS; slot++)
                store_visit(one->store, table, slot, compare_row, &d);
        assert_int_equal(store_stats(one->store).n_rows, d.n_rows);
        assert_int_equal(store_stats(many->store).n_rows, d.n_rows);
        assert_true(d.moved > 0.1);
        print_message("%u ranks: %ju rows, moved by up to %.2g, the worst off by %.1e\n", CASES[i].ranks,
                      (uintmax_t)d.n_rows, d.moved, d.worst);
        /* The same sums of a few dozen terms of size 1 in another order: some 1e-16 a step, twenty steps. */
        assert_true(d.worst < 1e-13);
        run_close(many);
    }
    run_close(one);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(slices_of_a_batch_end_where_the_whole_ends)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
