/* The schema: tensors become tables of rows, and a row's initial value has a name. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/schema.h"

static void build(Schema *s) {
    memset(s, 0, sizeof *s);
    schema_add_sparse(s, "item.A", REACHED_BY_A, 1000, 20, 0.01);
    schema_add_sparse(s, "item.shared", REACHED_BY_BOTH, 1000, 20, 0.01);
    schema_add_sparse(s, "user.A", REACHED_BY_A, 50, 8, 0.01);
    schema_add_dense(s, "enc.A.W", REACHED_BY_A, 20, 20, INIT_GLOROT_UNIFORM, 0, true);
    schema_add_dense(s, "enc.A.b", REACHED_BY_A, 1, 20, INIT_CONSTANT, 1, false);
    schema_add_dense(s, "group", REACHED_BY_BOTH, 10, 20, INIT_TRUNCATED_NORMAL, 0.5, false);
    schema_add_ema(s, "head.A.var0", REACHED_BY_A, 2, 100, 1);
    schema_add_sum(s, "loss.A", REACHED_BY_A, 1, 4);
    schema_finish(s);
}

static void tensors_of_one_reach_share_a_table(void **state) {
    (void)state;
    static Schema s;
    build(&s);
    assert_int_equal(s.n_tables, 6); /* A, shared, user.A, dense_A, dense_shared, stats: no dense_B without tensors */
    assert_string_equal(s.tables[0].name, "A");
    assert_string_equal(s.tables[2].name, "user.A"); /* "A" is taken */
    assert_int_equal(schema_find_table(&s, "dense_B"), -1);
    int dense = schema_find_table(&s, "dense_A"), stats = schema_find_table(&s, "stats");
    assert_int_equal(s.tables[dense].n_rows, 7 + 1); /* 400 floats in rows of 64, then the bias in its own */
    assert_int_equal(s.tables[stats].n_rows, 2 * 2 + 1);
    assert_string_equal(schema_tensor_of(&s, dense, 6)->name, "enc.A.W");
    assert_string_equal(schema_tensor_of(&s, dense, 7)->name, "enc.A.b");
    assert_string_equal(schema_tensor_of(&s, stats, 4)->name, "loss.A");
}

static void initial_rows_depend_on_seed_name_and_row_alone(void **state) {
    (void)state;
    static Schema s;
    build(&s);
    float first[20], again[20], other_table[20], other_seed[20], other_row[20];
    schema_initial_row_f32(&s, 7, 0, 5, first);
    schema_initial_row_f32(&s, 7, 0, 5, again);
    schema_initial_row_f32(&s, 7, 1, 5, other_table);
    schema_initial_row_f32(&s, 8, 0, 5, other_seed);
    schema_initial_row_f32(&s, 7, 0, 6, other_row);
    assert_memory_equal(first, again, sizeof first);
    assert_memory_not_equal(first, other_table, sizeof first);
    assert_memory_not_equal(first, other_seed, sizeof first);
    assert_memory_not_equal(first, other_row, sizeof first);
    double exact[20];
    schema_initial_row_f64(&s, 7, 0, 5, exact);
    for (int i = 0; i < 20; i++)
        assert_true((float)exact[i] == first[i] && fabs(exact[i]) <= 0.02); /* cut at two deviations */
}

static void initial_values_follow_their_kind(void **state) {
    (void)state;
    static Schema s;
    build(&s);
    int dense = schema_find_table(&s, "dense_A"), stats = schema_find_table(&s, "stats");
    double row[64];
    schema_initial_row_f64(&s, 1, dense, 6, row); /* the last row of 400 floats: 16 of them, then fill */
    for (int i = 0; i < 64; i++)
        assert_true(i < 16 ? row[i] != 0 && fabs(row[i]) <= sqrt(6.0 / 40) : row[i] == 0);
    schema_initial_row_f64(&s, 1, dense, 7, row);
    for (int i = 0; i < 64; i++)
        assert_true(row[i] == (i < 20 ? 1 : 0));
    schema_initial_row_f64(&s, 1, stats, 0, row);
    assert_true(row[0] == 1 && row[62] == 1 && row[63] == 0); /* values, then a weight of 0 */
}

static void slots_spread_evenly(void **state) {
    (void)state;
    static uint32_t count[N_SLOTS];
    memset(count, 0, sizeof count);
    enum { KEYS = 64 * N_SLOTS };
    for (uint64_t i = 0; i < KEYS; i++)
        count[key_slot(key_of(2, i))]++;
    double chi2 = 0;
    for (int i = 0; i < N_SLOTS; i++)
        chi2 += (count[i] - 64.0) * (count[i] - 64.0) / 64.0;
    /* chi2 of 4095 degrees of freedom: mean 4095, deviation 90; six deviations either way */
    assert_true(chi2 > 4095 - 6 * 90 && chi2 < 4095 + 6 * 90);
}

static void keys_hold_table_and_row(void **state) {
    (void)state;
    uint64_t key = key_of(15, 123456789012345);
    assert_int_equal(key_table(key), 15);
    assert_int_equal(key_row(key), 123456789012345);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_of_one_reach_share_a_table),
        cmocka_unit_test(initial_rows_depend_on_seed_name_and_row_alone),
        cmocka_unit_test(initial_values_follow_their_kind),
        cmocka_unit_test(slots_spread_evenly),
        cmocka_unit_test(keys_hold_table_and_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
