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

static void prefetch(const void *p, size_t bytes) {
    const char *line = (const char *)((uintptr_t)p & ~(uintptr_t)(CACHE_LINE - 1));
    for (; line < (const char *)p + bytes; line += CACHE_LINE)
        __builtin_prefetch(line);
}

/* Where the rows of a block of keys are. */
typedef struct Places {
    SubTable *subs[ROWTABLE_BLOCK];
    int64_t places[ROWTABLE_BLOCK];
} Places;

static const RowTable *table_of(const RowTable *tables, uint64_t key) {
    return &tables[key_table(key)];
}

/* A row is four steps away: sub-table, group of the index, chunk, row. All rows of the block take each step together,
 * so that their misses overlap. The last one is the caller's: the chunks are on their way from memory. */
static void find(const RowTable *tables, const uint64_t *keys, uint32_t n, Places *p) {
    uint64_t mixes[ROWTABLE_BLOCK];
    assert(n <= ROWTABLE_BLOCK);
    for (uint32_t i = 0; i < n; i++) {
        mixes[i] = key_mix(keys[i]);
        p->subs[i] = table_of(tables, keys[i])->slots[slot_of(mixes[i])];
        __builtin_prefetch(p->subs[i]);
    }
    for (uint32_t i = 0; i < n; i++)
        if (p->subs[i])
            __builtin_prefetch(subtable_group(p->subs[i], mixes[i]));
    for (uint32_t i = 0; i < n; i++) {
        p->places[i] = p->subs[i] ? subtable_find(p->subs[i], mixes[i], (uint32_t)key_row(keys[i])) : SUBTABLE_NONE;
        if (p->places[i] != SUBTABLE_NONE)
            __builtin_prefetch(subtable_chunk(p->subs[i], table_of(tables, keys[i])->shape, p->places[i]));
    }
}

void rowtable_locate(const RowTable *tables, const uint64_t *keys, uint32_t n, const real **rows) {
    Places p;
    find(tables, keys, n, &p);
    for (uint32_t i = 0; i < n; i++) {
        const RowTable *t = table_of(tables, keys[i]);
        rows[i] = p.places[i] == SUBTABLE_NONE ? NULL : subtable_row(p.subs[i], t->shape, p.places[i]);
        if (rows[i])
            prefetch(rows[i], t->width * sizeof(real));
    }
}

/* The row that changes, or the place that a new one will take. */
static uint32_t place_to_change(const SubTable *sub, int64_t place) {
    return place == SUBTABLE_NONE ? sub->n_rows : (uint32_t)place;
}

/* Whether a guard has to be asked before something at this place changes: not in a new chunk. */
static bool is_guarded(const RowTable *t, const SubTable *sub, uint32_t place) {
    const Chunk *chunk = subtable_chunk(sub, t->shape, place);
    return sub->guard && chunk != sub->chunks + sub->n_chunks && !guard_is_free(chunk, t->generation);
}

static bool protect(const RowTable *tables, const uint64_t *keys, uint32_t n, const Places *p, bool is_bounded) {
    uint32_t guarded[ROWTABLE_BLOCK], n_guarded = 0;
    for (uint32_t i = 0; i < n; i++) {
        const RowTable *t = table_of(tables, keys[i]);
        SubTable *sub = p->subs[i];
        if (!sub || !sub->guard || !is_guarded(t, sub, place_to_change(sub, p->places[i])))
            continue;
        const Chunk *chunk = subtable_chunk(sub, t->shape, place_to_change(sub, p->places[i]));
        __builtin_prefetch(sub->guard, 1);
        if (chunk->touched == t->generation) /* it has a copy, else its guard would not have to be asked */
            __builtin_prefetch(copies_at(&t->copies, chunk->copy));
        if (p->places[i] != SUBTABLE_NONE)
            prefetch(subtable_row(sub, t->shape, p->places[i]), t->shape.row_reals * sizeof(real));
        guarded[n_guarded++] = i;
    }
    for (uint32_t k = 0; k < n_guarded; k++) {
        SubTable *sub = p->subs[guarded[k]];
        if (!guard_touch(sub->guard, place_to_change(sub, p->places[guarded[k]]), is_bounded))
            return false;
    }
    return true;
}

bool rowtable_protect(RowTable *tables, const uint64_t *keys, uint32_t n, bool is_bounded) {
    Places p;
    find(tables, keys, n, &p);
    return protect(tables, keys, n, &p, is_bounded);
}

/* A guard that is done is not asked. */
static void touch(const RowTable *t, SubTable *sub, int64_t place) {
    Chunk *chunk = subtable_chunk(sub, t->shape, place);
    if (chunk->touched == t->generation)
        return;
    assert(!sub->guard || guard_is_done(sub->guard));
    chunk->touched = t->generation;
}

bool rowtable_change(RowTable *tables, const uint64_t *keys, uint32_t n, int domain, real **rows) {
    Places p;
    find(tables, keys, n, &p);
    if (!protect(tables, keys, n, &p, false))
        return false;
    for (uint32_t i = 0; i < n; i++) {
        const RowTable *t = table_of(tables, keys[i]);
        rows[i] = NULL;
        if (p.places[i] == SUBTABLE_NONE)
            continue;
        touch(t, p.subs[i], p.places[i]);
        rows[i] = subtable_row(p.subs[i], t->shape, p.places[i]);
        prefetch(rows[i], t->width * sizeof(real));
        if (domain >= 0 && t->n_sets)
            prefetch(rowtable_moments(t, rows[i], domain), t->set_reals * sizeof(real));
    }
    return true;
}

/* ---- creating ------------------------------------------------------------------------------------------------- */

void rowtable_initial(const RowTable *t, uint64_t row, real *values) {
    schema_initial_row(t->schema, t->seed, t->table, row, values);
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

real *rowtable_obtain(RowTable *t, uint64_t row) {
    uint64_t mix = key_mix(key_of(t->table, row));
    SubTable **slot = &t->slots[slot_of(mix)];
    if (!*slot)
        *slot = subtable_new();
    int64_t place = subtable_find(*slot, mix, (uint32_t)row);
    if (place != SUBTABLE_NONE) {
        touch(t, *slot, place);
        return subtable_row(*slot, t->shape, place);
    }
    place = add(t, *slot, mix, (uint32_t)row);
    real *fresh = subtable_row(*slot, t->shape, place);
    rowtable_initial(t, row, fresh);
    memset(fresh + t->width, 0, (t->shape.row_reals - t->width) * sizeof(real));
    return fresh;
}
