/* Logits of random batches against the project's own forward pass in NumPy (man_oracle.py), in double.
 * link: mg_numbers_f64
 * Every switch of the model in turn, in training (batch statistics) and in evaluation (running ones). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "common/safetensors.h"
#include "tests/gradient/sample_step.h"

enum { MOST_TENSORS = 400, N_VARIANTS = 12 };
static const char ORACLE[] = "tests/golden/man_oracle.py", PYTHON[] = "/usr/bin/python3";

static const int LENGTHS[] = {3, 1, 6, 2, 5};

/* Tensors on their way into a file. */
typedef struct File {
    SafetensorsEntry entries[MOST_TENSORS];
    char names[MOST_TENSORS][SCHEMA_NAME + 8];
    double *data[MOST_TENSORS]; /* owned, NULL where the entry borrows */
    int n;
} File;

static double *add(File *f, const char *prefix, const char *name, uint32_t rows, uint32_t cols) {
    assert_true(f->n < MOST_TENSORS);
    SafetensorsEntry *e = &f->entries[f->n];
    snprintf(f->names[f->n], sizeof f->names[f->n], "%s/%s", prefix, name);
    f->data[f->n] = must_calloc((size_t)rows * cols, sizeof(double));
    *e = (SafetensorsEntry){.name = f->names[f->n], .dtype = DTYPE_F64, .n_dims = 2, .shape = {rows, cols}};
    e->data = f->data[f->n];
    return f->data[f->n++];
}

static void add_ids(File *f, const char *name, const uint32_t *ids, uint64_t rows, uint64_t cols) {
    SafetensorsEntry *e = &f->entries[f->n];
    snprintf(f->names[f->n], sizeof f->names[f->n], "in/%s", name);
    *e = (SafetensorsEntry){.name = f->names[f->n], .dtype = DTYPE_U32, .n_dims = cols ? 2 : 1, .shape = {rows, cols}};
    e->data = ids;
    f->n++;
}

/* Where a table row's values begin in their tensor, and how many of them count. */
static uint64_t place_in_tensor(const Tensor *t, uint64_t row, uint64_t *n) {
    uint64_t cols = t->cols, width = t->kind == TENSOR_DENSE ? SCHEMA_DENSE_WIDTH : SCHEMA_STATS_VALUES, first, end;
    if (t->kind == TENSOR_SPARSE) {
        *n = cols;
        return row * cols;
    }
    if (t->kind == TENSOR_DENSE) {
        first = row * width;
        end = t->rows * cols;
    } else { /* a row of the tensor takes so many of the table */
        uint64_t per_row = (cols + width - 1) / width;
        first = row / per_row * cols + row % per_row * width;
        end = (row / per_row + 1) * cols;
    }
    *n = end - first < width ? end - first : width;
    return first;
}

/* The pulled values as whole tensors; rows that were not pulled stay 0, nobody reads them. */
static void add_values(File *f, const Sample *s) {
    double *of[SCHEMA_MAX_TENSORS] = {NULL};
    for (int i = 0; i < s->schema->n_tensors; i++) {
        const Tensor *t = &s->schema->tensors[i];
        if (t->kind != TENSOR_SUM && t->reached_by >> s->batch.domain & 1)
            of[i] = add(f, t->kind == TENSOR_EMA ? "stat" : "param", t->name, t->rows, t->cols);
    }
    uint32_t n_keys;
    size_t n_values;
    const uint64_t *keys = step_pull_keys(s->step, &n_keys, &n_values);
    const real *values = step_values(s->step);
    for (uint32_t k = 0; k < n_keys; k++) {
        const Tensor *t = schema_tensor_of(s->schema, key_table(keys[k]), key_row(keys[k]));
        uint64_t n, first = place_in_tensor(t, key_row(keys[k]) - t->first_row, &n);
        for (uint64_t j = 0; j < n; j++)
            of[t - s->schema->tensors][first + j] = (double)values[j];
        values += s->schema->tables[key_table(keys[k])].width;
    }
}

static void write_file(File *f, const ModelConfig *m, const Sample *s, bool is_training, const char *path) {
    static const char *const DIGITS[] = {"0", "1", "2", "3"};
    const char *const metadata[][2] = {{"domain", DIGITS[s->batch.domain]},
                                       {"training", DIGITS[is_training]},
                                       {"encoder", m->encoder == ENCODER_SASREC ? "sasrec" : "gru4rec"},
                                       {"blocks", DIGITS[m->blocks]},
                                       {"norm", m->norm == NORM_BATCH ? "batch" : "none"},
                                       {"isa", DIGITS[m->isa]},
                                       {"sfa", DIGITS[m->sfa]},
                                       {"gpa", DIGITS[m->gpa]},
                                       {"backbone_only", DIGITS[m->backbone_only]}};
    char *header;
    size_t size;
    assert_int_equal(safetensors_header(f->entries, f->n, metadata, sizeof metadata / sizeof *metadata, &header, &size),
                     OK);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(header, 1, size, out), size);
    for (int i = 0; i < f->n; i++)
        assert_int_equal(fwrite(f->entries[i].data, 1, f->entries[i].n_bytes, out), f->entries[i].n_bytes);
    assert_int_equal(fclose(out), 0);
    free(header);
}

static void write_case(const Config *config, int domain, bool is_training, const char *path) {
    Sample s = {0};
    File *f = must_calloc(1, sizeof *f);
    sample_open(&s, config);
    sample_batch(&s, domain, 5, LENGTHS, 3);
    sample_begin(&s, is_training);
    const real *logits = step_forward(s.step);
    add_values(f, &s);
    add_ids(f, "offset", s.batch.offset, 6, 0);
    add_ids(f, "hist", s.batch.hist, (uint64_t)s.batch.n_positions, 0);
    add_ids(f, "cand", s.batch.cand, 5, 3);
    double *out = add(f, "out", "logits", 5, 3);
    for (int i = 0; i < 15; i++)
        out[i] = (double)logits[i];
    write_file(f, &config->model, &s, is_training, path);
    for (int i = 0; i < f->n; i++)
        free(f->data[i]);
    free(f);
    sample_close(&s);
}

static Config variant(int i) {
    Config c = sample_config();
    c.model.encoder = i % 2 ? ENCODER_GRU4REC : ENCODER_SASREC;
    c.model.norm = i % 3 == 2 ? NORM_NONE : NORM_BATCH;
    c.model.isa = i != 4 && i != 7;
    c.model.sfa = i != 5 && i != 7;
    c.model.gpa = i != 6 && i != 7;
    c.model.backbone_only = i == 8 || i == 9;
    c.model.blocks = 1 + i % 3;
    c.model.dim = 3 + i;
    if (i == 3)
        c.model.mlp.width[0] = 70; /* running statistics of more than one row */
    return c;
}

static void logits_equal_a_second_implementation(void **state) {
    (void)state;
    char command[4096], directory[] = "/tmp/mangrove-oracle-XXXXXX";
    snprintf(command, sizeof command, "%s -c 'import numpy' 2>/dev/null", PYTHON);
    if (system(command) != 0) {
        print_message("%s has no numpy: the forward oracle was not run\n", PYTHON);
        skip();
    }
    assert_non_null(mkdtemp(directory));
    int used = snprintf(command, sizeof command, "%s %s", PYTHON, ORACLE);
    char paths[N_VARIANTS][64];
    for (int i = 0; i < N_VARIANTS; i++) {
        Config c = variant(i);
        snprintf(paths[i], sizeof paths[i], "%s/%d.safetensors", directory, i);
        write_case(&c, i / 2 % 2, i % 4 < 2, paths[i]);
        used += snprintf(command + used, sizeof command - (size_t)used, " %s", paths[i]);
    }
    int status = system(command);
    for (int i = 0; i < N_VARIANTS; i++)
        unlink(paths[i]);
    rmdir(directory);
    assert_int_equal(status, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(logits_equal_a_second_implementation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
