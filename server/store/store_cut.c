/* A cut: a guard on every sub-table that has rows. */
#include "server/store/store_cut.h"

#include <assert.h>
#include <stdlib.h>

#include "common/log.h"
#include "server/store/guard.h"
#include "server/store/store_parts.h"

struct StoreCut {
    Store *store;
    bool only_touched;
    uint32_t generation;
    size_t most_copy_bytes; /* of the widest table's row */
    GuardTerms terms[SCHEMA_MAX_TABLES];
    CopyBudget budget;
    Guard *guards; /* (n_guards) by table and slot */
    Guard **slots; /* (n_tables, N_SLOTS) into guards, NULL: has no rows */
    uint32_t n_guards;
    _Atomic uint32_t n_unread; /* guards */
    size_t table_bytes[SCHEMA_MAX_TABLES]; /* of a copy of each row */
    /* the reader's */
    uint32_t n_left[SCHEMA_MAX_TABLES]; /* guards not yet read */
    Capture capture;
};

/* ---- the store's thread ----------------------------------------------------------------------------------------- */

/* Sub-tables are far apart in memory: each is asked for well before it is looked at. */
enum { AHEAD = 16 };

static uint32_t count_guards(const Store *s) {
    uint32_t n = 0;
    for (int i = 0; i < s->schema->n_tables; i++)
        for (int slot = 0; slot < N_SLOTS; slot++)
            n += s->tables[i].slots[slot] != NULL;
    return n;
}

static void guard_table(StoreCut *cut, int table) {
    RowTable *t = &cut->store->tables[table];
    size_t copy_bytes = sizeof(RowCopy) + t->shape.row_reals * sizeof(real);
    uint32_t n_rows = 0;
    t->generation = cut->generation;
    if (copy_bytes > cut->most_copy_bytes)
        cut->most_copy_bytes = copy_bytes;
    cut->terms[table] = (GuardTerms){.shape = t->shape,
                                     .generation = cut->generation,
                                     .base = cut->only_touched ? cut->store->base : 0,
                                     .copies = &t->copies};
    for (int slot = 0; slot < N_SLOTS; slot++) {
        if (slot + AHEAD < N_SLOTS)
            __builtin_prefetch(t->slots[slot + AHEAD], 1);
        SubTable *sub = t->slots[slot];
        if (!sub)
            continue;
        Guard *g = &cut->guards[cut->n_guards++];
        guard_init(g, &cut->terms[table], sub);
        cut->slots[(size_t)table * N_SLOTS + (size_t)slot] = g;
        cut->n_left[table]++;
        n_rows += sub->n_rows;
    }
    cut->table_bytes[table] = n_rows * copy_bytes;
    copies_begin(&t->copies, &cut->budget, copy_bytes, n_rows,
                 (uint32_t)cut->store->schema->tables[table].n_rows);
}

StoreCut *store_cut_begin(Store *s, bool only_touched, size_t max_copy_bytes) {
    assert(!s->cut);
    StoreCut *cut = must_calloc(1, sizeof *cut);
    *cut = (StoreCut){.store = s, .only_touched = only_touched, .generation = ++s->generation};
    cut->budget.max_bytes = max_copy_bytes;
    cut->guards = must_alloc((count_guards(s) + 1) * sizeof *cut->guards);
    cut->slots = must_calloc((size_t)s->schema->n_tables * N_SLOTS + 1, sizeof(Guard *));
    for (int i = 0; i < s->schema->n_tables; i++)
        guard_table(cut, i);
    cut->n_unread = cut->n_guards;
    s->cut = cut;
    return cut;
}

void store_cut_end(StoreCut **out, bool is_base) {
    StoreCut *cut = *out;
    assert(cut->store->cut == cut && !(is_base && cut->only_touched));
    for (uint32_t i = 0; i < cut->n_guards; i++) {
        if (i + AHEAD < cut->n_guards)
            __builtin_prefetch(cut->guards[i + AHEAD].sub, 1);
        guard_free(&cut->guards[i]);
    }
    if (is_base)
        cut->store->base = cut->generation;
    cut->store->cut = NULL;
    capture_free(&cut->capture);
    free(cut->guards);
    free(cut->slots);
    free(cut);
    *out = NULL;
}

bool store_cut_is_read(const StoreCut *cut) {
    return atomic_load_explicit(&cut->n_unread, memory_order_acquire) == 0;
}

bool store_cut_has_room(const StoreCut *cut, uint64_t n_rows) {
    size_t used = atomic_load_explicit(&cut->budget.used_bytes, memory_order_relaxed), max = cut->budget.max_bytes;
    return !cut->budget.is_short && used < max && n_rows <= (max - used) / cut->most_copy_bytes;
}

StoreCutStats store_cut_stats(const StoreCut *cut) {
    return (StoreCutStats){.copied_bytes = atomic_load_explicit(&cut->budget.used_bytes, memory_order_relaxed),
                           .max_copied_bytes = atomic_load_explicit(&cut->budget.most_bytes, memory_order_relaxed)};
}

/* ---- the reader's thread ---------------------------------------------------------------------------------------- */

static Guard *guard_of(const StoreCut *cut, int table, uint32_t slot) {
    return cut->slots[(size_t)table * N_SLOTS + slot];
}

void store_cut_count(StoreCut *cut, int table, uint64_t *slots) {
    slots[0] = 0;
    for (uint32_t slot = 0; slot < N_SLOTS; slot++) {
        Guard *g = guard_of(cut, table, slot);
        slots[slot + 1] = slots[slot] + (g ? guard_count(g) : 0);
    }
}

/* Of the memory that copies may take, what a table keeps for the next cut: together they keep no more than that. */
static size_t share_of(const StoreCut *cut, int table) {
    double all = 0;
    for (int i = 0; i < cut->store->schema->n_tables; i++)
        all += (double)cut->table_bytes[i];
    return (size_t)((double)cut->budget.max_bytes * (double)cut->table_bytes[table] / all);
}

void store_cut_visit(StoreCut *cut, int table, uint32_t slot, StoreVisit visit, void *ctx) {
    Guard *g = guard_of(cut, table, slot);
    Capture *c = &cut->capture;
    if (!g)
        return;
    guard_capture(g, c);
    if (--cut->n_left[table] == 0)
        copies_end(&cut->store->tables[table].copies, share_of(cut, table));
    atomic_fetch_sub_explicit(&cut->n_unread, 1, memory_order_release);
    for (uint32_t i = 0; i < c->n_rows; i++)
        visit(ctx, key_of(table, c->places[i].row),
              c->rows + (size_t)c->places[i].place * cut->terms[table].shape.row_reals);
}

const Store *store_cut_store(const StoreCut *cut) {
    return cut->store;
}
