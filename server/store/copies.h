/* Room for copies of a table's rows while a cut lives: one thread takes and fills them, another gives them back. All
 * are of one size, numbered from 1. Addresses are reserved for as many as there may ever be; memory is for those that
 * were taken, and stays from cut to cut: memory that was never used before is the dearest there is. */
#ifndef MANGROVE_SERVER_STORE_COPIES_H
#define MANGROVE_SERVER_STORE_COPIES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the copies of all tables may take together. */
typedef struct CopyBudget {
    size_t max_bytes;
    _Atomic size_t used_bytes, most_bytes; /* now; ever */
    bool is_short; /* the memory of max_bytes is not there: a copy may not be had although the budget has room */
    bool is_told;
} CopyBudget;

typedef struct Copies {
    CopyBudget *budget;
    char *map, *first;                         /* as mapped; as aligned to a huge page; NULL: no addresses were left */
    size_t map_bytes, copy_bytes, ready_bytes; /* ready: may be written to */
    uint32_t n_taken;                          /* in this cut; the taker's */
    uint32_t unused;                           /* a list of those that came back; the taker's */
    _Atomic uint32_t returned;                 /* a list: the giver adds, the taker takes all of it */
} Copies;

/* For a new cut: none is taken. n: the most that are ever taken in it, not counting those that came back before;
 * max_n: in any cut. A zeroed Copies is ready for its first cut. */
void copies_begin(Copies *c, CopyBudget *budget, size_t copy_bytes, uint32_t n, uint32_t max_n);
/* Nobody takes or uses one any more in this cut: keeps this much memory at most for the next one. */
void copies_end(Copies *c, size_t keep_bytes);
void copies_free(Copies *c);

/* The taker's thread, one for all that share a budget. 0: is_bounded and the budget is used up, or no memory is to be
 * had. */
uint32_t copies_take(Copies *c, bool is_bounded);
/* The giver's thread. */
void copies_give_back(Copies *c, uint32_t copy);

static inline void *copies_at(const Copies *c, uint32_t copy) {
    return c->first + (copy - 1) * c->copy_bytes;
}

#endif
