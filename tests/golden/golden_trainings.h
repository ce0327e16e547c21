/* Ten steps of training from a dump's parameters, through the step and the store as the product has them. The body of
 * the tests in double and in float: the including file gives the tolerances. */
#ifndef MANGROVE_TESTS_GOLDEN_GOLDEN_TRAININGS_H
#define MANGROVE_TESTS_GOLDEN_GOLDEN_TRAININGS_H

#include "tests/golden/golden_file.h"

#include <math.h>

#include "server/store/store.h"

extern const double LOSS_TOLERANCE;  /* absolute plus relative */
extern const double STATE_TOLERANCE; /* of parameters, moments and statistics; 0: they are not compared */

typedef struct Training {
    GoldenFile file;
    Config config;
    Schema *schema;
    Step *step;
    Store *store;
    uint64_t n_compared;
    double worst; /* difference, over 1 + size */
} Training;

/* ---- from the dump into the store ----------------------------------------------------------------------------- */

/* Every parameter starts as the dump's, with moments of 0; statistics have their rows from the first push on. */
static void put_parameters(Training *t) {
    for (int i = 0; i < t->schema->n_tensors; i++) {
        const Tensor *tensor = &t->schema->tensors[i];
        if (tensor->kind != TENSOR_SPARSE && tensor->kind != TENSOR_DENSE)
            continue;
        const double *from = golden_tensor(&t->file, "param0", tensor);
        if (!from)
            fail_msg("%s has no param0/%s", t->file.path, tensor->name);
        real *row = must_calloc(store_row_reals(t->store, tensor->table), sizeof *row);
        for (uint64_t r = tensor->first_row; r < tensor->first_row + tensor->n_rows; r++) {
            uint64_t first;
            uint32_t n = golden_span(tensor, r, &first);
            memset(row, 0, store_row_reals(t->store, tensor->table) * sizeof *row);
            for (uint32_t k = 0; k < n; k++)
                row[k] = (real)from[first + k];
            store_put(t->store, key_of(tensor->table, r), row);
        }
        free(row);
    }
}

static OptimizerConfig optimizer_of(const GoldenFile *f) {
    return (OptimizerConfig){
        .kind = OPTIMIZER_ADAM,
        .lr = atof(golden_text(f, "lr", "1e-3")),
        .beta1 = 0.9,
        .beta2 = 0.999,
        .eps = 1e-8,
        .l2 = atof(golden_text(f, "l2", "0")),
    };
}

static void training_open(Training *t, const char *path, uint32_t n_steps) {
    *t = (Training){0};
    golden_file_open(&t->file, path);
    t->config.model = golden_model(&t->file);
    t->config.optimizer = optimizer_of(&t->file);
    t->schema = golden_schema(&t->file, &t->config);
    t->step = step_open(model_find("man"), &t->config, t->schema);
    assert_int_equal(store_open(&t->store, t->schema, &t->config.optimizer, 1, 1), OK);
    store_open_epoch(t->store, 1, (uint32_t[]){n_steps, n_steps});
    put_parameters(t);
}

static void training_close(Training *t) {
    store_close(&t->store);
    step_close(&t->step);
    free(t->schema);
    safetensors_close(&t->file.tensors);
}

/* ---- a step --------------------------------------------------------------------------------------------------- */

static double train_step(Training *t, int step) {
    uint32_t n_keys;
    size_t n_values;
    PushResult result;
    char prefix[16];
    int T;
    step_reset(t->step);
    snprintf(prefix, sizeof prefix, "in/%d", step);
    Batch batch = golden_batch(&t->file, prefix, step % 2 /* A first */, step_arena(t->step), &T);
    step_begin(t->step, &batch, true);
    const uint64_t *keys = step_pull_keys(t->step, &n_keys, &n_values);
    store_pull(t->store, keys, n_keys, step_values(t->step));
    step_forward(t->step);
    double loss = step_data_loss(t->step) + step_regulariser(t->step);
    step_backward(t->step);
    keys = step_push_keys(t->step, &n_keys, &n_values);
    const Work work = {.epoch = 1, .domain = (uint8_t)batch.domain, .step = (uint32_t)step / 2};
    assert_int_equal(store_check_keys(t->store, keys, n_keys, NULL), OK);
    if (store_push(t->store, &work, keys, n_keys, step_grads(t->step), &result) != OK)
        fail_msg("%s", err_message());
    assert_int_equal(result, PUSH_APPLIED);
    return loss;
}

/* ---- afterwards ----------------------------------------------------------------------------------------------- */

static void near(Training *t, const char *what, uint64_t i, double got, double want, double tolerance) {
    double difference = fabs(got - want) / (1 + fabs(want));
    t->n_compared++;
    if (!(difference <= t->worst))
        t->worst = difference;
    if (!(difference <= tolerance))
        fail_msg("%s: %s[%ju] is %.12g, the dump has %.12g", t->file.path, what, (uintmax_t)i, got, want);
}

/* One piece of a row against one tensor of the dump; where the dump has none the state has not moved from 0. */
static void compare_piece(Training *t, const char *prefix, const Tensor *tensor, uint64_t row, const real *got) {
    uint64_t first;
    const double *want = golden_tensor(&t->file, prefix, tensor);
    uint32_t n = golden_span(tensor, row, &first);
    for (uint32_t k = 0; k < n; k++)
        near(t, tensor->name, first + k, (double)got[k], want ? want[first + k] : 0, STATE_TOLERANCE);
}

static void compare_row(void *ctx, uint64_t key, const real *row) {
    Training *t = ctx;
    const Table *table = &t->schema->tables[key_table(key)];
    const Tensor *tensor = schema_tensor_of(t->schema, key_table(key), key_row(key));
    const real *moments = row + table->width;
    if (tensor->kind == TENSOR_SUM)
        return;
    compare_piece(t, tensor->kind == TENSOR_EMA ? "buffer" : "param10", tensor, key_row(key), row);
    for (int d = 0; d < N_DOMAINS && !table->is_stats; d++) {
        char prefix[16];
        if (!(table->reached_by >> d & 1))
            continue;
        for (int i = 0; i < 2; i++, moments += table->width) {
            snprintf(prefix, sizeof prefix, "adam%c.%c", 'A' + d, "mv"[i]);
            compare_piece(t, prefix, tensor, key_row(key), moments);
        }
    }
}

static void compare_state(Training *t) {
    uint64_t n_expected = t->n_compared;
    for (int i = 0; i < t->schema->n_tensors; i++) {
        const Tensor *tensor = &t->schema->tensors[i];
        if (tensor->kind == TENSOR_SPARSE || tensor->kind == TENSOR_DENSE)
            n_expected += (uint64_t)tensor->rows * tensor->cols * (tensor->reached_by == REACHED_BY_BOTH ? 5 : 3);
    }
    for (int table = 0; table < t->schema->n_tables; table++)
        for (uint32_t slot = 0; slot < N_SLOTS; slot++)
            store_visit(t->store, table, slot, compare_row, t);
    assert_true(t->n_compared >= n_expected); /* statistics come on top */
}

static void check_training(const char *path) {
    Training t;
    uint64_t n_steps;
    training_open(&t, path, UINT16_MAX);
    const double *losses = golden_data(&t.file, "out/loss", DTYPE_F64, &n_steps);
    for (uint64_t i = 0; i < n_steps; i++)
        near(&t, "out/loss", i, train_step(&t, (int)i), losses[i], LOSS_TOLERANCE);
    if (STATE_TOLERANCE > 0)
        compare_state(&t);
    print_message("%s: %ju numbers, the worst off by %.1e\n", strrchr(path, '/') + 1, (uintmax_t)t.n_compared, t.worst);
    training_close(&t);
}

static void trainings_equal_the_reference(void **state) {
    (void)state;
    golden_for_each("train_*.safetensors", check_training);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(trainings_equal_the_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
