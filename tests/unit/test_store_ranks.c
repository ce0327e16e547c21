/* link: mg_store_f64 */
/* Held pushes of sync: any order of arrival, one result. In double. */
#include <math.h>

#include "common/rng.h"
#include "tests/unit/store_fixture.h"

enum { RANKS = 4, MAX_KEYS = 40 };

/* Rank r's push of a step: some keys that others have too, numbers whose sum depends on the order. */
static uint32_t rank_push(const Fixture *f, uint32_t step, int rank, uint64_t *keys, real *grads) {
    Rng r = rng_stream(step, RNG_TEST, (uint32_t)rank, 1);
    uint32_t n = 0;
    for (uint32_t i = 0; i < MAX_KEYS; i++)
        if (rng_below(&r, 2))
            keys[n++] = key_of(i % 2 ? f->a : f->shared, i);
    for (uint32_t i = 0; i < n * WIDTH; i++)
        grads[i] = rng_normal(&r) * pow(10, (int)rng_below(&r, 12));
    return rank == 3 && step == 1 ? 0 : n; /* an empty slice still pushes */
}

static void push_step(Fixture *f, uint32_t step, const int order[RANKS]) {
    uint64_t keys[MAX_KEYS];
    real grads[MAX_KEYS * WIDTH];
    for (int i = 0; i < RANKS; i++) {
        uint32_t n = rank_push(f, step, order[i], keys, grads);
        Work work = work_of(1, DOMAIN_A, step, order[i]);
        assert_int_equal(push(f, work, keys, n, grads), i + 1 < RANKS ? PUSH_HELD : PUSH_APPLIED);
        assert_int_equal(push(f, work, keys, n, grads), i + 1 < RANKS ? PUSH_HELD : PUSH_DUPLICATE);
    }
}

static void pull_everything(const Fixture *f, real *out) {
    for (uint32_t i = 0; i < MAX_KEYS; i++)
        store_pull(f->store, &(uint64_t){key_of(i % 2 ? f->a : f->shared, i)}, 1, out + i * WIDTH);
}

static void ranks_give_the_same_bits_in_any_order_of_arrival(void **state) {
    (void)state;
    Fixture f;
    real want[MAX_KEYS * WIDTH], got[MAX_KEYS * WIDTH];
    for (int p = 0; p < 24; p++) { /* every permutation of four */
        int order[RANKS] = {0, 1, 2, 3};
        for (int i = RANKS, code = p; i > 1; code /= i, i--) {
            int j = code % i, kept = order[i - 1];
            order[i - 1] = order[j];
            order[j] = kept;
        }
        fixture_open(&f, OPTIMIZER_ADAM, L2, RANKS);
        for (uint32_t step = 0; step < 3; step++)
            push_step(&f, step, order);
        pull_everything(&f, p ? got : want);
        assert_int_equal(store_stats(f.store).t[DOMAIN_A], 3);
        store_close(&f.store);
        if (p)
            assert_memory_equal(got, want, sizeof want);
    }
}

static void ranks_are_added_in_their_order_and_l2_comes_once(void **state) {
    (void)state;
    Fixture f, g;
    fixture_open(&f, OPTIMIZER_SGD, L2, 3);
    uint64_t key = key_of(f.a, 77);
    push_row(&f, work_of(1, DOMAIN_A, 0, 2), key, 1e-3);
    push_row(&f, work_of(1, DOMAIN_A, 0, 0), key, 1e16);
    push_row(&f, work_of(1, DOMAIN_A, 0, 1), key, -1e16);
    fixture_open(&g, OPTIMIZER_SGD, L2, 1);
    push_row(&g, work_of(1, DOMAIN_A, 0, 0), key, (1e16 + -1e16) + 1e-3); /* another order would lose the last */
    real x[WIDTH], y[WIDTH];
    store_pull(f.store, &key, 1, x);
    store_pull(g.store, &key, 1, y);
    assert_memory_equal(x, y, sizeof x);
    store_close(&f.store);
    store_close(&g.store);
}

static void held_pushes_are_no_part_of_the_state(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, OPTIMIZER_SGD, 0, 2);
    Work first = work_of(1, DOMAIN_A, 0, 1);
    assert_int_equal(push_row(&f, first, key_of(f.a, 1), 1), PUSH_HELD);
    StoreStats stats = store_stats(f.store);
    assert_int_equal(stats.n_rows, 0);
    assert_int_equal(stats.held_bytes, sizeof(uint64_t) + WIDTH * sizeof(real));
    assert_int_equal(stats.t[DOMAIN_A], 0);
    assert_false(store_is_applied(f.store, &first));
    store_open_epoch(f.store, 2, (uint32_t[]){STEPS, STEPS}); /* drops it: the other rank alone completes nothing */
    assert_int_equal(store_stats(f.store).held_bytes, 0);
    assert_int_equal(push_row(&f, work_of(2, DOMAIN_A, 0, 0), key_of(f.a, 1), 1), PUSH_HELD);
    assert_int_equal(push_row(&f, work_of(2, DOMAIN_A, 0, 1), key_of(f.a, 1), 1), PUSH_APPLIED);
    store_close(&f.store);
}

static void a_stranger_cannot_make_it_hold_without_end(void **state) {
    (void)state;
    Fixture f;
    PushResult result;
    fixture_open(&f, OPTIMIZER_SGD, 0, 2);
    for (uint32_t step = 0; step < 64; step++)
        assert_int_equal(push_row(&f, work_of(1, DOMAIN_A, step, 0), key_of(f.a, 1), 1), PUSH_HELD);
    Work more = work_of(1, DOMAIN_A, 64, 0);
    assert_int_equal(store_push(f.store, &more, NULL, 0, NULL, &result), ERR_PROTOCOL);
    for (uint32_t step = 0; step < 64; step++)
        assert_int_equal(push_row(&f, work_of(1, DOMAIN_A, step, 1), key_of(f.a, 1), 1), PUSH_APPLIED);
    assert_int_equal(store_stats(f.store).t[DOMAIN_A], 64);
    store_close(&f.store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_give_the_same_bits_in_any_order_of_arrival),
        cmocka_unit_test(ranks_are_added_in_their_order_and_l2_comes_once),
        cmocka_unit_test(held_pushes_are_no_part_of_the_state),
        cmocka_unit_test(a_stranger_cannot_make_it_hold_without_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
