/* Which rows a step touches, in which order, and where their values lie. */
#include <assert.h>
#include <stdlib.h>

#include "common/log.h"
#include "worker/model/step_parts.h"

/* ---- what a domain always touches ---------------------------------------------------------------------------------
 */

static bool reaches(const Tensor *t, int domain) {
    return t->reached_by >> domain & 1;
}

/* Appends the rows of a tensor and notes where its values begin. */
static void append_rows(DomainRows *d, const Schema *schema, int tensor, uint32_t *n_keys) {
    const Tensor *t = &schema->tensors[tensor];
    d->value_at[tensor] = d->n_values;
    for (uint32_t i = 0; i < t->n_rows; i++)
        d->keys[(*n_keys)++] = key_of(t->table, t->first_row + i);
    d->n_values += (size_t)t->n_rows * schema->tables[t->table].width;
}

/* The tensors of one kind that a domain reaches, in the order of their keys. Returns the number of keys. */
static uint32_t append_kind(DomainRows *d, const Schema *schema, TensorKind kind, int domain, uint32_t n_keys) {
    uint32_t n = n_keys;
    for (int table = 0; table < schema->n_tables; table++)
        for (int i = 0; i < schema->n_tensors; i++) {
            const Tensor *t = &schema->tensors[i];
            if (t->table == table && t->kind == kind && reaches(t, domain))
                append_rows(d, schema, i, &n);
        }
    return n - n_keys;
}

static void open_domain(DomainRows *d, const Schema *schema, int domain) {
    size_t n_keys = 0;
    for (int i = 0; i < schema->n_tensors; i++)
        if (schema->tensors[i].kind != TENSOR_SPARSE)
            n_keys += schema->tensors[i].n_rows;
    d->keys = must_calloc(n_keys + 1, sizeof *d->keys);
    d->value_at = must_calloc((size_t)schema->n_tensors, sizeof *d->value_at);
    for (int i = 0; i < schema->n_tensors; i++)
        d->value_at[i] = SIZE_MAX;
    d->n_dense = append_kind(d, schema, TENSOR_DENSE, domain, 0);
    d->n_ema = append_kind(d, schema, TENSOR_EMA, domain, d->n_dense);
    d->loss = losses_tensor(schema, domain);
    uint32_t n = d->n_dense + d->n_ema;
    append_rows(d, schema, d->loss, &n);
    assert(n == d->n_dense + d->n_ema + 1);
}

void step_rows_open(Step *s) {
    for (int domain = 0; domain < N_DOMAINS; domain++)
        open_domain(&s->domains[domain], s->schema, domain);
}

void step_rows_close(Step *s) {
    for (int domain = 0; domain < N_DOMAINS; domain++) {
        free(s->domains[domain].keys);
        free(s->domains[domain].value_at);
    }
}

/* ---- distinct rows of the sparse tensors ---------------------------------------------------------------------------
 */

void step_lookup(Step *s, int tensor, const uint32_t *ids, int n) {
    assert(s->n_lookups < STEP_MAX_LOOKUPS && s->schema->tensors[tensor].kind == TENSOR_SPARSE);
    s->lookups[s->n_lookups++] = (Lookup){.tensor = tensor, .n = n, .ids = ids};
}

/* Distinct ids so far, and a table of open addressing from id to its place among them. */
typedef struct Distinct {
    uint32_t *ids, n;
    uint32_t *slots, mask; /* place + 1, 0 = free; size a power of two, at most half full */
} Distinct;

static Distinct make_distinct(Arena *a, size_t most) {
    size_t size = 16;
    while (size < 2 * most)
        size *= 2;
    return (Distinct){
        .ids = arena_array(a, uint32_t, most), .slots = arena_zeros(a, uint32_t, size), .mask = (uint32_t)size - 1};
}

static uint32_t place_of(Distinct *d, uint32_t id) {
    uint32_t hash = id * 0x9E3779B1u; /* the golden ratio's multiplicative hash; the high bits are the mixed ones */
    for (uint32_t i = (hash ^ hash >> 15) & d->mask;; i = (i + 1) & d->mask) {
        if (!d->slots[i]) {
            d->ids[d->n] = id;
            d->slots[i] = ++d->n;
            return d->n - 1;
        }
        if (d->ids[d->slots[i] - 1] == id)
            return d->slots[i] - 1;
    }
}

static size_t ids_of(const Step *s, int tensor) {
    size_t n = 0;
    for (int i = 0; i < s->n_lookups; i++)
        if (s->lookups[i].tensor == tensor)
            n += (size_t)s->lookups[i].n;
    return n;
}

/* Numbers the distinct ids of a tensor in the order of their first occurrence; appends their keys. */
static void collect_tensor(Step *s, int tensor) {
    Distinct d = make_distinct(&s->arena, ids_of(s, tensor));
    for (int i = 0; i < s->n_lookups; i++) {
        Lookup *l = &s->lookups[i];
        if (l->tensor != tensor)
            continue;
        l->index = arena_array(&s->arena, uint32_t, l->n);
        for (int j = 0; j < l->n; j++) {
            assert(l->ids[j] < s->schema->tensors[tensor].rows);
            l->index[j] = place_of(&d, l->ids[j]);
        }
    }
    const Tensor *t = &s->schema->tensors[tensor];
    for (uint32_t i = 0; i < d.n; i++)
        s->keys[s->n_sparse++] = key_of(t->table, d.ids[i]);
    s->n_distinct[tensor] = d.n;
    s->value_at[tensor] = s->n_sparse_values;
    s->n_sparse_values += (size_t)d.n * t->cols;
}

const uint32_t *step_index(const Step *s, int tensor, const uint32_t *ids) {
    if (s->is_held)
        return ids;
    for (int i = 0; i < s->n_lookups; i++)
        if (s->lookups[i].tensor == tensor && s->lookups[i].ids == ids)
            return s->lookups[i].index;
    assert(!"a model may read only what its lookup() has named");
    return NULL;
}

/* ---- one batch -------------------------------------------------------------------------------------------------- */

void step_rows_begin(Step *s) {
    const DomainRows *d = &s->domains[s->batch->domain];
    uint32_t n_fixed = d->n_dense + d->n_ema + 1;
    size_t most = 0;
    for (int i = 0; i < s->n_lookups; i++)
        most += (size_t)s->lookups[i].n;
    s->keys = arena_array(&s->arena, uint64_t, most + n_fixed);
    s->n_sparse = 0;
    s->n_sparse_values = 0;
    s->has_moved_dense = false;
    for (int table = 0; table < s->schema->n_tables; table++)
        if (s->schema->tables[table].is_sparse && ids_of(s, s->schema->tables[table].first_tensor) > 0)
            collect_tensor(s, s->schema->tables[table].first_tensor);
    memcpy(s->keys + s->n_sparse, d->keys, sizeof *s->keys * n_fixed);
    for (int i = 0; i < s->schema->n_tensors; i++)
        if (s->schema->tensors[i].kind != TENSOR_SPARSE && d->value_at[i] != SIZE_MAX)
            s->value_at[i] = s->n_sparse_values + d->value_at[i];
    s->n_values = s->n_sparse_values + d->n_values;
    s->values = arena_array(&s->arena, real, s->n_values);
    if (s->is_training)
        s->grads = arena_zeros(&s->arena, real, s->n_values);
}

Var *step_var(Step *s, int tensor) {
    const Tensor *t = &s->schema->tensors[tensor];
    assert(t->kind == TENSOR_SPARSE || s->domains[s->batch->domain].value_at[tensor] != SIZE_MAX);
    if (!s->vars[tensor]) {
        int rows = (int)(t->kind == TENSOR_SPARSE ? s->n_distinct[tensor] : t->rows);
        size_t at = s->value_at[tensor];
        s->vars[tensor] =
            tape_wrap(&s->tape, rows, (int)t->cols, s->values + at, s->is_training ? s->grads + at : NULL);
    }
    return s->vars[tensor];
}

size_t step_values_before_ema(const Step *s) {
    return s->n_sparse_values + (size_t)s->domains[s->batch->domain].n_dense * SCHEMA_DENSE_WIDTH;
}

const uint64_t *step_pull_keys(const Step *s, uint32_t *n_keys, size_t *n_values) {
    const DomainRows *d = &s->domains[s->batch->domain];
    *n_keys = s->n_sparse + d->n_dense + (s->is_training ? 0 : d->n_ema);
    *n_values = step_values_before_ema(s) + (s->is_training ? 0 : (size_t)d->n_ema * SCHEMA_STATS_WIDTH);
    return s->keys;
}

const uint64_t *step_sparse_keys(const Step *s, uint32_t *n_keys, size_t *n_values) {
    *n_keys = s->n_sparse;
    *n_values = s->n_sparse_values;
    return s->keys;
}

const uint64_t *step_dense_keys(const Step *s, uint32_t *n_keys, size_t *n_values) {
    const DomainRows *d = &s->domains[s->batch->domain];
    *n_keys = d->n_dense;
    *n_values = (size_t)d->n_dense * SCHEMA_DENSE_WIDTH;
    return d->keys;
}

void step_move_dense(Step *s, real *sum) {
    uint32_t n_dense, n_rest = s->domains[s->batch->domain].n_ema + 1;
    size_t n_values;
    step_dense_keys(s, &n_dense, &n_values);
    assert(!s->has_moved_dense);
    real *grads = s->grads + s->n_sparse_values;
    uint64_t *keys = s->keys + s->n_sparse;
    for (size_t i = 0; i < n_values; i++)
        sum[i] += grads[i];
    memmove(grads, grads + n_values, (s->n_values - s->n_sparse_values - n_values) * sizeof *grads);
    memmove(keys, keys + n_dense, n_rest * sizeof *keys);
    s->has_moved_dense = true;
}

real *step_values(Step *s) {
    return s->values;
}

const uint64_t *step_push_keys(const Step *s, uint32_t *n_keys, size_t *n_values) {
    const DomainRows *d = &s->domains[s->batch->domain];
    uint32_t n_dense = s->has_moved_dense ? 0 : d->n_dense;
    *n_keys = s->n_sparse + n_dense + d->n_ema + 1;
    *n_values = s->n_values - (size_t)(d->n_dense - n_dense) * SCHEMA_DENSE_WIDTH;
    return s->keys;
}

const real *step_grads(const Step *s) {
    return s->grads;
}
