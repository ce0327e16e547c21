/* Copies: addresses are taken one after the other; what comes back is linked through its own first bytes. */
#include "server/store/copies.h"

#include <string.h>
#include <sys/mman.h>

#include "common/log.h"
#include "server/store/slab.h"

static size_t round_up(size_t bytes) {
    return (bytes + SLAB_REGION - 1) / SLAB_REGION * SLAB_REGION;
}

/* False: no memory. */
static bool make_ready(Copies *c, size_t bytes) {
    if (bytes <= c->ready_bytes)
        return true;
    if (!c->first || mprotect(c->first + c->ready_bytes, round_up(bytes) - c->ready_bytes, PROT_READ | PROT_WRITE) != 0)
        return false;
    c->ready_bytes = round_up(bytes);
    return true;
}

/* PROT_NONE: reserved addresses count nowhere as memory. */
static void reserve(Copies *c, size_t bytes) {
    c->map_bytes = round_up(bytes) + SLAB_REGION;
    void *map = mmap(NULL, c->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return;
    c->map = map;
    c->first = (char *)round_up((uintptr_t)c->map);
    if (bytes > SLAB_REGION)
        madvise(c->first, round_up(bytes), MADV_HUGEPAGE); /* a wish, as in slab.c */
}

/* What the budget allows counts as memory from the beginning, so that within it a copy is there for sure. */
void copies_begin(Copies *c, CopyBudget *budget, size_t copy_bytes, uint32_t n, uint32_t max_n) {
    c->budget = budget;
    c->copy_bytes = copy_bytes;
    c->n_taken = c->unused = c->returned = 0;
    if (n == 0)
        return;
    if (!c->map)
        reserve(c, max_n * copy_bytes);
    size_t bytes = n * copy_bytes;
    if (!make_ready(c, bytes < budget->max_bytes ? bytes : budget->max_bytes))
        budget->is_short = true;
}

void copies_end(Copies *c, size_t keep_bytes) {
    size_t keep = round_up(keep_bytes), used = round_up(c->n_taken * c->copy_bytes);
    if (used > keep)
        madvise(c->first + keep, used - keep, MADV_DONTNEED);
}

void copies_free(Copies *c) {
    if (c->map)
        munmap(c->map, c->map_bytes);
    *c = (Copies){0};
}

/* A snapshot is no reason to end: whoever needs a copy waits until it is written. */
static void tell_once(CopyBudget *b) {
    if (!b->is_told)
        log_warn(
            "no memory for a snapshot's copies: pushes wait while it is written; lower snapshot.copy_mb or use more "
            "servers");
    b->is_told = true;
}

uint32_t copies_take(Copies *c, bool is_bounded) {
    CopyBudget *b = c->budget;
    size_t used = atomic_load_explicit(&b->used_bytes, memory_order_relaxed) + c->copy_bytes;
    if (is_bounded && used > b->max_bytes)
        return 0;
    if (!c->unused)
        c->unused = atomic_exchange_explicit(&c->returned, 0, memory_order_acquire);
    uint32_t copy = c->unused;
    if (copy) {
        memcpy(&c->unused, copies_at(c, copy), sizeof c->unused);
        if (c->unused)
            __builtin_prefetch(copies_at(c, c->unused), 1); /* the giver had it last */
    } else {
        copy = c->n_taken + 1;
        if (!make_ready(c, copy * c->copy_bytes)) {
            tell_once(b);
            return 0;
        }
        c->n_taken = copy;
    }
    used = atomic_fetch_add_explicit(&b->used_bytes, c->copy_bytes, memory_order_relaxed) + c->copy_bytes;
    if (used > atomic_load_explicit(&b->most_bytes, memory_order_relaxed)) /* nobody else raises it */
        atomic_store_explicit(&b->most_bytes, used, memory_order_relaxed);
    return copy;
}

void copies_give_back(Copies *c, uint32_t copy) {
    uint32_t first = atomic_load_explicit(&c->returned, memory_order_relaxed);
    do
        memcpy(copies_at(c, copy), &first, sizeof first);
    while (
        !atomic_compare_exchange_weak_explicit(&c->returned, &first, copy, memory_order_release, memory_order_relaxed));
    atomic_fetch_sub_explicit(&c->budget->used_bytes, c->copy_bytes, memory_order_relaxed);
}
