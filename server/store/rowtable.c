/* Tables of rows, and how a batch of rows is found without waiting for memory once per row. */
#include "server/store/rowtable.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "server/store/guard.h"

/* A chunk is what an increment holds whole, and the last one of each sub-table is half empty. */
enum { SPARSE_CHUNK_SHIFT = 4, SPARSE_CHUNK_BYTES = 4 << 10, CACHE_LINE = 64 };

#ifdef MANGROVE_DOUBLE
#define schema_initial_row schema_initial_row_f64
#else
#define schema_initial_row schema_initial_row_f32
#endif

static uint32_t slot_of(uint64_t mix) {
    return (uint32_t)(mix >> (64 - 12)); /* key_slot, of a mix that is at hand */
}

static RowRule rule_of(const Tensor *t) {
    if (t->kind == TENSOR_EMA)
        return RULE_EMA;
    if (t->kind == TENSOR_SUM)
        return RULE_SUM;
    return t->has_l2 ? RULE_L2 : RULE_PLAIN;
}

static uint8_t *rules_of(const Schema *schema, int table) {
    uint8_t *rules = must_alloc(schema->tables[table].n_rows);
    for (int i = 0; i < schema->n_tensors; i++)
        if (schema->tensors[i].table == table)
            memset(rules + schema->tensors[i].first_row, rule_of(&schema->tensors[i]), schema->tensors[i].n_rows);
    return rules;
}

/* Sparse rows come by the million: chunks of 16, if they are not wide. The others are few and spread over the slots:
 * chunks of one. */
void rowtable_init(RowTable *t, const Schema *schema, int table, OptimizerKind optimizer, uint64_t seed) {
    const Table *declared = &schema->tables[table];
    assert(declared->n_rows <= UINT32_MAX);
    *t = (RowTable){.schema = schema, .seed = seed, .table = table, .width = declared->width};
    if (!declared->is_stats) {
        t->set_reals = optimizer_set_reals(optimizer, t->width);
        t->n_sets = !t->set_reals ? 0 : declared->reached_by == REACHED_BY_BOTH ? 2 : 1;
    }
    t->shape.row_reals = t->width + t->n_sets * t->set_reals;
    size_t row_bytes = t->shape.row_reals * sizeof(real);
    assert(row_bytes <= SLAB_MAX_CHUNK);
    if (declared->is_sparse) {
        t->shape.chunk_shift = SPARSE_CHUNK_SHIFT;
        while (t->shape.chunk_shift && (row_bytes << t->shape.chunk_shift) > SPARSE_CHUNK_BYTES)
            t->shape.chunk_shift--;
        t->sparse_rule = rule_of(&schema->tensors[declared->first_tensor]);
    } else {
        t->rules = rules_of(schema, table);
    }
}

void rowtable_free(RowTable *t) {
    for (int i = 0; i < N_SLOTS; i++)
        subtable_free(t->slots[i]);
    copies_free(&t->copies);
    slab_free(&t->slab);
    free(t->rules);
    *t = (RowTable){0};
}

/* ---- finding -------------------------------------------------------------------------------------------------- */

/* GCC takes a function that only prefetches for one without effect and drops the call, unless it is inlined first. */
#define INLINE static inline __attribute__((always_inline))

INLINE void prefetch(const void *p, size_t bytes) {
    const char *line = (const char *)((uintptr_t)p & ~(uintptr_t)(CACHE_LINE - 1));
    for (; line < (const char *)p + bytes; line += CACHE_LINE)
        __builtin_prefetch(line);
}

/* Where the row of a key is, as far as that is known. */
typedef struct Place {
    uint64_t mix;
    SubTable *sub;
    int64_t place;
    real *row; /* NULL: there is none */
} Place;

/* A row is four misses away: sub-table, group of the index, chunk, row. While a row is used, the one AHEAD keys further
 * on is asked for, the chunk of the one that far behind it, and so on: as many misses as the machine can have are
 * always under way, and none is waited for. (One wait for a sub-table, in the second cache, costs as much as a row's
 * lines.) */
enum { AHEAD = 16, RING = 128 };
_Static_assert(RING > 4 * AHEAD, "who is asked for must not displace who is used");

typedef struct Walk {
    RowTable *tables;
    const uint64_t *keys;
    uint32_t n_keys;
    int domain; /* whose moments are wanted too; NO_MOMENTS; NO_CHANGE */
    Place ring[RING];
} Walk;
enum { NO_MOMENTS = -1, NO_CHANGE = -2 };

static RowTable *table_of(const Walk *w, uint32_t i) {
    return &w->tables[key_table(w->keys[i])];
}

INLINE void ask_sub(Walk *w, uint32_t i) {
    Place *p = &w->ring[i % RING];
    p->mix = key_mix(w->keys[i]);
    p->sub = table_of(w, i)->slots[slot_of(p->mix)];
    __builtin_prefetch(p->sub);
}

INLINE void ask_group(Walk *w, uint32_t i) {
    Place *p = &w->ring[i % RING];
    if (p->sub)
        __builtin_prefetch(subtable_group(p->sub, p->mix));
}

INLINE void ask_chunk(Walk *w, uint32_t i) {
    Place *p = &w->ring[i % RING];
    p->place = p->sub ? subtable_find(p->sub, p->mix, (uint32_t)key_row(w->keys[i])) : SUBTABLE_NONE;
    if (p->place != SUBTABLE_NONE)
        __builtin_prefetch(subtable_chunk(p->sub, table_of(w, i)->shape, p->place));
}

/* What a guard needs to copy the row. */
static void ask_guard(const RowTable *t, const Place *p) {
    const Chunk *chunk = subtable_chunk(p->sub, t->shape, p->place);
    if (guard_is_free(chunk, t->generation))
        return;
    __builtin_prefetch(p->sub->guard, 1);
    if (chunk->touched == t->generation)
        __builtin_prefetch(copies_at(&t->copies, chunk->copy));
    prefetch(p->row, t->shape.row_reals * sizeof(real));
}

INLINE void ask_row(Walk *w, uint32_t i) {
    Place *p = &w->ring[i % RING];
    const RowTable *t = table_of(w, i);
    p->row = NULL;
    if (p->place == SUBTABLE_NONE)
        return;
    p->row = subtable_row(p->sub, t->shape, p->place);
    prefetch(p->row, t->width * sizeof(real));
    if (w->domain >= 0 && t->n_sets)
        prefetch(rowtable_moments(t, p->row, w->domain), t->set_reals * sizeof(real));
    if (w->domain != NO_CHANGE && p->sub->guard)
        ask_guard(t, p);
}

/* The place of key i, to be called for one after the other. */
INLINE Place *walk_to(Walk *w, uint32_t i) {
    if (i + 4 * AHEAD < w->n_keys)
        ask_sub(w, i + 4 * AHEAD);
    if (i + 3 * AHEAD < w->n_keys)
        ask_group(w, i + 3 * AHEAD);
    if (i + 2 * AHEAD < w->n_keys)
        ask_chunk(w, i + 2 * AHEAD);
    if (i + AHEAD < w->n_keys)
        ask_row(w, i + AHEAD);
    return &w->ring[i % RING];
}

static void walk_begin(Walk *w, RowTable *tables, const uint64_t *keys, uint32_t n_keys, int domain) {
    w->tables = tables;
    w->keys = keys;
    w->n_keys = n_keys;
    w->domain = domain;
    for (uint32_t i = 0; i < 4 * AHEAD && i < n_keys; i++)
        ask_sub(w, i);
    for (uint32_t i = 0; i < 3 * AHEAD && i < n_keys; i++)
        ask_group(w, i);
    for (uint32_t i = 0; i < 2 * AHEAD && i < n_keys; i++)
        ask_chunk(w, i);
    for (uint32_t i = 0; i < AHEAD && i < n_keys; i++)
        ask_row(w, i);
}

/* ---- creating ------------------------------------------------------------------------------------------------- */

void rowtable_initial(const RowTable *t, uint64_t row, real *values) {
    schema_initial_row(t->schema, t->seed, t->table, row, values);
}

/* A guard that is done is not asked. */
static void touch(const RowTable *t, SubTable *sub, int64_t place) {
    Chunk *chunk = subtable_chunk(sub, t->shape, place);
    if (chunk->touched == t->generation)
        return;
    assert(!sub->guard || guard_is_done(sub->guard));
    chunk->touched = t->generation;
}

/* The chunk is new, or it was protected. */
static int64_t add(RowTable *t, SubTable *sub, uint64_t mix, uint32_t row) {
    if (sub->guard)
        guard_enter(sub->guard);
    int64_t place = subtable_add(sub, t->shape, &t->slab, t->table, mix, row);
    subtable_chunk(sub, t->shape, place)->touched = t->generation;
    if (sub->guard)
        guard_leave(sub->guard);
    return place;
}

/* The row, which will change; is_new: it was added just now, its contents are undefined. */
static real *obtain(RowTable *t, uint64_t row, bool *is_new) {
    uint64_t mix = key_mix(key_of(t->table, row));
    SubTable **slot = &t->slots[slot_of(mix)];
    if (!*slot)
        *slot = subtable_new();
    int64_t place = subtable_find(*slot, mix, (uint32_t)row);
    *is_new = place == SUBTABLE_NONE;
    if (*is_new)
        place = add(t, *slot, mix, (uint32_t)row);
    else
        touch(t, *slot, place);
    return subtable_row(*slot, t->shape, place);
}

void rowtable_put(RowTable *t, uint64_t row, const real *values) {
    bool is_new;
    memcpy(obtain(t, row, &is_new), values, t->shape.row_reals * sizeof(real));
}

/* Created with its initial values and zero moments if it is not there. */
static real *obtain_filled(RowTable *t, uint64_t row) {
    bool is_new;
    real *values = obtain(t, row, &is_new);
    if (is_new) {
        rowtable_initial(t, row, values);
        memset(values + t->width, 0, (t->shape.row_reals - t->width) * sizeof(real));
    }
    return values;
}

/* ---- using ------------------------------------------------------------------------------------------------------ */

void rowtable_pull(const RowTable *tables, const uint64_t *keys, uint32_t n_keys, real *values) {
    Walk w;
    walk_begin(&w, (RowTable *)tables, keys, n_keys, NO_CHANGE);
    for (uint32_t i = 0; i < n_keys; i++) {
        const RowTable *t = table_of(&w, i);
        const real *row = walk_to(&w, i)->row;
        if (row)
            memcpy(values, row, t->width * sizeof(real));
        else
            rowtable_initial(t, key_row(keys[i]), values);
        values += t->width;
    }
}

/* Before the row changes or is created. False: no room for a copy. */
static bool protect(const RowTable *t, const Place *p, bool is_bounded) {
    SubTable *sub = p->sub;
    if (!sub || !sub->guard)
        return true;
    uint32_t place = p->place == SUBTABLE_NONE ? sub->n_rows : (uint32_t)p->place;
    const Chunk *chunk = subtable_chunk(sub, t->shape, place);
    if (chunk == sub->chunks + sub->n_chunks || guard_is_free(chunk, t->generation))
        return true; /* a new chunk; one that needs no guard */
    return guard_touch(sub->guard, place, is_bounded);
}

bool rowtable_protect(RowTable *tables, const uint64_t *keys, uint32_t n_keys, bool is_bounded) {
    Walk w;
    walk_begin(&w, tables, keys, n_keys, NO_MOMENTS);
    for (uint32_t i = 0; i < n_keys; i++)
        if (!protect(table_of(&w, i), walk_to(&w, i), is_bounded))
            return false;
    return true;
}

bool rowtable_push(RowTable *tables, const Update *update, int domain, const uint64_t *keys, uint32_t n_keys,
                   const real *grads) {
    Walk w;
    walk_begin(&w, tables, keys, n_keys, domain);
    for (uint32_t i = 0; i < n_keys; i++) {
        RowTable *t = table_of(&w, i);
        const Place *p = walk_to(&w, i);
        uint64_t row = key_row(keys[i]);
        if (!protect(t, p, false))
            return false;
        if (p->row)
            touch(t, p->sub, p->place);
        real *values = p->row ? p->row : obtain_filled(t, row);
        optimizer_apply(update, rowtable_rule(t, row), values, rowtable_moments(t, values, domain), grads, t->width);
        grads += t->width;
    }
    return true;
}

real *rowtable_change(RowTable *tables, uint64_t key) {
    Walk w;
    walk_begin(&w, tables, &key, 1, NO_MOMENTS);
    const Place *p = walk_to(&w, 0);
    if (p->row)
        touch(table_of(&w, 0), p->sub, p->place);
    return p->row;
}
