/* sync: the rows as they were before the last step.
 *
 * A step of R ranks needs the same values for each of them. A worker may die when its push has reached this server,
 * which then has all R and applies the step, and not the next server, which waits. Whoever computes that rank again
 * must get the values that the others had, from this server too; without them the run would not end in the same bits.
 * The servers never differ by more than one step, so the values before the last step are all that can be asked for.
 *
 * Rows are remembered as their pushes arrive (all of a step's pushes come in the same state) and looked up only after
 * such a death: remembering is an append, the search sorts. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "server/session/session_parts.h"

void undo_free(Undo *u) {
    free(u->rows);
    free(u->values);
    *u = (Undo){0};
}

void undo_clear(Undo *u) {
    u->n_rows = u->n_values = 0;
    u->is_sorted = false;
    memset(u->has_rank, 0, sizeof u->has_rank);
}

void undo_drop_last(Undo *u) {
    u->n_rows = u->kept_rows;
    u->n_values = u->kept_values;
    u->has_rank[u->last_rank] = false;
}

/* Capacities double, and are kept for the steps to come. */
static void *grow(void *array, size_t *max, size_t need, size_t item_bytes) {
    if (need <= *max)
        return array;
    *max = need > 2 * *max ? need : 2 * *max;
    return must_realloc(array, *max * item_bytes);
}

bool undo_add(Undo *u, const Schema *schema, const Store *store, uint16_t rank, const uint64_t *keys, uint32_t n_keys) {
    assert(rank < UNDO_MAX_RANKS && !u->is_sorted);
    if (u->has_rank[rank])
        return false;
    u->has_rank[rank] = true;
    u->last_rank = rank;
    u->kept_rows = u->n_rows;
    u->kept_values = u->n_values;
    u->rows = grow(u->rows, &u->max_rows, u->n_rows + n_keys, sizeof *u->rows);
    for (uint32_t i = 0; i < n_keys; i++) {
        u->rows[u->n_rows++] = (UndoRow){keys[i], u->n_values};
        u->n_values += schema->tables[key_table(keys[i])].width;
    }
    u->values = grow(u->values, &u->max_values, u->n_values, sizeof *u->values);
    if (n_keys)
        store_pull(store, keys, n_keys, u->values + u->kept_values);
    return true;
}

static int by_key(const void *a, const void *b) {
    uint64_t x = ((const UndoRow *)a)->key, y = ((const UndoRow *)b)->key;
    return (x > y) - (x < y);
}

uint64_t undo_overlay(Undo *u, const Schema *schema, const uint64_t *keys, uint32_t n_keys, float *values) {
    uint64_t n_found = 0;
    if (!u->is_sorted && u->n_rows)
        qsort(u->rows, u->n_rows, sizeof *u->rows, by_key);
    u->is_sorted = true;
    for (uint32_t i = 0; i < n_keys; i++) {
        uint32_t width = schema->tables[key_table(keys[i])].width;
        UndoRow want = {.key = keys[i]};
        const UndoRow *row = u->n_rows ? bsearch(&want, u->rows, u->n_rows, sizeof *u->rows, by_key) : NULL;
        if (row) {
            memcpy(values, u->values + row->offset, width * sizeof *values);
            n_found++;
        }
        values += width;
    }
    return n_found;
}
