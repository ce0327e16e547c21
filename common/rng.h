/* Random streams that have names: Philox4x32-10 (Random123), keyed by the seed and counted from what the numbers are
 * for. Whoever asks for the stream (seed, purpose, epoch, index) gets the same numbers, on any machine, in any order. */
#ifndef MANGROVE_COMMON_RNG_H
#define MANGROVE_COMMON_RNG_H

#include <stdint.h>

/* What a stream is for. Values are part of the snapshot and data formats: append, never renumber. */
typedef enum RngPurpose {
    RNG_INIT = 1,        /* initial value of a row:          epoch = hash of the tensor's name, index = row id */
    RNG_PART_ORDER,      /* order of the parts of an epoch: index = 0 */
    RNG_ORDER_A,         /* order of a chunk's instances:    index = chunk */
    RNG_ORDER_B,
    RNG_INTERLEAVE,      /* which domain comes next:         index = chunk */
    RNG_NEGATIVES_A,     /* training negatives:              index = instance */
    RNG_NEGATIVES_B,
    RNG_CANDIDATES,      /* evaluation negatives:            epoch = protocol, domain, split; index = instance */
    RNG_SYNTH,           /* synthetic data:                  index = user, or item */
    RNG_TEST,
    RNG_LAYOUT,          /* order of the users in the prepared data */
    RNG_UNKNOWN_PROBE,   /* scores of the rules that know only which items are unknown: index = draw */
} RngPurpose;

typedef struct Rng {
    uint32_t key[2];
    uint32_t counter[4]; /* [0] block in bits 0..23, purpose in 24..31; [1] epoch; [2], [3] index */
    uint32_t block[4];   /* the last four outputs */
    int left;            /* of those not yet used */
} Rng;

Rng rng_stream(uint64_t seed, RngPurpose purpose, uint32_t epoch, uint64_t index);
uint32_t rng_u32(Rng *r);
uint64_t rng_u64(Rng *r);
uint32_t rng_below(Rng *r, uint32_t n);       /* uniform in 0..n-1, no modulo bias; n > 0 */
double rng_uniform(Rng *r);                   /* in [0,1), 53 bits */
double rng_normal(Rng *r);                    /* mean 0, deviation 1 (Box-Muller, one of the pair) */
double rng_truncated_normal(Rng *r);          /* the same, redrawn until within 2 deviations */
void rng_shuffle(Rng *r, uint32_t *items, uint32_t n); /* Fisher-Yates */

#endif
