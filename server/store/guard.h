/* The guard of a sub-table while a cut lives: what of it the cut's reader may read, and when its writer must copy.
 *
 * DESIGN. Two threads, the store's (the writer) and the cut's reader. Under the guard's lock: the sub-table's index and
 * its array of chunks, as far as the writer changes them and the reader looks at them; `touched` and `copy` of chunks;
 * n_captured. Not under the lock: what lies in the rows. The writer changes a row only after guard_touch, which first
 * copies it aside if the reader has still to come there; the reader copies, under the lock, the rows that have no copy,
 * and of the others the copies. Rows are copied one by one: whole chunks were eight times as much in a push of rows all
 * over the store, and most of that is memory never used before, the dearest there is. A push pays for the lock once per
 * row of chunks that the reader has still to take, and once per other chunk.
 *
 * A chunk is in the cut if it had rows when the cut began and was touched in the generation `base` or later; that
 * stays visible after it was touched again: it then has copies. */
#ifndef MANGROVE_SERVER_STORE_GUARD_H
#define MANGROVE_SERVER_STORE_GUARD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "server/store/copies.h"
#include "server/store/subtable.h"

/* The copy of a row. */
typedef struct RowCopy {
    uint32_t next; /* of the same chunk, 0: none */
    uint16_t row;  /* in the chunk */
    uint16_t rows; /* a bit for each row that has a copy, here or in those behind */
    real values[];
} RowCopy;

/* What the guards of a table have in common. */
typedef struct GuardTerms {
    RowShape shape;
    uint32_t generation, base;
    Copies *copies;
} GuardTerms;

typedef struct Guard {
    pthread_mutex_t lock;
    const GuardTerms *terms;
    SubTable *sub;
    uint32_t n_rows;     /* when the cut began */
    uint32_t n_captured; /* chunks, in order */
    atomic_bool is_done; /* the reader will not look at the sub-table again */
} Guard;

/* ---- the writer's thread */

void guard_init(Guard *g, const GuardTerms *terms, SubTable *sub); /* and sets sub->guard */
void guard_free(Guard *g);
/* Around changes of the index and of the array of chunks. */
void guard_enter(Guard *g);
void guard_leave(Guard *g);
/* Before the row at this place changes or is added; its chunk bears the cut's generation afterwards. False: no room, or
 * no memory, for a copy. */
bool guard_touch(Guard *g, uint32_t place, bool is_bounded);
/* Everything may change without guard_touch. */
static inline bool guard_is_done(const Guard *g) {
    return atomic_load_explicit(&g->is_done, memory_order_acquire);
}
/* Rows of this chunk may. */
static inline bool guard_is_free(const Chunk *chunk, uint32_t generation) {
    return chunk->touched == generation && !chunk->copy;
}

/* ---- the reader's thread */

/* The rows of one sub-table, reused from one to the next; zeroed: empty. */
typedef struct Capture {
    SubTablePlace *places, *scratch; /* (n_rows): rows ascending; places within rows */
    uint32_t *first_places;          /* (n_chunks) where a chunk's rows begin, UINT32_MAX: not in the cut */
    real *rows;
    uint32_t n_rows;
    size_t place_capacity, chunk_capacity, row_capacity;
} Capture;

uint32_t guard_count(Guard *g); /* rows in the cut; before guard_capture */
void guard_capture(Guard *g, Capture *out);
void capture_free(Capture *c);

#endif
