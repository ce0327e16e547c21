/* Groups of dense gradients (dense.push > 1): applied once, after their steps, and with nothing but dense rows.
 * link: mg_store_f64 */
#include <math.h>

#include "tests/unit/store_fixture.h"

static Work group_of(uint32_t epoch, uint32_t first, uint16_t n) {
    return (Work){.epoch = epoch, .domain = DOMAIN_A, .step = first, .group = n};
}

static void open_grouped(Fixture *f, OptimizerKind kind) {
    fixture_open(f, kind, 0, 1);
    store_use_groups(f->store);
}

static void push_steps(Fixture *f, uint32_t first, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(push_row(f, work_of(1, DOMAIN_A, first + i, 0), key_of(f->a, i), 1), PUSH_APPLIED);
}

static real value_of(const Fixture *f, uint64_t key) {
    real row[SCHEMA_DENSE_WIDTH];
    store_pull(f->store, &key, 1, row);
    return row[0];
}

static void a_group_is_applied_once_and_after_its_steps(void **state) {
    (void)state;
    Fixture f;
    open_grouped(&f, OPTIMIZER_SGD);
    uint64_t key = key_of(f.dense_a, f.bias);
    uint32_t n;
    assert_int_equal(push_row(&f, group_of(1, 10, 3), key, 1), PUSH_RETRY);
    push_steps(&f, 10, 2);
    assert_int_equal(push_row(&f, group_of(1, 10, 3), key, 1), PUSH_RETRY);
    assert_true(value_of(&f, key) == 1);
    push_steps(&f, 12, 1);
    for (uint32_t step = 10; step < 13; step++) {
        Work work = work_of(1, DOMAIN_A, step, 0);
        assert_true(store_has_push(f.store, &work));
        assert_false(store_is_applied(f.store, &work)); /* whoever asks computes it again, for its group */
        assert_true(bitmap_get(store_begun(f.store, DOMAIN_A), step));
        assert_false(bitmap_get(store_bitmap(f.store, DOMAIN_A, &n), step));
    }
    assert_int_equal(push_row(&f, work_of(1, DOMAIN_A, 10, 0), key_of(f.a, 0), 1), PUSH_DUPLICATE);
    assert_int_equal(push_row(&f, group_of(1, 10, 3), key, 2), PUSH_APPLIED);
    assert_true(value_of(&f, key) == 1 - 2 * LR);
    assert_int_equal(push_row(&f, group_of(1, 10, 3), key, 2), PUSH_DUPLICATE);
    assert_true(value_of(&f, key) == 1 - 2 * LR);
    for (uint32_t step = 9; step < 14; step++) {
        Work work = work_of(1, DOMAIN_A, step, 0);
        assert_int_equal(store_is_applied(f.store, &work), step >= 10 && step < 13);
    }
    store_close(&f.store);
}

/* Adam's first moments: with t the batches of the domain, not the groups. */
static void t_counts_steps_alone(void **state) {
    (void)state;
    Fixture f;
    open_grouped(&f, OPTIMIZER_ADAM);
    uint64_t key = key_of(f.dense_a, f.bias);
    push_steps(&f, 0, 3);
    assert_int_equal(push_row(&f, group_of(1, 0, 3), key, 2), PUSH_APPLIED);
    assert_int_equal(store_stats(f.store).t[DOMAIN_A], 3);
    double rate = LR * sqrt(1 - pow(BETA2, 3)) / (1 - pow(BETA1, 3)), m = (1 - BETA1) * 2, v = (1 - BETA2) * 4;
    assert_true(fabs(value_of(&f, key) - (1 - rate * m / (sqrt(v) + EPS))) < 1e-12); /* rounding of a few operations */
    store_close(&f.store);
}

static void each_kind_of_push_has_its_own_tables(void **state) {
    (void)state;
    Fixture f;
    open_grouped(&f, OPTIMIZER_SGD);
    push_steps(&f, 0, 2);
    real grads[SCHEMA_STATS_WIDTH] = {1};
    PushResult result;
    const struct {
        Work work;
        uint64_t key;
        const char *sentence;
    } CASES[] = {
        {work_of(1, DOMAIN_A, 5, 0), key_of(f.dense_a, f.bias), "a push of a step changes table dense_A"},
        {group_of(1, 0, 2), key_of(f.a, 1), "a push of a group changes table A"},
        {group_of(1, 0, 2), key_of(f.stats, f.ema), "a push of a group changes table stats"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        real before = value_of(&f, CASES[i].key);
        assert_int_equal(store_push(f.store, &CASES[i].work, &CASES[i].key, 1, grads, &result), ERR_PROTOCOL);
        assert_non_null(strstr(err_message(), CASES[i].sentence));
        assert_true(value_of(&f, CASES[i].key) == before);
    }
    assert_int_equal(store_stats(f.store).t[DOMAIN_A], 2);
    store_close(&f.store);
}

static void a_store_without_groups_refuses_one(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, OPTIMIZER_SGD, 0, 1);
    push_steps(&f, 0, 2);
    Work work = group_of(1, 0, 2);
    uint64_t key = key_of(f.dense_a, f.bias);
    real grads[SCHEMA_DENSE_WIDTH] = {1};
    PushResult result;
    assert_int_equal(store_push(f.store, &work, &key, 1, grads, &result), ERR_PROTOCOL);
    assert_non_null(strstr(err_message(), "this store has none"));
    store_close(&f.store);
}

static void a_new_epoch_and_a_restored_one_begin_with_groups_like_their_steps(void **state) {
    (void)state;
    Fixture f;
    uint32_t n;
    open_grouped(&f, OPTIMIZER_SGD);
    push_steps(&f, 0, 2);
    assert_int_equal(push(&f, group_of(1, 0, 2), NULL, 0, NULL), PUSH_APPLIED);
    store_open_epoch(f.store, 2, (uint32_t[]){STEPS, STEPS});
    assert_int_equal(bitmap_count(store_bitmap(f.store, DOMAIN_A, &n), STEPS), 0);
    assert_int_equal(push(&f, group_of(1, 0, 2), NULL, 0, NULL), PUSH_DUPLICATE); /* of the epoch before */
    uint8_t bits[(STEPS + 7) / 8] = {5};
    store_restore(f.store, 3, (uint32_t[]){STEPS, STEPS}, (const uint8_t *const[]){bits, bits}, (uint64_t[]){7, 8});
    assert_memory_equal(store_bitmap(f.store, DOMAIN_A, &n), bits, sizeof bits);
    assert_memory_equal(store_begun(f.store, DOMAIN_A), bits, sizeof bits);
    store_close(&f.store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_group_is_applied_once_and_after_its_steps),
        cmocka_unit_test(t_counts_steps_alone),
        cmocka_unit_test(each_kind_of_push_has_its_own_tables),
        cmocka_unit_test(a_store_without_groups_refuses_one),
        cmocka_unit_test(a_new_epoch_and_a_restored_one_begin_with_groups_like_their_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
