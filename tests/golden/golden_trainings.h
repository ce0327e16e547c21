/* Ten steps of training from a dump's parameters, through the step and the store as the product has them. The body of
 * the tests in double and in float: the including file gives the tolerances. */
#ifndef MANGROVE_TESTS_GOLDEN_GOLDEN_TRAININGS_H
#define MANGROVE_TESTS_GOLDEN_GOLDEN_TRAININGS_H

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
#include "server/store/store.h"
#include "worker/model/step.h"

extern const double LOSS_TOLERANCE;  /* absolute plus relative */
extern const double STATE_TOLERANCE; /* of parameters, moments and statistics; 0: they are not compared */

typedef struct Training {
    const char *path;
    Safetensors *file;
    Config config;
    Schema *schema;
    Step *step;
    Store *store;
    uint64_t n_compared;
    double worst; /* difference, over 1 + size */
} Training;

/* ---- the dump's configuration --------------------------------------------------------------------------------- */

static const char *text_of(const Training *t, const char *key, const char *otherwise) {
    const char *text = safetensors_metadata(t->file, key);
    return text ? text : otherwise;
}

static int number_of(const Training *t, const char *key) {
    const char *text = text_of(t, key, NULL);
    if (!text)
        fail_msg("%s has no metadata \"%s\"", t->path, key);
    return atoi(text);
}

static bool is_on(const Training *t, const char *key, const char *otherwise) {
    return strcmp(text_of(t, key, otherwise), "True") == 0;
}

static Widths widths_of(const Training *t, const char *key) {
    Widths w = {0};
    const char *text = text_of(t, key, "");
    for (char *end; *text && w.n < CONFIG_MAX_WIDTHS; text = *end ? end + 1 : end)
        w.width[w.n++] = (int)strtol(text, &end, 10);
    return w;
}

static void read_config(Training *t) {
    t->config.model = (ModelConfig){
        .name = "man",
        .dim = number_of(t, "dim"),
        .seq_len = number_of(t, "seq_len"),
        .groups = number_of(t, "groups"),
        .blocks = number_of(t, "blocks"),
        .encoder = strcmp(text_of(t, "encoder", "sasrec"), "gru4rec") ? ENCODER_SASREC : ENCODER_GRU4REC,
        .mlp = widths_of(t, "mlp"),
        .att_mlp = widths_of(t, "att_mlp"),
        .norm = strcmp(text_of(t, "norm", "batch"), "none") ? NORM_BATCH : NORM_NONE,
        .loss = strcmp(text_of(t, "loss", "softmax"), "bce") ? LOSS_SOFTMAX : LOSS_BCE,
        .isa = is_on(t, "isa", "True"),
        .sfa = is_on(t, "sfa", "True"),
        .gpa = is_on(t, "gpa", "True"),
        .backbone_only = is_on(t, "backbone_only", "False"),
        .stop_gradient = is_on(t, "stop_gradient", "True"),
        .lambda_group = atof(text_of(t, "lambda_group", "0")),
        .init_std = 0.01,
    };
    t->config.optimizer = (OptimizerConfig){
        .kind = OPTIMIZER_ADAM,
        .lr = atof(text_of(t, "lr", "1e-3")),
        .beta1 = 0.9,
        .beta2 = 0.999,
        .eps = 1e-8,
        .l2 = atof(text_of(t, "l2", "0")),
    };
}

/* ---- tensors of the dump, rows of the store ------------------------------------------------------------------- */

static const void *data_of(const Training *t, const char *name, Dtype dtype, uint64_t *n) {
    const SafetensorsEntry *e = safetensors_find(t->file, name);
    if (!e || e->dtype != dtype)
        fail_msg("%s has no tensor %s of type %s", t->path, name, dtype_name(dtype));
    *n = e->n_elements;
    return e->data;
}

/* "prefix/name" of a tensor; NULL where the dump has none. */
static const double *dump_of(const Training *t, const char *prefix, const Tensor *tensor) {
    char name[SCHEMA_NAME + 32];
    snprintf(name, sizeof name, "%s/%s", prefix, tensor->name);
    const SafetensorsEntry *e = safetensors_find(t->file, name);
    if (e && (e->dtype != DTYPE_F64 || e->n_elements != (uint64_t)tensor->rows * tensor->cols))
        fail_msg("%s: %s is not %u x %u doubles", t->path, name, tensor->rows, tensor->cols);
    return e ? e->data : NULL;
}

/* The part of a tensor that lies in a row of its table: index of the first element, and how many. */
static uint32_t span_of(const Tensor *tensor, uint64_t row, uint64_t *first) {
    uint64_t local = row - tensor->first_row, size = (uint64_t)tensor->rows * tensor->cols;
    uint32_t width = tensor->kind == TENSOR_DENSE ? SCHEMA_DENSE_WIDTH : tensor->cols;
    assert_true(tensor->kind != TENSOR_EMA || tensor->cols <= SCHEMA_STATS_VALUES);
    *first = local * width;
    return size - *first < width ? (uint32_t)(size - *first) : width;
}

/* Every parameter starts as the dump's, with moments of 0; statistics have their rows from the first push on. */
static void put_parameters(Training *t) {
    for (int i = 0; i < t->schema->n_tensors; i++) {
        const Tensor *tensor = &t->schema->tensors[i];
        if (tensor->kind != TENSOR_SPARSE && tensor->kind != TENSOR_DENSE)
            continue;
        const double *from = dump_of(t, "param0", tensor);
        if (!from)
            fail_msg("%s has no param0/%s", t->path, tensor->name);
        real *row = must_calloc(store_row_reals(t->store, tensor->table), sizeof *row);
        for (uint64_t r = tensor->first_row; r < tensor->first_row + tensor->n_rows; r++) {
            uint64_t first;
            uint32_t n = span_of(tensor, r, &first);
            memset(row, 0, store_row_reals(t->store, tensor->table) * sizeof *row);
            for (uint32_t k = 0; k < n; k++)
                row[k] = (real)from[first + k];
            store_put(t->store, key_of(tensor->table, r), row);
        }
        free(row);
    }
}

static void training_open(Training *t, const char *path, uint32_t n_steps) {
    *t = (Training){.path = path};
    if (safetensors_open(&t->file, path) != OK)
        fail_msg("%s", err_message());
    read_config(t);
    t->schema = must_calloc(1, sizeof *t->schema);
    if (model_schema(&t->config, (uint32_t)number_of(t, "n_items"), 1, t->schema) != OK)
        fail_msg("%s: %s", path, err_message());
    t->step = step_open(model_find("man"), &t->config, t->schema);
    assert_int_equal(store_open(&t->store, t->schema, &t->config.optimizer, 1, 1), OK);
    store_open_epoch(t->store, 1, (uint32_t[]){n_steps, n_steps});
    put_parameters(t);
}

static void training_close(Training *t) {
    store_close(&t->store);
    step_close(&t->step);
    free(t->schema);
    safetensors_close(&t->file);
}

/* ---- a step --------------------------------------------------------------------------------------------------- */

/* Padded (B,T) histories to packed ones. */
static Batch *read_batch(Training *t, int step) {
    char name[32];
    uint64_t n_hist, n_cand, n;
    snprintf(name, sizeof name, "in/%d/len", step);
    const int64_t *len = data_of(t, name, DTYPE_I64, &n);
    snprintf(name, sizeof name, "in/%d/hist", step);
    const int64_t *hist = data_of(t, name, DTYPE_I64, &n_hist);
    snprintf(name, sizeof name, "in/%d/cand", step);
    const int64_t *cand = data_of(t, name, DTYPE_I64, &n_cand);
    Arena *arena = step_arena(t->step);
    Batch *b = arena_zeros(arena, Batch, 1);
    uint32_t *offset = arena_zeros(arena, uint32_t, n + 1), *packed = arena_array(arena, uint32_t, n_hist),
             *candidates = arena_array(arena, uint32_t, n_cand);
    for (uint64_t i = 0; i < n; i++) {
        offset[i + 1] = offset[i] + (uint32_t)len[i];
        b->longest = len[i] > b->longest ? (int)len[i] : b->longest;
        for (int64_t p = 0; p < len[i]; p++)
            packed[offset[i] + p] = (uint32_t)hist[i * (n_hist / n) + (uint64_t)p];
    }
    for (uint64_t i = 0; i < n_cand; i++)
        candidates[i] = (uint32_t)cand[i];
    b->domain = step % 2; /* A first */
    b->n_instances = b->step_instances = (int)n;
    b->n_candidates = (int)(n_cand / n);
    b->n_positions = (int)offset[n];
    b->offset = offset;
    b->hist = packed;
    b->cand = candidates;
    return b;
}

static double train_step(Training *t, int step) {
    uint32_t n_keys;
    size_t n_values;
    PushResult result;
    step_reset(t->step);
    Batch *batch = read_batch(t, step);
    step_begin(t->step, batch, true);
    const uint64_t *keys = step_pull_keys(t->step, &n_keys, &n_values);
    store_pull(t->store, keys, n_keys, step_values(t->step));
    step_forward(t->step);
    double loss = step_data_loss(t->step) + step_regulariser(t->step);
    step_backward(t->step);
    keys = step_push_keys(t->step, &n_keys, &n_values);
    const Work work = {.epoch = 1, .domain = (uint8_t)batch->domain, .step = (uint32_t)step / 2};
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
        fail_msg("%s: %s[%ju] is %.12g, the dump has %.12g", t->path, what, (uintmax_t)i, got, want);
}

/* One piece of a row against one tensor of the dump; where the dump has none the state has not moved from 0. */
static void compare_piece(Training *t, const char *prefix, const Tensor *tensor, uint64_t row, const real *got) {
    uint64_t first;
    const double *want = dump_of(t, prefix, tensor);
    uint32_t n = span_of(tensor, row, &first);
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
    const double *losses = data_of(&t, "out/loss", DTYPE_F64, &n_steps);
    for (uint64_t i = 0; i < n_steps; i++)
        near(&t, "out/loss", i, train_step(&t, (int)i), losses[i], LOSS_TOLERANCE);
    if (STATE_TOLERANCE > 0)
        compare_state(&t);
    print_message("%s: %ju numbers, the worst off by %.1e\n", strrchr(path, '/') + 1, (uintmax_t)t.n_compared, t.worst);
    training_close(&t);
}

static void trainings_equal_the_reference(void **state) {
    (void)state;
    char pattern[4096];
    glob_t found;
    const char *dir = getenv("GOLDEN_DIR"), *shared = getenv("MANGROVE_SHARED");
    if (dir)
        snprintf(pattern, sizeof pattern, "%s/train_*.safetensors", dir);
    else
        snprintf(pattern, sizeof pattern, "%s/golden/man/train_*.safetensors", shared ? shared : "../shared");
    if (glob(pattern, 0, NULL, &found) != 0) {
        if (dir)
            fail_msg("GOLDEN_DIR: %s matches nothing", pattern);
        print_message("no reference dumps: %s matches nothing\n", pattern);
        skip();
    }
    for (size_t i = 0; i < found.gl_pathc; i++)
        check_training(found.gl_pathv[i]);
    globfree(&found);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(trainings_equal_the_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
