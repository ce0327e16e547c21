/* One file of a snapshot: hashes first, then the mapping, then what the mapping says. */
#include "server/snapshot/snapshot_reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/snapshot/snapshot_file.h"

void snapshot_reader_column(const Table *table, uint32_t column, char name[SNAPSHOT_COLUMN_NAME]) {
    int first = table->reached_by & REACHED_BY_A ? DOMAIN_A : DOMAIN_B;
    if (column == 0)
        snprintf(name, SNAPSHOT_COLUMN_NAME, "values");
    else
        snprintf(name, SNAPSHOT_COLUMN_NAME, "%c.%c", "mv"[(column - 1) % 2], "AB?"[first + (int)(column - 1) / 2]);
}

/* Values alone, or the moments of every domain that reaches the table too. */
static Err open_columns(SnapshotReader *t, const Table *table) {
    enum { IDS_AND_SLOTS = 2 };
    uint32_t n_sets = table->reached_by == REACHED_BY_BOTH ? 2 : 1;
    int n_tensors = safetensors_count(t->tensors);
    const void *data;
    Err e = safetensors_require(t->tensors, "rows", DTYPE_U64, &data, 1, t->n_rows);
    t->rows = data;
    if (e == OK)
        e = safetensors_require(t->tensors, "slots", DTYPE_U64, &data, 1, (uint64_t)(N_SLOTS + 1));
    t->slots = data;
    t->n_columns = n_tensors == IDS_AND_SLOTS + 1 ? 1 : 1 + 2 * n_sets;
    for (uint32_t i = 0; i < t->n_columns && e == OK; i++) {
        char name[SNAPSHOT_COLUMN_NAME];
        snapshot_reader_column(table, i, name);
        e = safetensors_require(t->tensors, name, DTYPE_F32, &data, 2, t->n_rows, (uint64_t)t->width);
        t->columns[i] = data;
    }
    if (e == OK && n_tensors != IDS_AND_SLOTS + (int)t->n_columns)
        e = err_fail(ERR_CORRUPT, "%s: has %d tensors, expected %d", t->path, n_tensors,
                     IDS_AND_SLOTS + (int)t->n_columns);
    return e;
}

/* Rows ascend within their slot, belong to it, and exist in the schema; the slot is the server's. */
static Err check_rows(const SnapshotReader *t, const Snapshot *s, uint64_t n_ids, uint32_t server) {
    if (t->slots[0] != 0 || t->slots[N_SLOTS] != t->n_rows)
        return err_fail(ERR_CORRUPT, "%s: the slot offsets do not span its %" PRIu64 " rows", t->path, t->n_rows);
    for (uint32_t slot = 0; slot < N_SLOTS; slot++) {
        uint64_t first = t->slots[slot], end = t->slots[slot + 1];
        if (end < first || end > t->n_rows)
            return err_fail(ERR_CORRUPT, "%s: the offsets of slot %" PRIu32 " do not ascend", t->path, slot);
        if (end > first && s->slot_map[slot] != server)
            return err_fail(ERR_CORRUPT, "%s: holds rows of slot %" PRIu32 ", which is server %" PRIu16 "'s", t->path,
                            slot, s->slot_map[slot]);
        for (uint64_t i = first; i < end; i++)
            if (t->rows[i] >= n_ids || t->rows[i] > UINT32_MAX || key_slot(key_of(t->table, t->rows[i])) != slot ||
                (i > first && t->rows[i] <= t->rows[i - 1]))
                return err_fail(ERR_CORRUPT, "%s: row %" PRIu64 " does not belong where it stands in slot %" PRIu32,
                                t->path, t->rows[i], slot);
    }
    return OK;
}

Err snapshot_reader_open(SnapshotReader *t, const Snapshot *s, const SnapshotEntry *entry, const Schema *schema) {
    *t = (SnapshotReader){.path = snapshot_path(s->dir, entry->file),
                          .table = schema_find_table(schema, entry->table),
                          .n_rows = entry->rows};
    Err e = snapshot_file_verify(t->path, entry->size, entry->hashes);
    if (e == OK && t->table < 0)
        e = err_fail(ERR_CORRUPT, "%s: the model has no table %s", t->path, entry->table);
    if (e == OK)
        e = safetensors_open(&t->tensors, t->path);
    if (e == OK) {
        const Table *table = &schema->tables[t->table];
        t->width = table->width;
        e = open_columns(t, table);
        if (e == OK)
            e = check_rows(t, s, table->n_rows, entry->server);
    }
    if (e != OK)
        snapshot_reader_close(t);
    return e == ERR_DATA ? ERR_CORRUPT : e;
}

void snapshot_reader_close(SnapshotReader *t) {
    safetensors_close(&t->tensors);
    free(t->path);
    *t = (SnapshotReader){0};
}
