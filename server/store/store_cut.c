/* A cut of a store that rests. */
#include "server/store/store_cut.h"

#include <stdlib.h>

#include "common/log.h"

struct StoreCut {
    Store *store;
};

StoreCut *store_cut_begin(Store *s, bool only_touched, size_t max_copy_bytes) {
    (void)only_touched, (void)max_copy_bytes; /* all rows, none of which changes */
    StoreCut *cut = must_calloc(1, sizeof *cut);
    cut->store = s;
    return cut;
}

void store_cut_end(StoreCut **cut, bool is_base) {
    (void)is_base;
    free(*cut);
    *cut = NULL;
}

StoreCutStats store_cut_stats(const StoreCut *cut) {
    (void)cut;
    return (StoreCutStats){0};
}

void store_cut_count(StoreCut *cut, int table, uint64_t *slots) {
    slots[0] = 0;
    for (uint32_t slot = 0; slot < N_SLOTS; slot++)
        slots[slot + 1] = slots[slot] + store_slot_rows(cut->store, table, slot);
}

void store_cut_visit(StoreCut *cut, int table, uint32_t slot, StoreVisit visit, void *ctx) {
    store_visit(cut->store, table, slot, visit, ctx);
}

const Store *store_cut_store(const StoreCut *cut) {
    return cut->store;
}
