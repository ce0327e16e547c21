/* Rows as they were before a step of sync; session_undo.c says what for. */
#ifndef MANGROVE_SERVER_SESSION_SESSION_UNDO_H
#define MANGROVE_SERVER_SESSION_SESSION_UNDO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/schema.h"
#include "server/store/store.h"

enum { UNDO_MAX_RANKS = 256 };

typedef struct UndoRow {
    uint64_t key;
    size_t offset; /* into values */
} UndoRow;

/* The rows that the pushes of one step name, once for each push. Zeroed: empty. */
typedef struct Undo {
    UndoRow *rows;
    float *values;
    size_t n_rows, max_rows, n_values, max_values;
    size_t kept_rows, kept_values; /* n_rows and n_values before the last undo_add */
    uint16_t last_rank;
    bool is_sorted, has_rank[UNDO_MAX_RANKS];
} Undo;

void undo_free(Undo *u);
void undo_clear(Undo *u); /* keeps the memory */
/* Remembers the rows of a rank's push as the store has them now. False: that rank is remembered already. */
bool undo_add(Undo *u, const Schema *schema, const Store *store, uint16_t rank, const uint64_t *keys, uint32_t n_keys);
/* Forgets what the last undo_add remembered. */
void undo_drop_last(Undo *u);
/* Overwrites those rows of values that u remembers; returns how many. */
uint64_t undo_overlay(Undo *u, const Schema *schema, const uint64_t *keys, uint32_t n_keys, float *values);

#endif
