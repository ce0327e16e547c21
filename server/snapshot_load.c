/* Loading: every block of every file is compared with its hash; then, file by file, the columns with each other, and
 * the rows go into the store. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/safetensors.h"
#include "server/snapshot.h"
#include "server/snapshot_file.h"
#include "server/snapshot_manifest.h"

enum { MAX_COLUMNS = 1 + 2 * N_DOMAINS };

/* One file, mapped and checked. */
typedef struct TableFile {
    Safetensors *tensors;
    const char *path;
    int table;
    uint32_t width;
    uint64_t n_rows;
    const uint64_t *rows, *slots;
    const float *columns[MAX_COLUMNS]; /* values, m, v, ... (n_rows, width) */
    uint32_t n_columns;                /* as many as the store's rows have */
} TableFile;

static Err check_schema(const Snapshot *s, const Schema *schema) {
    const json_t *theirs = json_object_get(s->json, "tensors");
    json_t *ours = snapshot_tensors_json(schema);
    size_t n_ours = json_array_size(ours), n_theirs = json_array_size(theirs),
           n = n_ours > n_theirs ? n_ours : n_theirs;
    Err e = OK;
    for (size_t i = 0; i < n && e == OK; i++) {
        const json_t *a = json_array_get(theirs, i), *b = json_array_get(ours, i);
        if (json_equal(a, b))
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

static Err open_columns(TableFile *f, const Table *table) {
    const void *data;
    int domain = table->reached_by & REACHED_BY_A ? DOMAIN_A : DOMAIN_B;
    Err e = safetensors_require(f->tensors, "rows", DTYPE_U64, &data, 1, f->n_rows);
    f->rows = data;
    if (e == OK)
        e = safetensors_require(f->tensors, "slots", DTYPE_U64, &data, 1, (uint64_t)(N_SLOTS + 1));
    f->slots = data;
    for (uint32_t i = 0; i < f->n_columns && e == OK; i++) {
        char name[16] = "values";
        if (i > 0)
            snprintf(name, sizeof name, "%c.%c", "vm"[i % 2], 'A' + domain + (int)(i - 1) / 2);
        e = safetensors_require(f->tensors, name, DTYPE_F32, &data, 2, f->n_rows, (uint64_t)f->width);
        f->columns[i] = data;
    }
    return e;
}

/* Rows ascend within their slot, belong to it, and exist in the schema; the slot is the server's. */
static Err check_rows(const Snapshot *s, const TableFile *f, const Table *table, uint32_t server) {
    if (f->slots[0] != 0 || f->slots[N_SLOTS] != f->n_rows)
        return err_fail(ERR_CORRUPT, "%s: the slot offsets do not span its %" PRIu64 " rows", f->path, f->n_rows);
    for (uint32_t slot = 0; slot < N_SLOTS; slot++) {
        uint64_t first = f->slots[slot], end = f->slots[slot + 1];
        if (end < first || end > f->n_rows)
            return err_fail(ERR_CORRUPT, "%s: the offsets of slot %" PRIu32 " do not ascend", f->path, slot);
        if (end > first && s->slot_map[slot] != server)
            return err_fail(ERR_CORRUPT, "%s: holds rows of slot %" PRIu32 ", which is server %" PRIu16 "'s", f->path,
                            slot, s->slot_map[slot]);
        for (uint64_t i = first; i < end; i++)
            if (f->rows[i] >= table->n_rows || key_slot(key_of(f->table, f->rows[i])) != slot ||
                (i > first && f->rows[i] <= f->rows[i - 1]))
                return err_fail(ERR_CORRUPT, "%s: row %" PRIu64 " does not belong where it stands in slot %" PRIu32,
                                f->path, f->rows[i], slot);
    }
    return OK;
}

static void put_rows(const TableFile *f, Store *store) {
    real *row = must_alloc(f->n_columns * f->width * sizeof *row);
    for (uint64_t i = 0; i < f->n_rows; i++) {
        for (uint32_t c = 0; c < f->n_columns; c++)
            memcpy(row + (size_t)c * f->width, f->columns[c] + i * f->width, f->width * sizeof *row);
        store_put(store, key_of(f->table, f->rows[i]), row);
    }
    free(row);
}

static Err load_mapped(const Snapshot *s, const SnapshotEntry *entry, const Schema *schema, TableFile *f,
                       Store *store) {
    const Table *table = &schema->tables[f->table];
    f->width = table->width;
    f->n_rows = entry->rows;
    f->n_columns = store_row_reals(store, f->table) / table->width;
    assert(f->n_columns <= MAX_COLUMNS);
    Err e = open_columns(f, table);
    if (e == OK)
        e = check_rows(s, f, table, entry->server);
    if (e == OK)
        put_rows(f, store);
    return e;
}

static Err load_file(const Snapshot *s, const SnapshotEntry *entry, const Schema *schema, Store *store) {
    char *path = snapshot_path(s->dir, entry->file);
    TableFile f = {.path = path, .table = schema_find_table(schema, entry->table)};
    Err e = f.table < 0 ? err_fail(ERR_CORRUPT, "%s: the model has no table %s", path, entry->table) : OK;
    if (e == OK)
        e = safetensors_open(&f.tensors, path);
    if (e == OK)
        e = load_mapped(s, entry, schema, &f, store);
    safetensors_close(&f.tensors);
    free(path);
    return e == ERR_DATA ? ERR_CORRUPT : e;
}

static Err verify_file(const Snapshot *s, const SnapshotEntry *entry) {
    char *path = snapshot_path(s->dir, entry->file);
    Err e = snapshot_file_verify(path, entry->size, entry->hashes);
    free(path);
    return e;
}

Err snapshot_load(const Snapshot *s, const Schema *schema, Store *store) {
    Err e = check_schema(s, schema);
    for (size_t i = 0; i < s->n_files && e == OK; i++)
        e = verify_file(s, &s->files[i]);
    for (size_t i = 0; i < s->n_files && e == OK; i++)
        e = load_file(s, &s->files[i], schema, store);
    if (e == OK)
        store_restore(store, s->epoch, s->n_steps, (const uint8_t *const *)s->bitmaps, s->t);
    return e;
}
