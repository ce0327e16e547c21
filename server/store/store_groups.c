/* Groups of steps whose dense gradients come as one push. All steps of a group have one bit each, set together: so it
 * is seen at a step's name whether anything is left to do, and nobody here needs to know where groups begin. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "server/store/store_parts.h"

void groups_reset(Store *s, int domain) {
    uint32_t bytes = bitmap_bytes(s->n_steps[domain]);
    s->group_bits[domain] = must_realloc(s->group_bits[domain], bytes + 1);
    if (bytes)
        memcpy(s->group_bits[domain], s->bits[domain], bytes);
}

void store_use_groups(Store *s) {
    assert(s->n_ranks == 1);
    for (int d = 0; d < N_DOMAINS; d++)
        groups_reset(s, d);
}

bool groups_are_begun(const Store *s, const Work *work) {
    for (uint32_t i = 0; i < work->group; i++)
        if (!bitmap_get(s->bits[work->domain], work->step + i))
            return false;
    return true;
}

bool groups_allow(const Store *s, const Work *work, const Table *table) {
    bool is_dense = !table->is_sparse && !table->is_stats;
    return !s->group_bits[work->domain] || is_dense == (work->group > 0);
}

void groups_set(Store *s, const Work *work) {
    assert(s->group_bits[work->domain]);
    for (uint32_t i = 0; i < work->group; i++)
        bitmap_set(s->group_bits[work->domain], work->step + i);
}
