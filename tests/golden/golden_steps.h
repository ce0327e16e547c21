/* The body of the golden step tests, compiled once for double and once for float: the including file gives
 * GOLDEN_TOLERANCE, absolute plus relative. */
#ifndef MANGROVE_TESTS_GOLDEN_GOLDEN_STEPS_H
#define MANGROVE_TESTS_GOLDEN_GOLDEN_STEPS_H

#include "tests/golden/golden_file.h"

#include <math.h>

extern const double GOLDEN_TOLERANCE;

/* One dump on its way through a Step. */
typedef struct Golden {
    GoldenFile file;
    Config config;
    Schema *schema;
    Step *step;
    Batch batch;
    Arena arena; /* of the batch */
    int T, compared;
} Golden;

static void golden_open(Golden *g, const char *path) {
    *g = (Golden){0};
    golden_file_open(&g->file, path);
    g->config.model = golden_model(&g->file);
    arena_init(&g->arena, 1 << 16);
    g->batch = golden_batch(&g->file, "in", golden_int(&g->file, "domain"), &g->arena, &g->T);
    g->schema = golden_schema(&g->file, &g->config);
    g->step = step_open(model_find("man"), &g->config, g->schema);
}

static void golden_close(Golden *g) {
    step_close(&g->step);
    free(g->schema);
    arena_free(&g->arena);
    safetensors_close(&g->file.tensors);
}

/* ---- values in, numbers out -------------------------------------------------------------------------------------- */

/* Values of one row of a table ("prefix/name" of its tensor). Returns their number: what lies behind them in the row is
 * fill, or the weight of statistics; 0: the dump has no such tensor. */
static int dump_row(const Golden *g, const char *prefix, uint64_t key, double *out) {
    const Tensor *t = schema_tensor_of(g->schema, key_table(key), key_row(key));
    const double *x = golden_tensor(&g->file, prefix, t);
    uint64_t first;
    uint32_t n = golden_span(t, key_row(key), &first);
    if (!x)
        return 0;
    memcpy(out, x + first, n * sizeof *out);
    return (int)n;
}

static void fill_values(Golden *g) {
    uint32_t n_keys;
    size_t n_values;
    const uint64_t *keys = step_pull_keys(g->step, &n_keys, &n_values);
    real *out = step_values(g->step);
    for (uint32_t i = 0; i < n_keys; i++) {
        const Table *table = &g->schema->tables[key_table(keys[i])];
        const Tensor *t = schema_tensor_of(g->schema, key_table(keys[i]), key_row(keys[i]));
        double row[4096];
        int n = dump_row(g, t->kind == TENSOR_EMA ? "buffer" : "param", keys[i], row);
        if (n == 0)
            fail_msg("%s has no values for %s", g->file.path, t->name);
        for (int j = 0; j < (int)table->width; j++)
            out[j] = j < n ? (real)row[j] : 0;
        out += table->width;
    }
}

static void near(Golden *g, const char *what, int i, double got, double want) {
    g->compared++;
    if (!(fabs(got - want) <= GOLDEN_TOLERANCE * (1 + fabs(want))))
        fail_msg("%s: %s[%d] is %.12g, the dump has %.12g", g->file.path, what, i, got, want);
}

static void compare(Golden *g, const char *name, const real *got) {
    uint64_t n;
    const double *want = golden_data(&g->file, name, DTYPE_F64, &n);
    for (uint64_t i = 0; i < n; i++)
        near(g, name, (int)i, got[i], want[i]);
}

/* An activation with a row per position lies packed here and padded there. */
static void compare_activation(Golden *g, const char *name) {
    char full[64];
    snprintf(full, sizeof full, "act/%s", name);
    int rows, cols;
    const real *got = step_activation(g->step, name, &rows, &cols);
    const SafetensorsEntry *e = safetensors_find(g->file.tensors, full);
    if (!got)
        return;
    assert_non_null(e);
    const double *want = e->data;
    bool is_packed = rows == g->batch.n_positions && e->n_dims == 3 && (int)e->shape[1] == g->T;
    if (!is_packed) {
        compare(g, full, got);
        return;
    }
    for (int i = 0; i < g->batch.n_instances; i++)
        for (uint32_t p = g->batch.offset[i]; p < g->batch.offset[i + 1]; p++)
            for (int d = 0; d < cols; d++)
                near(g, full, (int)p * cols + d, got[p * (uint32_t)cols + (uint32_t)d],
                     want[((uint32_t)(i * g->T) + p - g->batch.offset[i]) * (uint32_t)cols + (uint32_t)d]);
}

/* Every gradient in the dump has been pushed; what was pushed beyond it is 0. */
static void compare_gradients(Golden *g) {
    uint32_t n_keys;
    size_t n_values;
    const uint64_t *keys = step_push_keys(g->step, &n_keys, &n_values);
    const real *grads = step_grads(g->step);
    for (uint32_t i = 0; i < n_keys; i++) {
        const Table *table = &g->schema->tables[key_table(keys[i])];
        const Tensor *t = schema_tensor_of(g->schema, key_table(keys[i]), key_row(keys[i]));
        double want[4096];
        int n = table->is_stats ? (int)table->width : dump_row(g, "grad", keys[i], want);
        for (int j = 0; j < (int)table->width && !table->is_stats; j++)
            near(g, t->name, j, grads[j], j < n ? want[j] : 0);
        grads += table->width;
    }
}

/* Rows of the item tables that the batch does not touch have no gradient in the dump either. */
static void untouched_rows_are_zero(Golden *g) {
    uint32_t n_keys;
    size_t n_values;
    const uint64_t *keys = step_push_keys(g->step, &n_keys, &n_values);
    for (int i = 0; i < g->schema->n_tensors; i++) {
        const Tensor *t = &g->schema->tensors[i];
        const double *grad = t->kind == TENSOR_SPARSE ? golden_tensor(&g->file, "grad", t) : NULL;
        for (uint32_t row = 0; grad && row < t->rows; row++) {
            bool is_pushed = false;
            for (uint32_t k = 0; k < n_keys; k++)
                is_pushed |= keys[k] == key_of(t->table, row);
            for (uint32_t c = 0; !is_pushed && c < t->cols; c++)
                near(g, t->name, (int)row, 0, grad[row * t->cols + c]);
        }
    }
}

/* running = 0.95 before + 0.05 batch, from 0 and 1. */
static void compare_statistics(Golden *g) {
    uint32_t n_keys;
    size_t n_values;
    const uint64_t *keys = step_push_keys(g->step, &n_keys, &n_values);
    const real *grads = step_grads(g->step);
    for (uint32_t i = 0; i < n_keys; i++) {
        const Table *table = &g->schema->tables[key_table(keys[i])];
        const Tensor *t = schema_tensor_of(g->schema, key_table(keys[i]), key_row(keys[i]));
        double want[4096], weight = (double)grads[SCHEMA_STATS_VALUES];
        int n = t->kind == TENSOR_EMA ? dump_row(g, "buffer", keys[i], want) : 0;
        for (int j = 0; j < n; j++) {
            double running = weight > 0 ? 0.95 * t->scale + 0.05 * (double)grads[j] / weight : t->scale;
            near(g, t->name, j, running, want[j]);
        }
        grads += table->width;
    }
}

static void check_training(Golden *g) {
    static const char *const ACTIVATIONS[] = {"enc_local", "enc_global",  "isa",        "sfa",
                                              "gpa",       "gpa_weights", "head_local", "head_global"};
    step_reset(g->step);
    step_begin(g->step, &g->batch, true);
    fill_values(g);
    compare(g, "out/logits", step_forward(g->step));
    real loss = (real)step_data_loss(g->step);
    compare(g, "out/loss_data", &loss);
    loss = (real)(step_data_loss(g->step) + step_regulariser(g->step));
    compare(g, "out/loss", &loss);
    for (size_t i = 0; i < sizeof ACTIVATIONS / sizeof *ACTIVATIONS; i++)
        compare_activation(g, ACTIVATIONS[i]);
    step_backward(g->step);
    compare_gradients(g);
    untouched_rows_are_zero(g);
    compare_statistics(g);
}

static void check_evaluation(Golden *g) {
    step_reset(g->step);
    step_begin(g->step, &g->batch, false);
    fill_values(g);
    compare(g, "out/eval_logits", step_forward(g->step));
}

/* ---- the test ------------------------------------------------------------------------------------------------------
 */

static void check_dump(const char *path) {
    Golden g;
    golden_open(&g, path);
    check_training(&g);
    check_evaluation(&g);
    print_message("%s: %d numbers within %g\n", path, g.compared, GOLDEN_TOLERANCE);
    golden_close(&g);
}

static void steps_equal_the_reference(void **state) {
    (void)state;
    golden_for_each("step_*.safetensors", check_dump);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(steps_equal_the_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
