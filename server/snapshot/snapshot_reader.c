/* One file of a snapshot: hashes first, then the mapping, then what the mapping says. */
#include "server/snapshot/snapshot_reader.h"

#include <stdlib.h>

#include "server/snapshot/snapshot_file.h"

/* Values alone, or the moments of every domain that reaches the table too, and nothing else. */
static Err find_columns(SnapshotReader *t, const Table *table) {
    enum { IDS_AND_SLOTS = 2 };
    uint32_t n_sets = table->reached_by == REACHED_BY_BOTH ? 2 : 1;
    int n_tensors = safetensors_count(t->tensors);
    t->at.width = table->width;
    t->at.n_columns = n_tensors == IDS_AND_SLOTS + 1 ? 1 : 1 + 2 * n_sets;
    Err e = snapshot_columns_find(&t->at, t->tensors, table);
    if (e == OK && n_tensors != IDS_AND_SLOTS + (int)t->at.n_columns)
        e = err_fail(ERR_CORRUPT, "%s: has %d tensors, expected %d", t->path, n_tensors,
                     IDS_AND_SLOTS + (int)t->at.n_columns);
    return e;
}

static Err check_rows(const SnapshotReader *t, const Snapshot *s, const SnapshotEntry *entry, uint64_t n_ids) {
    Err e = snapshot_columns_check_slots(&t->at);
    for (uint32_t slot = 0; slot < N_SLOTS && e == OK; slot++)
        e = snapshot_columns_check_slot(&t->at, s, entry->server, n_ids, slot);
    return e;
}

Err snapshot_reader_open(SnapshotReader *t, const Snapshot *s, const SnapshotEntry *entry, const Schema *schema) {
    char *path = snapshot_path(s->dir, entry->file);
    int table = schema_find_table(schema, entry->table);
    *t = (SnapshotReader){.path = path, .at = {.path = path, .table = table, .n_rows = entry->rows}};
    Err e = snapshot_file_verify(path, entry->size, entry->hashes);
    if (e == OK && table < 0)
        e = err_fail(ERR_CORRUPT, "%s: the model has no table %s", path, entry->table);
    if (e == OK)
        e = safetensors_open(&t->tensors, path);
    if (e == OK)
        e = find_columns(t, &schema->tables[table]);
    if (e == OK)
        e = check_rows(t, s, entry, schema->tables[table].n_rows);
    if (e != OK)
        snapshot_reader_close(t);
    return e == ERR_DATA ? ERR_CORRUPT : e;
}

void snapshot_reader_close(SnapshotReader *t) {
    safetensors_close(&t->tensors);
    free(t->path);
    *t = (SnapshotReader){0};
}
