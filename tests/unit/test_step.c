/* A step's rows: which keys, in which order, and what an empty or a divided batch pushes.
 * link: mg_numbers_f64 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "tests/gradient/sample_step.h"

static const int LENGTHS[] = {3, 1, 6, 2};

static const Tensor *tensor_of(const Sample *s, uint64_t key) {
    return schema_tensor_of(s->schema, key_table(key), key_row(key));
}

static void rows_are_named_once_and_in_order(void **state) {
    (void)state;
    Sample s = {0};
    Config c = sample_config();
    sample_open(&s, &c);
    sample_batch(&s, DOMAIN_B, 4, LENGTHS, 3);
    sample_begin(&s, true);
    uint32_t n_pull, n_push;
    size_t pull_values, push_values, sum = 0;
    const uint64_t *pull = step_pull_keys(s.step, &n_pull, &pull_values);
    const uint64_t *push = step_push_keys(s.step, &n_push, &push_values);
    assert_true(n_push > n_pull);
    assert_memory_equal(pull, push, sizeof *pull * n_pull);
    for (uint32_t i = 0; i < n_push; i++) {
        const Tensor *t = tensor_of(&s, push[i]);
        assert_true(t->reached_by & REACHED_BY_B);
        assert_int_equal(i < n_pull, t->kind == TENSOR_SPARSE || t->kind == TENSOR_DENSE);
        assert_true(i == 0 || t->kind >= tensor_of(&s, push[i - 1])->kind);
        for (uint32_t j = 0; j < i; j++)
            assert_true(push[i] != push[j]);
        sum += s.schema->tables[key_table(push[i])].width;
    }
    assert_int_equal(sum, push_values);
    sample_close(&s);
}

static void every_dense_row_of_the_domain_is_pulled(void **state) {
    (void)state;
    Sample s = {0};
    Config c = sample_config();
    sample_open(&s, &c);
    sample_batch(&s, DOMAIN_A, 4, LENGTHS, 3);
    sample_begin(&s, true);
    uint32_t n_pull, n_dense = 0, want = 0;
    size_t n_values;
    const uint64_t *keys = step_pull_keys(s.step, &n_pull, &n_values);
    for (uint32_t i = 0; i < n_pull; i++)
        n_dense += tensor_of(&s, keys[i])->kind == TENSOR_DENSE;
    for (int i = 0; i < s.schema->n_tensors; i++)
        if (s.schema->tensors[i].kind == TENSOR_DENSE && s.schema->tensors[i].reached_by & REACHED_BY_A)
            want += s.schema->tensors[i].n_rows;
    assert_int_equal(n_dense, want);
    sample_close(&s);
}

static void evaluation_pulls_running_statistics(void **state) {
    (void)state;
    Sample s = {0};
    Config c = sample_config();
    sample_open(&s, &c);
    sample_batch(&s, DOMAIN_A, 4, LENGTHS, 3);
    sample_begin(&s, false);
    uint32_t n_pull, n_ema = 0;
    size_t n_values;
    const uint64_t *keys = step_pull_keys(s.step, &n_pull, &n_values);
    for (uint32_t i = 0; i < n_pull; i++)
        n_ema += tensor_of(&s, keys[i])->kind == TENSOR_EMA;
    assert_int_equal(n_ema, 3 * 2 * 2 * N_DOMAINS); /* three MLPs, two layers, mean and variance */
    assert_non_null(step_forward(s.step));
    sample_close(&s);
}

static void an_empty_batch_pushes_nothing_that_counts(void **state) {
    (void)state;
    Sample s = {0};
    Config c = sample_config();
    sample_open(&s, &c);
    sample_batch(&s, DOMAIN_A, 0, NULL, 3);
    s.batch.step_instances = 8;
    sample_begin(&s, true);
    assert_null(step_forward(s.step));
    step_backward(s.step);
    uint32_t n_pull, n_push;
    size_t n_values;
    step_pull_keys(s.step, &n_pull, &n_values);
    step_push_keys(s.step, &n_push, &n_values);
    assert_true(n_pull > 0 && n_push > n_pull);
    for (size_t i = 0; i < n_values; i++)
        assert_true(step_grads(s.step)[i] == 0);
    sample_close(&s);
}

/* Runs the current batch and adds what it pushes to rows by key: sums (n_tables, most rows, width). */
static void push_into(Sample *s, double *sums, uint32_t most_rows) {
    sample_begin(s, true);
    step_forward(s->step);
    step_backward(s->step);
    uint32_t n_keys;
    size_t n_values;
    const uint64_t *keys = step_push_keys(s->step, &n_keys, &n_values);
    const real *grads = step_grads(s->step);
    for (uint32_t i = 0; i < n_keys; i++) {
        assert_true(key_row(keys[i]) < most_rows);
        double *row = sums + ((size_t)key_table(keys[i]) * most_rows + key_row(keys[i])) * SCHEMA_DENSE_WIDTH;
        for (uint32_t j = 0; j < s->schema->tables[key_table(keys[i])].width; j++)
            row[j] += (double)*grads++;
    }
}

/* Without batch norm the instances of a step do not meet, so two ranks' gradients and losses add up to the whole's. */
static void the_slices_of_a_step_add_up(void **state) {
    (void)state;
    enum { MOST_ROWS = 2000 };
    Config c = sample_config();
    c.model.norm = NORM_NONE;
    Sample s = {0};
    sample_open(&s, &c);
    size_t size = (size_t)s.schema->n_tables * MOST_ROWS * SCHEMA_DENSE_WIDTH;
    double *whole = must_calloc(size, sizeof *whole), *parts = must_calloc(size, sizeof *parts);
    sample_batch(&s, DOMAIN_A, 4, LENGTHS, 3);
    push_into(&s, whole, MOST_ROWS);
    Batch all = s.batch;
    uint32_t offsets[2][4] = {{0}};
    const int FIRST[] = {0, 1, 4}; /* one instance and three */
    for (int slice = 0; slice < 2; slice++) {
        int first = FIRST[slice], n = FIRST[slice + 1] - first;
        for (int i = 0; i <= n; i++)
            offsets[slice][i] = all.offset[first + i] - all.offset[first];
        s.batch = all;
        s.batch.n_instances = n;
        s.batch.offset = offsets[slice];
        s.batch.hist = all.hist + all.offset[first];
        s.batch.cand = all.cand + first * all.n_candidates;
        s.batch.n_positions = (int)offsets[slice][n];
        push_into(&s, parts, MOST_ROWS);
    }
    for (size_t i = 0; i < size; i++)
        assert_true(fabs(whole[i] - parts[i]) <= 1e-12 * (1 + fabs(whole[i]))); /* sums in another order */
    free(whole);
    free(parts);
    sample_close(&s);
}

static void a_step_allocates_nothing_once_it_is_warm(void **state) {
    (void)state;
    Sample s = {0};
    Config c = sample_config();
    sample_open(&s, &c);
    sample_batch(&s, DOMAIN_A, 4, LENGTHS, 3);
    ArenaBlock *block = NULL;
    for (int i = 0; i < 4; i++) {
        sample_begin(&s, true);
        step_forward(s.step);
        step_backward(s.step);
        if (i > 1)
            assert_ptr_equal(step_arena(s.step)->blocks, block);
        block = step_arena(s.step)->blocks;
    }
    sample_close(&s);
}

static void loss_rows_count_every_step_once(void **state) {
    (void)state;
    Sample s = {0};
    Config c = sample_config();
    sample_open(&s, &c);
    sample_batch(&s, DOMAIN_A, 4, LENGTHS, 3);
    s.batch.step_instances = 16;
    sample_begin(&s, true);
    step_forward(s.step);
    step_backward(s.step);
    uint32_t n_keys;
    size_t n_values;
    step_push_keys(s.step, &n_keys, &n_values);
    const real *row = step_grads(s.step) + n_values - SCHEMA_STATS_WIDTH;
    assert_true(row[LOSS_STEPS] == 0.25 && row[LOSS_INSTANCES] == 4);
    assert_true(row[LOSS_DATA] == step_data_loss(s.step) && row[LOSS_DATA] > 0);
    assert_true(row[LOSS_REGULARISER] == step_regulariser(s.step) && row[LOSS_REGULARISER] < 0);
    assert_true(row[LOSS_WATCH] > 0);
    sample_close(&s);
}

/* Values and weights of both rows that one layer's statistics take. */
static void statistics_wider_than_a_row_take_two(void **state) {
    (void)state;
    enum { WIDTH = 70, B = 4, N = 3 };
    Sample s = {0};
    Config c = sample_config();
    c.model.mlp.width[0] = WIDTH;
    sample_open(&s, &c);
    sample_batch(&s, DOMAIN_B, B, LENGTHS, N);
    sample_begin(&s, true);
    step_forward(s.step);
    step_backward(s.step);
    uint32_t n_keys, n_seen = 0;
    size_t n_values;
    const uint64_t *keys = step_push_keys(s.step, &n_keys, &n_values);
    const real *row = step_grads(s.step);
    for (uint32_t i = 0; i < n_keys; row += s.schema->tables[key_table(keys[i++])].width) {
        const Tensor *t = tensor_of(&s, keys[i]);
        if (strcmp(t->name, "head.B.var0") || key_row(keys[i]) - t->first_row < 2) /* the second pair is domain B's */
            continue;
        uint32_t n = n_seen++ ? WIDTH - SCHEMA_STATS_VALUES : SCHEMA_STATS_VALUES;
        assert_true(row[SCHEMA_STATS_VALUES] == B * N);
        for (uint32_t j = 0; j < SCHEMA_STATS_VALUES; j++)
            assert_int_equal(row[j] > 0, j < n);
    }
    assert_int_equal(n_seen, 2);
    sample_close(&s);
}

static void an_unknown_model_is_named(void **state) {
    (void)state;
    Schema *schema = must_calloc(1, sizeof *schema);
    Config c = sample_config();
    strcpy(c.model.name, "men");
    assert_int_equal(model_schema(&c, SAMPLE_ITEMS, 1, schema), ERR_CONFIG);
    assert_non_null(strstr(err_message(), "\"men\""));
    assert_non_null(strstr(err_message(), "man"));
    c = sample_config();
    c.model.mlp.n = 0;
    assert_int_equal(model_schema(&c, SAMPLE_ITEMS, 1, schema), ERR_CONFIG);
    assert_non_null(strstr(err_message(), "model.mlp"));
    free(schema);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_named_once_and_in_order),
        cmocka_unit_test(every_dense_row_of_the_domain_is_pulled),
        cmocka_unit_test(evaluation_pulls_running_statistics),
        cmocka_unit_test(an_empty_batch_pushes_nothing_that_counts),
        cmocka_unit_test(the_slices_of_a_step_add_up),
        cmocka_unit_test(a_step_allocates_nothing_once_it_is_warm),
        cmocka_unit_test(loss_rows_count_every_step_once),
        cmocka_unit_test(statistics_wider_than_a_row_take_two),
        cmocka_unit_test(an_unknown_model_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
