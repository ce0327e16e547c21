/* Pushes of sync steps that wait for the other ranks of their step. Buffers of finished steps are kept for the next, so
 * that a steady stream of steps allocates nothing. */
#ifndef MANGROVE_SERVER_STORE_HELD_H
#define MANGROVE_SERVER_STORE_HELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/real.h"
#include "common/work.h"
#include "server/store/keyset.h"

/* Steps are pushed in order, so one waits at a time; a few more while a cut repairs steps that were partly applied. */
enum { HELD_MAX_STEPS = 64 };

/* Keys with their gradients, one behind the other in key order. */
typedef struct Gradients {
    uint64_t *keys;
    real *grads;
    uint32_t n_keys;
    size_t n_grads, key_capacity, grad_capacity;
} Gradients;

typedef struct HeldStep {
    bool is_used;
    uint8_t domain;
    uint32_t step;
    uint32_t n_here;
    bool *is_here;    /* (ranks) */
    Gradients *ranks; /* (ranks) */
} HeldStep;

typedef struct Held {
    uint32_t n_ranks;
    HeldStep steps[HELD_MAX_STEPS];
    Gradients sum; /* of the step that was added up last */
    KeySet keys;
    size_t *offsets; /* (offset_capacity) of each key of sum in its grads */
    size_t offset_capacity;
} Held;

void held_init(Held *h, uint32_t n_ranks);
void held_free(Held *h);
void held_drop_all(Held *h);
size_t held_bytes(const Held *h); /* of the pushes that wait */

bool held_has(const Held *h, const Work *work);
const HeldStep *held_find(const Held *h, const Work *work); /* NULL: none of its pushes is here */
/* The step of this push, begun if it is the first; NULL if HELD_MAX_STEPS are waiting. */
HeldStep *held_step(Held *h, const Work *work);
/* Copies a push that is not there yet into its step. */
void held_add(HeldStep *s, uint16_t rank, const uint64_t *keys, uint32_t n_keys, const real *grads, size_t n_grads);
/* Adds up a step all of whose ranks are here, in rank order; keys in the order of their first appearance. schema: for
 * the rows' widths. Valid until the next call. */
const Gradients *held_sum(Held *h, const HeldStep *s, const Schema *schema);
void held_drop(HeldStep *s);

#endif
