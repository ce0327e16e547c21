/* The dumps of the reference implementation: where they lie, and what is in them. */
#ifndef MANGROVE_TESTS_GOLDEN_GOLDEN_FILE_H
#define MANGROVE_TESTS_GOLDEN_GOLDEN_FILE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/safetensors.h"
#include "worker/model/step.h"

typedef struct GoldenFile {
    const char *path;
    Safetensors *tensors;
} GoldenFile;

static void golden_file_open(GoldenFile *f, const char *path) {
    f->path = path;
    if (safetensors_open(&f->tensors, path))
        fail_msg("%s", err_message());
}

/* ---- metadata --------------------------------------------------------------------------------------------------- */

static const char *golden_text(const GoldenFile *f, const char *key, const char *otherwise) {
    const char *text = safetensors_metadata(f->tensors, key);
    return text ? text : otherwise;
}

static int golden_int(const GoldenFile *f, const char *key) {
    const char *text = golden_text(f, key, NULL);
    if (!text)
        fail_msg("%s has no metadata \"%s\"", f->path, key);
    return atoi(text);
}

static bool golden_is(const GoldenFile *f, const char *key, const char *value, const char *otherwise) {
    return strcmp(golden_text(f, key, otherwise), value) == 0;
}

static Widths golden_widths(const GoldenFile *f, const char *key) {
    Widths w = {0};
    const char *text = golden_text(f, key, "");
    for (char *end; *text && w.n < CONFIG_MAX_WIDTHS; text = *end ? end + 1 : end)
        w.width[w.n++] = (int)strtol(text, &end, 10);
    return w;
}

static ModelConfig golden_model(const GoldenFile *f) {
    return (ModelConfig){
        .name = "man",
        .dim = golden_int(f, "dim"),
        .seq_len = golden_int(f, "seq_len"),
        .groups = golden_int(f, "groups"),
        .blocks = golden_int(f, "blocks"),
        .encoder = golden_is(f, "encoder", "gru4rec", "sasrec") ? ENCODER_GRU4REC : ENCODER_SASREC,
        .mlp = golden_widths(f, "mlp"),
        .att_mlp = golden_widths(f, "att_mlp"),
        .norm = golden_is(f, "norm", "none", "batch") ? NORM_NONE : NORM_BATCH,
        .loss = golden_is(f, "loss", "bce", "softmax") ? LOSS_BCE : LOSS_SOFTMAX,
        .isa = golden_is(f, "isa", "True", "True"),
        .sfa = golden_is(f, "sfa", "True", "True"),
        .gpa = golden_is(f, "gpa", "True", "True"),
        .backbone_only = golden_is(f, "backbone_only", "True", "False"),
        .stop_gradient = golden_is(f, "stop_gradient", "True", "True"),
        .lambda_group = atof(golden_text(f, "lambda_group", "5e-6")),
        .init_std = 0.01,
    };
}

/* The schema of the dump's model; caller frees. */
static Schema *golden_schema(const GoldenFile *f, const Config *config) {
    Schema *schema = must_calloc(1, sizeof *schema);
    if (model_schema(config, (uint32_t)golden_int(f, "n_items"), 1, schema))
        fail_msg("%s: %s", f->path, err_message());
    return schema;
}

/* ---- tensors ---------------------------------------------------------------------------------------------------- */

static const void *golden_data(const GoldenFile *f, const char *name, Dtype dtype, uint64_t *n) {
    const SafetensorsEntry *e = safetensors_find(f->tensors, name);
    if (!e || e->dtype != dtype)
        fail_msg("%s has no tensor %s of type %s", f->path, name, dtype_name(dtype));
    *n = e->n_elements;
    return e->data;
}

/* "prefix/name" of a tensor of the schema; NULL where the dump has none. */
static const double *golden_tensor(const GoldenFile *f, const char *prefix, const Tensor *t) {
    char name[SCHEMA_NAME + 32];
    snprintf(name, sizeof name, "%s/%s", prefix, t->name);
    const SafetensorsEntry *e = safetensors_find(f->tensors, name);
    if (e && (e->dtype != DTYPE_F64 || e->n_elements != (uint64_t)t->rows * t->cols))
        fail_msg("%s: %s is not %u x %u doubles", f->path, name, t->rows, t->cols);
    return e ? e->data : NULL;
}

/* The part of a tensor that lies in a row of its table: index of the first element out, returns how many. */
static uint32_t golden_span(const Tensor *t, uint64_t row, uint64_t *first) {
    uint64_t local = row - t->first_row, size = (uint64_t)t->rows * t->cols;
    uint32_t width = t->kind == TENSOR_DENSE ? SCHEMA_DENSE_WIDTH : t->cols;
    assert_true(t->kind != TENSOR_EMA || t->cols <= SCHEMA_STATS_VALUES);
    *first = local * width;
    return size - *first < width ? (uint32_t)(size - *first) : width;
}

/* The batch in "prefix/len", "prefix/hist" and "prefix/cand": padded (B,T) histories become packed ones. T out. */
static Batch golden_batch(const GoldenFile *f, const char *prefix, int domain, Arena *arena, int *T) {
    char name[32];
    uint64_t n_hist, n_cand, B;
    snprintf(name, sizeof name, "%s/len", prefix);
    const int64_t *len = golden_data(f, name, DTYPE_I64, &B);
    snprintf(name, sizeof name, "%s/hist", prefix);
    const int64_t *hist = golden_data(f, name, DTYPE_I64, &n_hist);
    snprintf(name, sizeof name, "%s/cand", prefix);
    const int64_t *cand = golden_data(f, name, DTYPE_I64, &n_cand);
    uint32_t *offset = arena_zeros(arena, uint32_t, B + 1), *packed = arena_array(arena, uint32_t, n_hist),
             *candidates = arena_array(arena, uint32_t, n_cand);
    Batch b = {.domain = domain, .n_instances = (int)B, .step_instances = (int)B, .n_candidates = (int)(n_cand / B)};
    *T = (int)(n_hist / B);
    for (uint64_t i = 0; i < B; i++) {
        offset[i + 1] = offset[i] + (uint32_t)len[i];
        b.longest = len[i] > b.longest ? (int)len[i] : b.longest;
        for (int64_t p = 0; p < len[i]; p++)
            packed[offset[i] + p] = (uint32_t)hist[i * (uint64_t)*T + (uint64_t)p];
    }
    for (uint64_t i = 0; i < n_cand; i++)
        candidates[i] = (uint32_t)cand[i];
    b.n_positions = (int)offset[B];
    b.offset = offset;
    b.hist = packed;
    b.cand = candidates;
    return b;
}

/* ---- all of them ------------------------------------------------------------------------------------------------ */

/* Calls check for each dump of the pattern: in $GOLDEN_DIR, which must have some, else in $MANGROVE_SHARED/golden/man
 * or
 * ../shared/golden/man; skips the test where neither has any. */
static void golden_for_each(const char *pattern, void (*check)(const char *path)) {
    char full[4096];
    glob_t found;
    const char *dir = getenv("GOLDEN_DIR"), *shared = getenv("MANGROVE_SHARED");
    if (dir)
        snprintf(full, sizeof full, "%s/%s", dir, pattern);
    else
        snprintf(full, sizeof full, "%s/golden/man/%s", shared ? shared : "../shared", pattern);
    if (glob(full, 0, NULL, &found) != 0) {
        if (dir)
            fail_msg("GOLDEN_DIR: %s matches nothing", full);
        print_message("no reference dumps: %s matches nothing\n", full);
        skip();
    }
    for (size_t i = 0; i < found.gl_pathc; i++)
        check(found.gl_pathv[i]);
    globfree(&found);
}

#endif
