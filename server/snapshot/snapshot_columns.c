#include "server/snapshot/snapshot_columns.h"

#include <inttypes.h>
#include <stdio.h>

void snapshot_column_name(const Table *table, uint32_t column, char name[SNAPSHOT_COLUMN_NAME]) {
    int first = table->reached_by & REACHED_BY_A ? DOMAIN_A : DOMAIN_B;
    if (column == 0)
        snprintf(name, SNAPSHOT_COLUMN_NAME, "values");
    else
        snprintf(name, SNAPSHOT_COLUMN_NAME, "%c.%c", "mv"[(column - 1) % 2], "AB?"[first + (int)(column - 1) / 2]);
}

Err snapshot_columns_find(SnapshotColumns *c, const Safetensors *tensors, const Table *table) {
    const void *data = NULL;
    Err e = safetensors_require(tensors, "rows", DTYPE_U64, &data, 1, c->n_rows);
    c->rows = data;
    if (e == OK)
        e = safetensors_require(tensors, "slots", DTYPE_U64, &data, 1, (uint64_t)(N_SLOTS + 1));
    c->slots = data;
    for (uint32_t i = 0; i < c->n_columns && e == OK; i++) {
        char name[SNAPSHOT_COLUMN_NAME];
        snapshot_column_name(table, i, name);
        e = safetensors_require(tensors, name, DTYPE_F32, &data, 2, c->n_rows, (uint64_t)c->width);
        c->columns[i] = data;
    }
    return e == ERR_DATA ? ERR_CORRUPT : e;
}

Err snapshot_columns_check_slots(const SnapshotColumns *c) {
    if (c->slots[0] != 0 || c->slots[N_SLOTS] != c->n_rows)
        return err_fail(ERR_CORRUPT, "%s: the slot offsets do not span its %" PRIu64 " rows", c->path, c->n_rows);
    for (uint32_t slot = 0; slot < N_SLOTS; slot++)
        if (c->slots[slot + 1] < c->slots[slot] || c->slots[slot + 1] > c->n_rows)
            return err_fail(ERR_CORRUPT, "%s: the offsets of slot %" PRIu32 " do not ascend", c->path, slot);
    return OK;
}

Err snapshot_columns_check_slot(const SnapshotColumns *c, const Snapshot *s, uint32_t server, uint64_t n_ids,
                                uint32_t slot) {
    uint64_t first = c->slots[slot], end = c->slots[slot + 1];
    if (end > first && s->slot_map[slot] != server)
        return err_fail(ERR_CORRUPT, "%s: holds rows of slot %" PRIu32 ", which is server %" PRIu16 "'s", c->path, slot,
                        s->slot_map[slot]);
    for (uint64_t i = first; i < end; i++)
        if (c->rows[i] >= n_ids || c->rows[i] > UINT32_MAX || key_slot(key_of(c->table, c->rows[i])) != slot ||
            (i > first && c->rows[i] <= c->rows[i - 1]))
            return err_fail(ERR_CORRUPT, "%s: row %" PRIu64 " does not belong where it stands in slot %" PRIu32,
                            c->path, c->rows[i], slot);
    return OK;
}
