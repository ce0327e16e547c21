/* link: mg_store_f64 */
/* What a push does to a row: sgd, adam per domain, L2, running statistics. In double. */
#include <math.h>

#include "common/rng.h"
#include "tests/unit/store_fixture.h"

static void l2_reaches_the_tensors_that_have_it(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, OPTIMIZER_SGD, L2, 1);
    const uint64_t item = key_of(f.a, 5), matrix = key_of(f.dense_a, f.matrix), bias = key_of(f.dense_a, f.bias);
    real x[SCHEMA_DENSE_WIDTH], y[SCHEMA_DENSE_WIDTH];
    const struct {
        uint64_t key;
        double l2;
        int n;
    } CASES[] = {{item, L2, WIDTH}, {matrix, L2, SCHEMA_DENSE_WIDTH}, {bias, 0, 10}};
    for (uint32_t c = 0; c < 3; c++) {
        initial(&f, CASES[c].key, x);
        push_row(&f, work_of(1, DOMAIN_A, c, 0), CASES[c].key, 3);
        store_pull(f.store, &CASES[c].key, 1, y);
        for (int i = 0; i < CASES[c].n; i++) /* a few roundings of numbers of size 1 */
            assert_true(fabs(y[i] - (x[i] - LR * (3 + CASES[c].l2 * x[i]))) < 1e-15);
    }
    store_close(&f.store);
}

/* The specification's Adam, for one number. */
typedef struct Adam {
    double x, m, v;
} Adam;

static void adam_step(Adam *a, double *m, double *v, double grad, int t) {
    grad += L2 * a->x;
    *m = BETA1 * *m + (1 - BETA1) * grad;
    *v = BETA2 * *v + (1 - BETA2) * grad * grad;
    a->x -= LR * sqrt(1 - pow(BETA2, t)) / (1 - pow(BETA1, t)) * *m / (sqrt(*v) + EPS);
}

static void adam_keeps_moments_and_t_per_domain(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, OPTIMIZER_ADAM, L2, 1);
    uint64_t key = key_of(f.shared, 8);
    real x[WIDTH];
    Adam want[N_DOMAINS] = {{0}}; /* x of [0] is the parameter; m and v of each domain */
    int t[N_DOMAINS] = {0};
    initial(&f, key, x);
    want[0].x = x[0];
    Rng r = rng_stream(1, RNG_TEST, 0, 0);
    for (uint32_t step = 0; step < 60; step++) {
        int d = (int)rng_below(&r, N_DOMAINS);
        t[d]++;
        if (rng_below(&r, 3) == 0) { /* lazy: the row rests, t does not */
            push(&f, work_of(1, d, step, 0), NULL, 0, NULL);
            continue;
        }
        double grad = rng_normal(&r);
        push_row(&f, work_of(1, d, step, 0), key, grad);
        adam_step(&want[0], &want[d].m, &want[d].v, grad, t[d]);
        store_pull(f.store, &key, 1, x);
        assert_true(fabs(x[0] - want[0].x) < 1e-13); /* 60 steps of roundings of numbers of size 1 */
    }
    assert_int_equal(store_row_reals(f.store, f.shared), 5 * WIDTH);
    assert_int_equal(store_row_reals(f.store, f.a), 3 * WIDTH);
    store_close(&f.store);
}

static void expect_no_moments(void *ctx, uint64_t key, const real *row) {
    (void)key;
    for (int i = WIDTH; i < 5 * WIDTH; i++)
        assert_true(row[i] == 0);
    ++*(int *)ctx;
}

static void a_gradient_of_0_creates_a_row_at_rest(void **state) {
    (void)state;
    Fixture f;
    int n_rows = 0;
    real want[WIDTH], got[WIDTH];
    fixture_open(&f, OPTIMIZER_ADAM, 0, 1);
    uint64_t key = key_of(f.shared, 8);
    push_row(&f, work_of(1, DOMAIN_A, 0, 0), key, 0);
    initial(&f, key, want);
    store_pull(f.store, &key, 1, got);
    assert_memory_equal(got, want, sizeof got);
    store_visit(f.store, f.shared, key_slot(key), expect_no_moments, &n_rows);
    assert_int_equal(n_rows, 1);
    store_close(&f.store);
}

static void ema_follows_the_weighted_mean_and_ignores_weight_0(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, OPTIMIZER_ADAM, L2, 2);
    uint64_t key = key_of(f.stats, f.ema + 1);
    real a[SCHEMA_STATS_WIDTH] = {[0] = 3 * 10, [1] = 3 * -4, [SCHEMA_STATS_VALUES] = 3};
    real b[SCHEMA_STATS_WIDTH] = {[0] = 1 * 2, [1] = 1 * 4, [SCHEMA_STATS_VALUES] = 1};
    real nothing[SCHEMA_STATS_WIDTH] = {[0] = 99}, got[SCHEMA_STATS_WIDTH];
    push(&f, work_of(1, DOMAIN_A, 0, 0), &key, 1, a);
    push(&f, work_of(1, DOMAIN_A, 0, 1), &key, 1, b);
    store_pull(f.store, &key, 1, got);
    assert_true(fabs(got[0] - (0.95 * 1 + 0.05 * 8)) < 1e-15); /* (30 + 2) / 4; roundings of numbers of size 1 */
    assert_true(fabs(got[1] - (0.95 * 1 + 0.05 * -2)) < 1e-15);
    push(&f, work_of(1, DOMAIN_A, 1, 0), &key, 1, nothing);
    push(&f, work_of(1, DOMAIN_A, 1, 1), &key, 1, nothing);
    real after[SCHEMA_STATS_WIDTH];
    store_pull(f.store, &key, 1, after);
    assert_memory_equal(got, after, sizeof got);
    store_close(&f.store);
}

static void sums_begin_anew_with_each_epoch_and_averages_go_on(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, OPTIMIZER_SGD, L2, 1);
    const uint64_t keys[] = {key_of(f.stats, f.sum), key_of(f.stats, f.ema)};
    real push_values[2 * SCHEMA_STATS_WIDTH], got[2 * SCHEMA_STATS_WIDTH];
    for (int i = 0; i < 2 * SCHEMA_STATS_WIDTH; i++)
        push_values[i] = 2;
    for (uint32_t step = 0; step < 3; step++)
        push(&f, work_of(1, DOMAIN_A, step, 0), keys, 2, push_values);
    store_pull(f.store, keys, 2, got);
    assert_true(got[0] == 6 && got[SCHEMA_STATS_VALUES] == 6);
    double running = got[SCHEMA_STATS_WIDTH];
    store_open_epoch(f.store, 2, (uint32_t[]){STEPS, STEPS});
    store_pull(f.store, keys, 2, got);
    assert_true(got[0] == 0 && got[SCHEMA_STATS_VALUES] == 0);
    assert_true(got[SCHEMA_STATS_WIDTH] == running);
    store_close(&f.store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(l2_reaches_the_tensors_that_have_it),
        cmocka_unit_test(adam_keeps_moments_and_t_per_domain),
        cmocka_unit_test(a_gradient_of_0_creates_a_row_at_rest),
        cmocka_unit_test(ema_follows_the_weighted_mean_and_ignores_weight_0),
        cmocka_unit_test(sums_begin_anew_with_each_epoch_and_averages_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
