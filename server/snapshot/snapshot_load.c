/* DESIGN. Every file of the chain is opened and the parts of it that are wanted are checked: hashes, then that each row
 * stands where it belongs. Only when nothing is left to find do rows go into the store, the base's first. */
#include "server/snapshot/snapshot_load.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "server/snapshot/snapshot_chain.h"
#include "server/snapshot/snapshot_columns.h"
#include "server/snapshot/snapshot_manifest.h"
#include "server/snapshot/snapshot_source.h"

/* One file and what is wanted of it. */
typedef struct FilePart {
    SnapshotSource source;
    const Snapshot *snapshot; /* the one of the chain that it belongs to */
    SnapshotColumns at;       /* those that are loaded */
} FilePart;

typedef struct Loading {
    const SnapshotLoad *how;
    const Schema *schema;
    Store *store;
    Snapshot *base;  /* NULL: the snapshot is full */
    FilePart *parts; /* (n_parts) base first */
    size_t n_parts;
} Loading;

/* ---- schema --------------------------------------------------------------------------------------------------- */

/* The same but for the rows of a sparse tensor, which are not fewer now. */
static bool has_grown(const json_t *theirs, const json_t *ours) {
    const json_t *kind = json_object_get(theirs, "kind");
    json_t *rows = json_object_get(ours, "rows");
    if (!json_is_integer(kind) || json_integer_value(kind) != TENSOR_SPARSE ||
        json_integer_value(rows) < json_integer_value(json_object_get(theirs, "rows")))
        return false;
    json_t *grown = json_copy((json_t *)theirs);
    json_object_set(grown, "rows", rows);
    bool is_same = json_equal(grown, ours);
    json_decref(grown);
    return is_same;
}

Err snapshot_check_schema(const Snapshot *s, const Schema *schema, bool may_grow) {
    const json_t *theirs = json_object_get(s->json, "tensors");
    json_t *ours = snapshot_tensors_json(schema);
    size_t n_ours = json_array_size(ours), n_theirs = json_array_size(theirs),
           n = n_ours > n_theirs ? n_ours : n_theirs;
    Err e = OK;
    for (size_t i = 0; i < n && e == OK; i++) {
        const json_t *a = json_array_get(theirs, i), *b = json_array_get(ours, i);
        if (json_equal(a, b) || (may_grow && has_grown(a, b)))
            continue;
        char *text_a = a ? json_dumps(a, JSON_COMPACT) : NULL, *text_b = b ? json_dumps(b, JSON_COMPACT) : NULL;
        e = err_fail(ERR_DATA, "%s: tensor %zu of the snapshot is %s, of the model %s", s->dir, i,
                     text_a ? text_a : "missing", text_b ? text_b : "missing");
        free(text_a);
        free(text_b);
    }
    json_decref(ours);
    return e;
}

/* ---- one file ------------------------------------------------------------------------------------------------- */

/* A store with moments takes them over or nothing. */
static Err find_columns(FilePart *p, const Table *table) {
    for (uint32_t i = 1; i < p->at.n_columns; i++) {
        char name[SNAPSHOT_COLUMN_NAME];
        snapshot_column_name(table, i, name);
        if (!safetensors_find(p->source.tensors, name))
            return err_fail(ERR_DATA, "%s: has no %s: the snapshot's optimizer kept no such state", p->source.path,
                            name);
    }
    return snapshot_columns_find(&p->at, p->source.tensors, table);
}

static bool is_wanted(const Loading *l, uint32_t slot) {
    return !l->how->slot_map || l->how->slot_map[slot] == l->how->rank;
}

static Err check_slots(FilePart *p) {
    Err e = snapshot_source_check(&p->source, p->at.slots, (N_SLOTS + 1) * sizeof *p->at.slots);
    return e == OK ? snapshot_columns_check_slots(&p->at) : e;
}

static Err check_slot(const Loading *l, FilePart *p, uint32_t slot) {
    const SnapshotColumns *at = &p->at;
    uint64_t first = at->slots[slot], n = at->slots[slot + 1] - first;
    Err e = snapshot_source_check(&p->source, at->rows + first, n * sizeof *at->rows);
    for (uint32_t i = 0; i < at->n_columns && e == OK; i++)
        e = snapshot_source_check(&p->source, at->columns[i] + first * at->width, n * at->width * sizeof(float));
    return e == OK ? snapshot_columns_check_slot(at, p->snapshot, p->source.entry->server,
                                                 l->schema->tables[at->table].n_rows, slot)
                   : e;
}

static Err open_part(const Loading *l, FilePart *p, const SnapshotEntry *entry) {
    Err e = snapshot_source_open(&p->source, p->snapshot->dir, entry);
    if (e != OK)
        return e;
    int number = schema_find_table(l->schema, entry->table);
    if (number < 0)
        return err_fail(ERR_CORRUPT, "%s: the model has no table %s", p->source.path, entry->table);
    const Table *table = &l->schema->tables[number];
    p->at = (SnapshotColumns){.path = p->source.path, .table = number, .width = table->width, .n_rows = entry->rows};
    p->at.n_columns = l->how->restore == RESTORE_INIT ? 1 : store_row_reals(l->store, number) / table->width;
    assert(p->at.n_columns <= SNAPSHOT_MAX_COLUMNS);
    e = find_columns(p, table);
    if (e == OK)
        e = check_slots(p);
    for (uint32_t slot = 0; slot < N_SLOTS && e == OK; slot++)
        if (is_wanted(l, slot))
            e = check_slot(l, p, slot);
    return e;
}

/* ---- rows ----------------------------------------------------------------------------------------------------- */

/* A new run adds up its sums from 0. */
static bool is_dropped(const Loading *l, int table, uint64_t row) {
    return l->how->restore != RESTORE_RESUME && l->schema->tables[table].is_stats &&
           schema_tensor_of(l->schema, table, row)->kind == TENSOR_SUM;
}

static void put_rows(const Loading *l, const SnapshotColumns *at) {
    real *row = must_calloc(store_row_reals(l->store, at->table), sizeof *row); /* what is not loaded stays 0 */
    for (uint32_t slot = 0; slot < N_SLOTS; slot++)
        for (uint64_t i = at->slots[slot]; is_wanted(l, slot) && i < at->slots[slot + 1]; i++) {
            if (is_dropped(l, at->table, at->rows[i]))
                continue;
            for (uint32_t c = 0; c < at->n_columns; c++)
                memcpy(row + (size_t)c * at->width, at->columns[c] + i * at->width, at->width * sizeof *row);
            store_put(l->store, key_of(at->table, at->rows[i]), row);
        }
    free(row);
}

static void put_state(const Loading *l, const Snapshot *s) {
    static const uint32_t NO_STEPS[N_DOMAINS];
    static const uint8_t NO_BITS[1];
    const uint8_t *none[N_DOMAINS] = {NO_BITS, NO_BITS};
    if (l->how->restore == RESTORE_RESUME)
        store_restore(l->store, s->epoch, s->n_steps, (const uint8_t *const *)s->bitmaps, s->t);
    else if (l->how->restore == RESTORE_INIT_MOMENTS)
        store_restore(l->store, 0, NO_STEPS, none, s->t);
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

static Err open_parts(Loading *l, const Snapshot *s) {
    Err e = OK;
    for (size_t i = 0; s && i < s->n_files && e == OK; i++) {
        l->parts[l->n_parts].snapshot = s;
        e = open_part(l, &l->parts[l->n_parts++], &s->files[i]);
    }
    return e;
}

static void count_rows(const Loading *l, uint64_t *n_rows) {
    for (int table = 0; table < l->schema->n_tables; table++) {
        n_rows[table] = 0;
        for (uint32_t slot = 0; slot < N_SLOTS; slot++)
            n_rows[table] += store_slot_rows(l->store, table, slot);
    }
}

Err snapshot_load_rows(const Snapshot *s, const Schema *schema, Store *store, const SnapshotLoad *how,
                       uint64_t *n_rows) {
    assert(how->restore != RESTORE_NONE);
    Loading l = {.how = how, .schema = schema, .store = store};
    Err e = snapshot_check_schema(s, schema, how->restore != RESTORE_RESUME);
    if (e == OK)
        e = snapshot_open_base(&l.base, s);
    if (e == OK) {
        l.parts = must_calloc(s->n_files + (l.base ? l.base->n_files : 0) + 1, sizeof *l.parts);
        e = open_parts(&l, l.base);
    }
    if (e == OK)
        e = open_parts(&l, s);
    for (size_t i = 0; i < l.n_parts && e == OK; i++)
        put_rows(&l, &l.parts[i].at);
    if (e == OK)
        put_state(&l, s);
    if (e == OK && n_rows)
        count_rows(&l, n_rows);
    for (size_t i = 0; i < l.n_parts; i++)
        snapshot_source_close(&l.parts[i].source);
    free(l.parts);
    snapshot_close(&l.base);
    return e;
}

Err snapshot_load_store(Store **out, const char *dir, const Schema *schema, const OptimizerConfig *optimizer,
                        uint32_t ranks, const SnapshotLoad *how, uint64_t *n_rows) {
    Snapshot *s;
    *out = NULL;
    Err e = snapshot_open(&s, dir);
    if (e == OK)
        e = store_open(out, schema, optimizer, snapshot_seed(s), ranks);
    if (e == OK)
        e = snapshot_load_rows(s, schema, *out, how, n_rows);
    if (e != OK)
        store_close(out);
    snapshot_close(&s);
    return e;
}

Err snapshot_load(const Snapshot *s, const Schema *schema, Store *store) {
    return snapshot_load_rows(s, schema, store, &(SnapshotLoad){.restore = RESTORE_RESUME}, NULL);
}
