/* link: mg_store_f64 */
/* Rows of the store, and that each push counts once. In double. */
#include <math.h>
#include <stdlib.h>

#include "tests/unit/store_fixture.h"

/* ---- rows ----------------------------------------------------------------------------------------------------- */

static void a_pull_gives_initial_values_and_creates_nothing(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, OPTIMIZER_ADAM, 0, 1);
    const uint64_t keys[] = {key_of(f.shared, 999), key_of(f.a, 0), key_of(f.dense_a, f.matrix + 1), key_of(f.a, 999)};
    real values[3 * WIDTH + SCHEMA_DENSE_WIDTH], want[SCHEMA_DENSE_WIDTH], *at = values;
    store_pull(f.store, keys, 4, values);
    for (int i = 0; i < 4; i++) {
        uint32_t width = f.schema.tables[key_table(keys[i])].width;
        initial(&f, keys[i], want);
        assert_memory_equal(at, want, width * sizeof(real));
        at += width;
    }
    assert_int_equal(store_stats(f.store).n_rows, 0);
    store_close(&f.store);
}

static void a_push_creates_its_rows_from_their_initial_values(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, OPTIMIZER_SGD, 0, 1);
    real want[WIDTH], got[WIDTH];
    uint64_t key = key_of(f.a, 3), other = key_of(f.a, 4);
    initial(&f, key, want);
    assert_int_equal(push_row(&f, work_of(1, DOMAIN_A, 0, 0), key, 2), PUSH_APPLIED);
    store_pull(f.store, &key, 1, got);
    for (int i = 0; i < WIDTH; i++)
        assert_true(got[i] == want[i] - LR * 2);
    assert_int_equal(store_stats(f.store).n_rows, 1);
    initial(&f, other, want);
    store_pull(f.store, &other, 1, got);
    assert_memory_equal(got, want, sizeof got);
    store_close(&f.store);
}

typedef struct Visited {
    uint64_t keys[3 * ITEMS];
    uint32_t n;
} Visited;

static void note_visit(void *ctx, uint64_t key, const real *row) {
    Visited *v = ctx;
    (void)row;
    v->keys[v->n++] = key;
}

static void a_visit_meets_every_row_once_in_ascending_order(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, OPTIMIZER_SGD, 0, 1);
    Visited *v = calloc(1, sizeof *v);
    bool is_met[ITEMS] = {false};
    for (uint32_t i = 0; i < STEPS; i++) /* ids that are not in order */
        push_row(&f, work_of(1, DOMAIN_A, i, 0), key_of(f.a, i * 567 % ITEMS), 1);
    uint64_t n_expected = 0;
    for (uint32_t slot = 0; slot < N_SLOTS; slot++) {
        uint32_t before = v->n;
        n_expected += store_slot_rows(f.store, f.a, slot);
        store_visit(f.store, f.a, slot, note_visit, v);
        for (uint32_t i = before; i < v->n; i++) {
            assert_int_equal(key_slot(v->keys[i]), slot);
            assert_true(i == before || v->keys[i] > v->keys[i - 1]);
            assert_false(is_met[key_row(v->keys[i])]);
            is_met[key_row(v->keys[i])] = true;
        }
    }
    assert_int_equal(v->n, STEPS);
    assert_int_equal(n_expected, STEPS);
    for (uint32_t i = 0; i < STEPS; i++)
        assert_true(is_met[i * 567 % ITEMS]);
    free(v);
    store_close(&f.store);
}

static void rows_put_elsewhere_go_on_alike(void **state) {
    (void)state;
    Fixture f, g;
    fixture_open(&f, OPTIMIZER_ADAM, L2, 1);
    for (uint32_t i = 0; i < 10; i++) {
        push_row(&f, work_of(1, DOMAIN_A, i, 0), key_of(f.shared, i), 1.5);
        push_row(&f, work_of(1, DOMAIN_B, i, 0), key_of(f.shared, i / 2), -0.5);
    }
    fixture_open(&g, OPTIMIZER_ADAM, L2, 1);
    for (uint64_t row = 0; row < 10; row++) {
        real state_of_row[5 * WIDTH];
        assert_int_equal(store_row_reals(f.store, f.shared), 5 * WIDTH);
        for (int i = 0; i < 5 * WIDTH; i++)
            state_of_row[i] = 0.25 * i + (double)row;
        store_put(f.store, key_of(f.shared, row), state_of_row);
        store_put(g.store, key_of(g.shared, row), state_of_row);
    }
    uint32_t n_bits;
    const uint8_t *bitmaps[] = {store_bitmap(f.store, DOMAIN_A, &n_bits), store_bitmap(f.store, DOMAIN_B, &n_bits)};
    assert_int_equal(n_bits, STEPS);
    StoreStats stats = store_stats(f.store);
    store_restore(g.store, 1, (uint32_t[]){STEPS, STEPS}, bitmaps, stats.t);
    assert_int_equal(store_applied_count(g.store), 20);
    assert_int_equal(push_row(&g, work_of(1, DOMAIN_A, 9, 0), key_of(g.shared, 9), 1), PUSH_DUPLICATE);
    for (uint32_t i = 10; i < 15; i++) {
        assert_int_equal(push_row(&f, work_of(1, DOMAIN_B, i, 0), key_of(f.shared, i - 8), 0.75), PUSH_APPLIED);
        assert_int_equal(push_row(&g, work_of(1, DOMAIN_B, i, 0), key_of(g.shared, i - 8), 0.75), PUSH_APPLIED);
    }
    for (uint64_t row = 0; row < 10; row++) {
        real x[WIDTH], y[WIDTH];
        store_pull(f.store, &(uint64_t){key_of(f.shared, row)}, 1, x);
        store_pull(g.store, &(uint64_t){key_of(g.shared, row)}, 1, y);
        assert_memory_equal(x, y, sizeof x);
    }
    store_close(&f.store);
    store_close(&g.store);
}

/* ---- each push once ------------------------------------------------------------------------------------------- */

static void a_push_is_applied_once_whoever_repeats_it(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, OPTIMIZER_SGD, 0, 1);
    real once[WIDTH], again[WIDTH];
    uint64_t key = key_of(f.a, 3);
    Work work = work_of(1, DOMAIN_A, 7, 0);
    assert_false(store_is_applied(f.store, &work));
    assert_int_equal(push_row(&f, work, key, 1), PUSH_APPLIED);
    assert_true(store_is_applied(f.store, &work));
    store_pull(f.store, &key, 1, once);
    assert_int_equal(push_row(&f, work, key, 1), PUSH_DUPLICATE);
    store_pull(f.store, &key, 1, again);
    assert_memory_equal(once, again, sizeof once);
    assert_int_equal(store_stats(f.store).t[DOMAIN_A], 1);
    assert_int_equal(push_row(&f, work_of(1, DOMAIN_B, 7, 0), key_of(f.b, 3), 1), PUSH_APPLIED); /* its own bit */
    store_close(&f.store);
}

static void lower_epochs_are_applied_and_higher_ones_wait(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, OPTIMIZER_SGD, 0, 1);
    store_open_epoch(f.store, 5, (uint32_t[]){10, 20});
    Work lower = work_of(4, DOMAIN_A, STEPS + 7, 0), higher = work_of(6, DOMAIN_A, STEPS + 7, 0);
    assert_true(store_is_applied(f.store, &lower));
    assert_false(store_is_applied(f.store, &higher));
    assert_int_equal(push_row(&f, lower, key_of(f.a, 3), 1), PUSH_DUPLICATE);
    assert_int_equal(push_row(&f, higher, key_of(f.a, 3), 1), PUSH_RETRY);
    assert_int_equal(store_stats(f.store).n_rows, 0);
    assert_int_equal(store_epoch(f.store), 5);
    store_close(&f.store);
}

static void t_and_bits_count_pushes_without_rows_too(void **state) {
    (void)state;
    Fixture f;
    uint32_t n_bits;
    fixture_open(&f, OPTIMIZER_ADAM, 0, 1);
    assert_int_equal(push(&f, work_of(1, DOMAIN_B, 2, 0), NULL, 0, NULL), PUSH_APPLIED);
    assert_int_equal(push(&f, work_of(1, DOMAIN_B, 9, 0), NULL, 0, NULL), PUSH_APPLIED);
    StoreStats stats = store_stats(f.store);
    assert_int_equal(stats.t[DOMAIN_A], 0);
    assert_int_equal(stats.t[DOMAIN_B], 2);
    assert_int_equal(store_applied_count(f.store), 2);
    const uint8_t *bits = store_bitmap(f.store, DOMAIN_B, &n_bits);
    assert_int_equal(n_bits, STEPS);
    assert_int_equal(bitmap_count(bits, n_bits), 2);
    assert_true(bitmap_get(bits, 2) && bitmap_get(bits, 9));
    store_open_epoch(f.store, 2, (uint32_t[]){STEPS, STEPS});
    assert_int_equal(store_applied_count(f.store), 0);
    assert_int_equal(store_stats(f.store).t[DOMAIN_B], 2); /* t goes on */
    store_close(&f.store);
}

static void a_refused_push_changes_nothing(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, OPTIMIZER_ADAM, 0, 1);
    const uint64_t good[] = {key_of(f.a, 1), key_of(f.shared, 1)}, twice[] = {key_of(f.a, 1), key_of(f.a, 1)},
                   unreached[] = {key_of(f.a, 1), key_of(f.b, 1)};
    const struct {
        const uint64_t *keys;
        real last;
        const char *says;
    } CASES[] = {
        {good, NAN, "not finite"}, {good, INFINITY, "not finite"}, {good, -INFINITY, "not finite"},
        {twice, 1, "twice"},       {unreached, 1, "do not reach"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        real grads[2 * WIDTH] = {0};
        Work work = work_of(1, DOMAIN_A, 0, 0);
        PushResult result;
        grads[2 * WIDTH - 1] = CASES[i].last;
        assert_int_equal(store_push(f.store, &work, CASES[i].keys, 2, grads, &result), ERR_PROTOCOL);
        assert_non_null(strstr(err_message(), CASES[i].says));
        assert_false(store_is_applied(f.store, &work));
        assert_int_equal(store_stats(f.store).n_rows, 0);
        assert_int_equal(store_stats(f.store).t[DOMAIN_A], 0);
    }
    store_close(&f.store);
}

static void keys_of_strangers_are_checked(void **state) {
    (void)state;
    Fixture f;
    size_t n_values;
    fixture_open(&f, OPTIMIZER_SGD, 0, 1);
    const uint64_t good[] = {key_of(f.a, ITEMS - 1), key_of(f.dense_a, f.bias)}, no_row = key_of(f.a, ITEMS),
                   no_table = key_of(f.schema.n_tables, 0), no_dense = key_of(f.dense_a, f.bias + 1);
    assert_int_equal(store_check_keys(f.store, good, 2, &n_values), OK);
    assert_int_equal(n_values, WIDTH + SCHEMA_DENSE_WIDTH);
    assert_int_equal(store_check_keys(f.store, &no_row, 1, NULL), ERR_PROTOCOL);
    assert_int_equal(store_check_keys(f.store, &no_table, 1, NULL), ERR_PROTOCOL);
    assert_int_equal(store_check_keys(f.store, &no_dense, 1, NULL), ERR_PROTOCOL);
    assert_int_equal(store_check_keys(f.store, &(uint64_t){UINT64_MAX}, 1, NULL), ERR_PROTOCOL);
    store_close(&f.store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pull_gives_initial_values_and_creates_nothing),
        cmocka_unit_test(a_push_creates_its_rows_from_their_initial_values),
        cmocka_unit_test(a_visit_meets_every_row_once_in_ascending_order),
        cmocka_unit_test(rows_put_elsewhere_go_on_alike),
        cmocka_unit_test(a_push_is_applied_once_whoever_repeats_it),
        cmocka_unit_test(lower_epochs_are_applied_and_higher_ones_wait),
        cmocka_unit_test(t_and_bits_count_pushes_without_rows_too),
        cmocka_unit_test(a_refused_push_changes_nothing),
        cmocka_unit_test(keys_of_strangers_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
