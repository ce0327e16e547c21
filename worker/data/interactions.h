/* One domain's interactions: collected row by row, then grouped by user, without duplicates, cut to the k-core and
 * ordered by time. User and item ids are those of the caller's vocabularies. */
#ifndef MANGROVE_WORKER_DATA_INTERACTIONS_H
#define MANGROVE_WORKER_DATA_INTERACTIONS_H

#include <stdint.h>

#include "common/err.h"

typedef struct Event {
    int64_t time;
    uint32_t item;
    uint32_t order; /* of the row in the file: ties in time keep it */
} Event;

typedef struct Row {
    int64_t time;
    uint32_t user, item;
} Row;

typedef struct Interactions {
    Row *rows; /* while collecting */
    uint32_t n_rows, capacity;
    uint32_t n_users; /* user ids are smaller */
    Event *events;    /* afterwards: user u has events[start[u] .. start[u+1]) */
    uint32_t *start;  /* (n_users+1) */
    uint32_t n_duplicates;
} Interactions;

/* A zeroed struct is empty; free of it is legal. */
void interactions_free(Interactions *x);

/* ERR_DATA when more than 2^32 - 2 rows come. */
Err interactions_add(Interactions *x, uint32_t user, uint32_t item, int64_t time) MUST_CHECK;

/* Groups the rows by user, drops all but the first of each (user, item), then users with fewer than user_core items and
 * items with fewer than item_core users until none is left of either, then orders each user's events by time. */
void interactions_finish(Interactions *x, uint32_t n_users, uint32_t n_items, uint32_t user_core, uint32_t item_core);

static inline uint32_t interactions_count(const Interactions *x) {
    return x->start[x->n_users];
}

#endif
