/* The body of the golden step tests, compiled once for double and once for float: the including file gives
 * GOLDEN_TOLERANCE, absolute plus relative. */
#ifndef MANGROVE_TESTS_GOLDEN_GOLDEN_STEPS_H
#define MANGROVE_TESTS_GOLDEN_GOLDEN_STEPS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/safetensors.h"
#include "worker/model/step.h"

extern const double GOLDEN_TOLERANCE;

/* One dump on its way through a Step. */
typedef struct Golden {
    const char *path;
    Safetensors *file;
    Config config;
    Schema *schema;
    Step *step;
    Batch batch;
    uint32_t *hist, *cand, *offset;
    int T, compared;
} Golden;

/* ---- reading a dump --------------------------------------------------------------------------------------------- */

static const char *meta(const Golden *g, const char *key, const char *otherwise) {
    const char *text = safetensors_metadata(g->file, key);
    return text ? text : otherwise;
}

static int meta_int(const Golden *g, const char *key) {
    const char *text = safetensors_metadata(g->file, key);
    if (!text)
        fail_msg("%s has no metadata \"%s\"", g->path, key);
    return atoi(text);
}

static bool meta_bool(const Golden *g, const char *key, bool otherwise) {
    return strcmp(meta(g, key, otherwise ? "True" : "False"), "True") == 0;
}

static Widths meta_widths(const Golden *g, const char *key) {
    Widths w = {0};
    const char *text = meta(g, key, "");
    for (char *end; *text && w.n < CONFIG_MAX_WIDTHS; text = *end ? end + 1 : end)
        w.width[w.n++] = (int)strtol(text, &end, 10);
    return w;
}

static void read_config(Golden *g) {
    ModelConfig *m = &g->config.model;
    strcpy(m->name, "man");
    m->dim = meta_int(g, "dim");
    m->seq_len = meta_int(g, "seq_len");
    m->groups = meta_int(g, "groups");
    m->blocks = meta_int(g, "blocks");
    m->encoder = strcmp(meta(g, "encoder", "sasrec"), "gru4rec") ? ENCODER_SASREC : ENCODER_GRU4REC;
    m->mlp = meta_widths(g, "mlp");
    m->att_mlp = meta_widths(g, "att_mlp");
    m->norm = strcmp(meta(g, "norm", "batch"), "none") ? NORM_BATCH : NORM_NONE;
    m->loss = strcmp(meta(g, "loss", "softmax"), "bce") ? LOSS_SOFTMAX : LOSS_BCE;
    m->isa = meta_bool(g, "isa", true);
    m->sfa = meta_bool(g, "sfa", true);
    m->gpa = meta_bool(g, "gpa", true);
    m->backbone_only = meta_bool(g, "backbone_only", false);
    m->stop_gradient = meta_bool(g, "stop_gradient", true);
    m->lambda_group = atof(meta(g, "lambda_group", "5e-6"));
    m->init_std = 0.01;
}

static const void *require(const Golden *g, const char *name, Dtype dtype, uint64_t *n) {
    const SafetensorsEntry *e = safetensors_find(g->file, name);
    if (!e || e->dtype != dtype)
        fail_msg("%s has no tensor %s of type %s", g->path, name, dtype_name(dtype));
    *n = e->n_elements;
    return e->data;
}

/* Padded (B,T) histories to packed ones. */
static void read_batch(Golden *g) {
    uint64_t n_hist, n_cand, B;
    const int64_t *len = require(g, "in/len", DTYPE_I64, &B);
    const int64_t *hist = require(g, "in/hist", DTYPE_I64, &n_hist);
    const int64_t *cand = require(g, "in/cand", DTYPE_I64, &n_cand);
    g->T = (int)(n_hist / B);
    g->hist = must_calloc(n_hist, sizeof *g->hist);
    g->cand = must_calloc(n_cand, sizeof *g->cand);
    g->offset = must_calloc(B + 1, sizeof *g->offset);
    uint32_t P = 0;
    int longest = 0;
    for (uint64_t i = 0; i < B; i++) {
        for (int64_t t = 0; t < len[i]; t++)
            g->hist[P++] = (uint32_t)hist[i * (uint64_t)g->T + (uint64_t)t];
        g->offset[i + 1] = P;
        longest = len[i] > longest ? (int)len[i] : longest;
    }
    for (uint64_t i = 0; i < n_cand; i++)
        g->cand[i] = (uint32_t)cand[i];
    g->batch = (Batch){.domain = meta_int(g, "domain"),
                       .n_instances = (int)B,
                       .n_candidates = (int)(n_cand / B),
                       .n_positions = (int)P,
                       .longest = longest,
                       .step_instances = (int)B,
                       .offset = g->offset,
                       .hist = g->hist,
                       .cand = g->cand};
}

static void golden_open(Golden *g, const char *path) {
    *g = (Golden){.path = path};
    if (safetensors_open(&g->file, path))
        fail_msg("%s", err_message());
    read_config(g);
    read_batch(g);
    g->schema = must_calloc(1, sizeof *g->schema);
    if (model_schema(&g->config, (uint32_t)meta_int(g, "n_items"), 1, g->schema))
        fail_msg("%s: %s", path, err_message());
    g->step = step_open(model_find("man"), &g->config, g->schema);
}

static void golden_close(Golden *g) {
    step_close(&g->step);
    free(g->schema);
    free(g->hist);
    free(g->cand);
    free(g->offset);
    safetensors_close(&g->file);
}

/* ---- values in, numbers out -------------------------------------------------------------------------------------- */

/* The dump's tensor that a key's row belongs to, or NULL where it has none ("prefix/name"). */
static const double *dump_of(const Golden *g, const char *prefix, const Tensor *t) {
    char name[SCHEMA_NAME + 16];
    snprintf(name, sizeof name, "%s/%s", prefix, t->name);
    const SafetensorsEntry *e = safetensors_find(g->file, name);
    if (e && (e->dtype != DTYPE_F64 || e->n_elements != (uint64_t)t->rows * t->cols))
        fail_msg("%s: %s is not %u x %u doubles", g->path, name, t->rows, t->cols);
    return e ? e->data : NULL;
}

/* Values of one row of a table, its fill 0; stats carry a weight behind. Returns the number of values that count. */
static int dump_row(const Golden *g, const char *prefix, uint64_t key, double *out) {
    const Tensor *t = schema_tensor_of(g->schema, key_table(key), key_row(key));
    const double *x = dump_of(g, prefix, t);
    uint64_t row = key_row(key) - t->first_row, size = (uint64_t)t->rows * t->cols, first = row * t->cols, n = t->cols;
    if (t->kind == TENSOR_DENSE) {
        first = row * SCHEMA_DENSE_WIDTH;
        n = size - first < SCHEMA_DENSE_WIDTH ? size - first : SCHEMA_DENSE_WIDTH;
    } else if (t->kind == TENSOR_EMA) {
        assert_true(t->cols <= SCHEMA_STATS_VALUES);
    }
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
            fail_msg("%s has no values for %s", g->path, t->name);
        for (int j = 0; j < (int)table->width; j++)
            out[j] = j < n ? (real)row[j] : 0;
        out += table->width;
    }
}

static void near(Golden *g, const char *what, int i, double got, double want) {
    g->compared++;
    if (!(fabs(got - want) <= GOLDEN_TOLERANCE * (1 + fabs(want))))
        fail_msg("%s: %s[%d] is %.12g, the dump has %.12g", g->path, what, i, got, want);
}

static void compare(Golden *g, const char *name, const real *got) {
    uint64_t n;
    const double *want = require(g, name, DTYPE_F64, &n);
    for (uint64_t i = 0; i < n; i++)
        near(g, name, (int)i, got[i], want[i]);
}

/* An activation with a row per position lies packed here and padded there. */
static void compare_activation(Golden *g, const char *name) {
    char full[64];
    snprintf(full, sizeof full, "act/%s", name);
    int rows, cols;
    const real *got = step_activation(g->step, name, &rows, &cols);
    const SafetensorsEntry *e = safetensors_find(g->file, full);
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
        for (uint32_t p = g->offset[i]; p < g->offset[i + 1]; p++)
            for (int d = 0; d < cols; d++)
                near(g, full, (int)p * cols + d, got[p * (uint32_t)cols + (uint32_t)d],
                     want[((uint32_t)(i * g->T) + p - g->offset[i]) * (uint32_t)cols + (uint32_t)d]);
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
        const double *grad = t->kind == TENSOR_SPARSE ? dump_of(g, "grad", t) : NULL;
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

static const char *golden_dir(char *buffer, size_t size) {
    const char *dir = getenv("GOLDEN_DIR"), *shared = getenv("MANGROVE_SHARED");
    if (dir)
        return dir;
    snprintf(buffer, size, "%s/golden/man", shared ? shared : "../shared");
    return buffer;
}

static void steps_equal_the_reference(void **state) {
    (void)state;
    char buffer[2048], pattern[4096];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/step_*.safetensors", golden_dir(buffer, sizeof buffer));
    if (glob(pattern, 0, NULL, &found) != 0) {
        if (getenv("GOLDEN_DIR"))
            fail_msg("GOLDEN_DIR: %s matches nothing", pattern);
        print_message("no reference dumps: %s matches nothing\n", pattern);
        skip();
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        Golden g;
        golden_open(&g, found.gl_pathv[i]);
        check_training(&g);
        check_evaluation(&g);
        print_message("%s: %d numbers within %g\n", g.path, g.compared, GOLDEN_TOLERANCE);
        golden_close(&g);
    }
    globfree(&found);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(steps_equal_the_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
