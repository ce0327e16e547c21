/* The list of tensors becomes a schema again; every number is bounded before the schema derives anything from it. */
#include "server/snapshot/snapshot_schema.h"

#include <jansson.h>
#include <string.h>

#include "server/snapshot/snapshot_manifest.h"

enum { N_JOINT_TABLES = 4, MAX_SPARSE = SCHEMA_MAX_TABLES - N_JOINT_TABLES, MAX_COLS = 1 << 20 };

static bool read_number(const json_t *tensor, const char *field, uint32_t min, uint32_t max, uint32_t *out) {
    const json_t *json = json_object_get(tensor, field);
    json_int_t x = json_integer_value(json);
    *out = (uint32_t)x;
    return json_is_integer(json) && x >= min && x <= max;
}

/* The tensor's rows in its table fit into 32 bits: the schema counts them so. */
static bool fits(TensorKind kind, uint64_t rows, uint64_t cols) {
    uint64_t stats = rows * ((cols + SCHEMA_STATS_VALUES - 1) / SCHEMA_STATS_VALUES);
    return kind == TENSOR_SPARSE || (rows * cols <= UINT32_MAX && stats <= UINT32_MAX);
}

static bool add_tensor(Schema *out, const json_t *tensor, int *n_sparse) {
    const json_t *l2 = json_object_get(tensor, "l2"), *name_json = json_object_get(tensor, "name");
    const char *name = json_string_value(name_json);
    uint32_t kind, reached_by, rows, cols;
    if (!name || !*name || json_string_length(name_json) >= SCHEMA_NAME || schema_find(out, name) >= 0 ||
        !json_is_boolean(l2) || !read_number(tensor, "kind", TENSOR_SPARSE, TENSOR_SUM, &kind) ||
        !read_number(tensor, "reached_by", REACHED_BY_A, REACHED_BY_BOTH, &reached_by) ||
        !read_number(tensor, "rows", 1, UINT32_MAX, &rows) || !read_number(tensor, "cols", 1, MAX_COLS, &cols) ||
        !fits((TensorKind)kind, rows, cols))
        return false;
    switch ((TensorKind)kind) {
    case TENSOR_SPARSE:
        schema_add_sparse(out, name, (int)reached_by, rows, cols, 0);
        return ++*n_sparse <= MAX_SPARSE;
    case TENSOR_DENSE:
        schema_add_dense(out, name, (int)reached_by, rows, cols, INIT_CONSTANT, 0, json_is_true(l2));
        return true;
    case TENSOR_EMA:
        schema_add_ema(out, name, (int)reached_by, rows, cols, 0);
        return true;
    case TENSOR_SUM:
        schema_add_sum(out, name, (int)reached_by, rows, cols);
        return true;
    }
    return false;
}

Err snapshot_schema(const Snapshot *s, Schema *out) {
    const json_t *tensors = json_object_get(s->json, "tensors");
    size_t n = json_array_size(tensors);
    int n_sparse = 0;
    memset(out, 0, sizeof *out);
    if (n > SCHEMA_MAX_TENSORS)
        return err_fail(ERR_CORRUPT, "%s/manifest.json: %zu tensors are more than the %d allowed", s->dir, n,
                        SCHEMA_MAX_TENSORS);
    for (size_t i = 0; i < n; i++)
        if (!add_tensor(out, json_array_get(tensors, i), &n_sparse))
            return err_fail(ERR_CORRUPT, "%s/manifest.json: tensor %zu is not what it should be", s->dir, i);
    schema_finish(out);
    return OK;
}

Err snapshot_schema_table(const Snapshot *s, const Schema *schema, const char *name, int *table) {
    char names[SCHEMA_MAX_TABLES * (SCHEMA_NAME + 2)] = "";
    *table = schema_find_table(schema, name);
    if (*table >= 0)
        return OK;
    for (int i = 0; i < schema->n_tables; i++) {
        strcat(names, i ? ", " : "");
        strcat(names, schema->tables[i].name);
    }
    return err_fail(ERR_DATA, "%s: has no table %s; its tables are %s", s->dir, name, names);
}
