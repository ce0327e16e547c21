/* A cut: the rows of a store as they are at one moment, read by one other thread while the store's own thread goes on
 * pulling and pushing. Copy-on-write in user space, row by row; guard.h says how.
 *
 * DESIGN. Two threads. The *store's* calls store_cut_begin, everything in store.h, and store_cut_end; the *reader*, one
 * thread, calls the rest in between. Beginning a cut costs one pass over the sub-tables, not over the rows. Before the
 * store's thread first changes a row that the reader has not yet taken, it copies it aside; the reader takes the copy,
 * or else the row itself, and gives the copy's memory back. Rows that are created after the beginning are not in the
 * cut. Copies are bounded: a push that would need more room than max_copy_bytes, or memory that is not to be had, is
 * not applied (PUSH_WAIT) and must be tried again once the reader has got on; one push alone is never refused while no
 * copy is held. What a push that waits has copied stays copied, so that it gets on too.
 *
 * The store also remembers which chunks of rows were touched since the last cut that became a *base* (a full snapshot):
 * a cut of the touched chunks alone is what an incremental snapshot holds. */
#ifndef MANGROVE_SERVER_STORE_STORE_CUT_H
#define MANGROVE_SERVER_STORE_STORE_CUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/store/store.h"

typedef struct StoreCut StoreCut;

/* ---- the store's thread */

/* One cut at a time (asserted). only_touched: the rows of chunks touched since the base; false: all rows. The cut lives
 * until store_cut_end. */
StoreCut *store_cut_begin(Store *s, bool only_touched, size_t max_copy_bytes);
/* The reader is through, or will not go on. is_base: the cut held all rows and is now what later cuts of touched chunks
 * are relative to; false leaves the touched marks as if the cut had not been. Sets *cut to NULL. */
void store_cut_end(StoreCut **cut, bool is_base);
/* Bytes of copies held now, and the most since the beginning. Either thread. */
typedef struct StoreCutStats {
    size_t copied_bytes, max_copied_bytes;
} StoreCutStats;
StoreCutStats store_cut_stats(const StoreCut *cut);

/* ---- the reader's thread */

/* Rows of the cut in each slot: slots (N_SLOTS + 1) out, prefix sums; slots[N_SLOTS] is the number of rows. */
void store_cut_count(StoreCut *cut, int table, uint64_t *slots);
/* Every row of the cut of this slot, rows ascending. Each (table, slot) is read once: afterwards it is no longer
 * protected. */
void store_cut_visit(StoreCut *cut, int table, uint32_t slot, StoreVisit visit, void *ctx);
const Store *store_cut_store(const StoreCut *cut); /* for store_row_reals alone */

#endif
