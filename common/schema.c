/* The schema: from declared tensors to tables of rows, and the initial value of every row. */
#include "common/schema.h"

#include <assert.h>
#include <math.h>
#include <string.h>
#include <xxhash.h>

#include "common/rng.h"

static Tensor *add_tensor(Schema *s, const char *name, TensorKind kind, int reached_by, uint32_t rows, uint32_t cols) {
    assert(s->n_tensors < SCHEMA_MAX_TENSORS && strlen(name) < SCHEMA_NAME);
    assert(schema_find(s, name) < 0 && rows > 0 && cols > 0);
    assert(reached_by >= REACHED_BY_A && reached_by <= REACHED_BY_BOTH);
    Tensor *t = &s->tensors[s->n_tensors++];
    *t = (Tensor){.kind = kind, .reached_by = reached_by, .rows = rows, .cols = cols, .table = -1};
    strcpy(t->name, name);
    return t;
}

int schema_add_sparse(Schema *s, const char *name, int reached_by, uint32_t rows, uint32_t cols, double std) {
    Tensor *t = add_tensor(s, name, TENSOR_SPARSE, reached_by, rows, cols);
    t->init = std > 0 ? INIT_TRUNCATED_NORMAL : INIT_CONSTANT;
    t->scale = std > 0 ? std : 0;
    t->has_l2 = true;
    return s->n_tensors - 1;
}

int schema_add_dense(Schema *s, const char *name, int reached_by, uint32_t rows, uint32_t cols, InitKind init,
                     double scale, bool has_l2) {
    Tensor *t = add_tensor(s, name, TENSOR_DENSE, reached_by, rows, cols);
    t->init = init;
    t->scale = scale;
    t->has_l2 = has_l2;
    return s->n_tensors - 1;
}

int schema_add_ema(Schema *s, const char *name, int reached_by, uint32_t rows, uint32_t cols, double initial) {
    add_tensor(s, name, TENSOR_EMA, reached_by, rows, cols)->scale = initial;
    return s->n_tensors - 1;
}

int schema_add_sum(Schema *s, const char *name, int reached_by, uint32_t rows, uint32_t cols) {
    add_tensor(s, name, TENSOR_SUM, reached_by, rows, cols);
    return s->n_tensors - 1;
}

int schema_find(const Schema *s, const char *tensor_name) {
    for (int i = 0; i < s->n_tensors; i++)
        if (!strcmp(s->tensors[i].name, tensor_name))
            return i;
    return -1;
}

int schema_find_table(const Schema *s, const char *name) {
    for (int i = 0; i < s->n_tables; i++)
        if (!strcmp(s->tables[i].name, name))
            return i;
    return -1;
}

/* ---- tables ------------------------------------------------------------------------------------------------- */

static void add_sparse_table(Schema *s, int tensor) {
    Tensor *t = &s->tensors[tensor];
    const char *dot = strrchr(t->name, '.'), *name = dot ? dot + 1 : t->name;
    if (schema_find_table(s, name) >= 0)
        name = t->name;
    assert(s->n_tables < SCHEMA_MAX_TABLES);
    Table *table = &s->tables[s->n_tables];
    *table = (Table){.is_sparse = true,
                     .reached_by = t->reached_by,
                     .width = t->cols,
                     .n_rows = t->rows,
                     .first_tensor = tensor};
    strcpy(table->name, name);
    t->table = s->n_tables++;
    t->n_rows = t->rows;
}

static uint32_t rows_in_table(const Tensor *t) {
    if (t->kind == TENSOR_DENSE)
        return (uint32_t)(((uint64_t)t->rows * t->cols + SCHEMA_DENSE_WIDTH - 1) / SCHEMA_DENSE_WIDTH);
    return t->rows * ((t->cols + SCHEMA_STATS_VALUES - 1) / SCHEMA_STATS_VALUES);
}

/* One table for all dense tensors that the same domains reach, or for all stats (reached_by 0). */
static void add_joint_table(Schema *s, const char *name, int reached_by) {
    Table table = {.is_stats = !reached_by,
                   .reached_by = reached_by ? reached_by : REACHED_BY_BOTH,
                   .width = reached_by ? SCHEMA_DENSE_WIDTH : SCHEMA_STATS_WIDTH,
                   .first_tensor = -1};
    for (int i = 0; i < s->n_tensors; i++) {
        Tensor *t = &s->tensors[i];
        bool is_stat = t->kind == TENSOR_EMA || t->kind == TENSOR_SUM;
        if (t->kind == TENSOR_SPARSE || is_stat != table.is_stats || (!is_stat && t->reached_by != reached_by))
            continue;
        t->table = s->n_tables;
        t->first_row = table.n_rows;
        t->n_rows = rows_in_table(t);
        table.n_rows += t->n_rows;
        if (table.first_tensor < 0)
            table.first_tensor = i;
    }
    if (!table.n_rows)
        return;
    assert(s->n_tables < SCHEMA_MAX_TABLES);
    strcpy(table.name, name);
    s->tables[s->n_tables++] = table;
}

void schema_finish(Schema *s) {
    for (int i = 0; i < s->n_tensors; i++)
        if (s->tensors[i].kind == TENSOR_SPARSE)
            add_sparse_table(s, i);
    add_joint_table(s, "dense_A", REACHED_BY_A);
    add_joint_table(s, "dense_B", REACHED_BY_B);
    add_joint_table(s, "dense_shared", REACHED_BY_BOTH);
    add_joint_table(s, "stats", 0);
}

const Tensor *schema_tensor_of(const Schema *s, int table, uint64_t row) {
    assert(table >= 0 && table < s->n_tables && row < s->tables[table].n_rows);
    for (int i = s->tables[table].first_tensor; i < s->n_tensors; i++) {
        const Tensor *t = &s->tensors[i];
        if (t->table == table && row >= t->first_row && row - t->first_row < t->n_rows)
            return t;
    }
    assert(!"every row belongs to a tensor");
    return NULL;
}

/* ---- initial values ----------------------------------------------------------------------------------------- */

/* Draws the values of one row in double. Of a dense row the fill behind the tensor's end stays 0. */
static void draw_row(const Schema *s, uint64_t seed, int table, uint64_t row, double *out) {
    const Tensor *t = schema_tensor_of(s, table, row);
    uint32_t width = s->tables[table].width, n = width;
    uint64_t local = row - t->first_row;
    memset(out, 0, width * sizeof *out);
    if (t->kind == TENSOR_DENSE) {
        uint64_t left = (uint64_t)t->rows * t->cols - local * SCHEMA_DENSE_WIDTH;
        n = left < width ? (uint32_t)left : width;
    } else if (t->kind == TENSOR_EMA) {
        n = SCHEMA_STATS_VALUES;
    } else if (t->kind == TENSOR_SUM) {
        return;
    }
    Rng r = rng_stream(seed, RNG_INIT, (uint32_t)XXH3_64bits(t->name, strlen(t->name)), local);
    double limit = sqrt(6.0 / ((double)t->rows + t->cols));
    for (uint32_t i = 0; i < n; i++) {
        if (t->kind == TENSOR_EMA || t->init == INIT_CONSTANT)
            out[i] = t->scale;
        else if (t->init == INIT_TRUNCATED_NORMAL)
            out[i] = t->scale * rng_truncated_normal(&r);
        else
            out[i] = limit * (2 * rng_uniform(&r) - 1);
    }
}

enum { DRAW_WIDTH = 1024 };

void schema_initial_row_f64(const Schema *s, uint64_t seed, int table, uint64_t row, double *out) {
    draw_row(s, seed, table, row, out);
}

void schema_initial_row_f32(const Schema *s, uint64_t seed, int table, uint64_t row, float *out) {
    double drawn[DRAW_WIDTH];
    uint32_t width = s->tables[table].width;
    assert(width <= DRAW_WIDTH);
    draw_row(s, seed, table, row, drawn);
    for (uint32_t i = 0; i < width; i++)
        out[i] = (float)drawn[i];
}
