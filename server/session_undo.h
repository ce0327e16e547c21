/* Rows as they were before a step of sync; session_undo.c says what for. */
#ifndef MANGROVE_SERVER_SESSION_UNDO_H
#define MANGROVE_SERVER_SESSION_UNDO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/schema.h"
#include "server/store/store.h"

/* One entry for each key of each of the step's pushes. Zeroed: empty. */
typedef struct UndoRow {
    uint64_t key;
    size_t offset; /* into values */
} UndoRow;

typedef struct Undo {
    UndoRow *rows;
    float *values;
    size_t n_rows, max_rows, n_values, max_values;
    bool is_sorted;
} Undo;

void undo_free(Undo *u);
void undo_clear(Undo *u);
/* Remembers the rows as the store has them now. */
void undo_add(Undo *u, const Schema *schema, const Store *store, const uint64_t *keys, uint32_t n_keys);
/* Forgets all but the first n_rows and n_values. */
void undo_cut(Undo *u, size_t n_rows, size_t n_values);
/* Overwrites the rows that u remembers; returns how many. */
uint64_t undo_overlay(Undo *u, const Schema *schema, const uint64_t *keys, uint32_t n_keys, float *values);

#endif
