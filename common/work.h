/* Work has a name: batches, their numbers, and the order in which an epoch visits them. Pure functions of the data
 * set's chunk counts and the configuration; scheduler, servers and workers compute the same answers.
 *
 * Definitions. R ranks (1 in async), batch b instances. A *step* is one update of one domain: at most R*b instances
 * of one chunk, rank r computing slice r of them. In async a step is a batch. The n_i instances of chunk i make
 * ceil(n_i/(R*b)) steps, as equal as can be: a small remainder would be a step of its own, with gradients and batch
 * statistics of a few instances. The steps of domain X are numbered 0..n-1 through the epoch: step number = sum of
 * those over the chunks before it (in chunk order 0,1,2..) + index within the chunk. Bitmaps have one bit per step
 * number. Evaluation batches are made and numbered likewise with eval.batch, per (domain, split).
 *
 * A *group* is a run of at most dense.push consecutive steps of one domain within a part, from its first step of that
 * domain on. Where dense.push is above 1 a step pushes no dense gradients; those of a group's steps are pushed as one,
 * under the group's name, by a worker that has computed all of them.
 *
 * A chunk visits its steps interleaved: a seeded shuffle of the multiset of A's and B's steps, within a domain the step
 * numbers ascend. A *part* is a run of consecutive places of that order, about PART_INSTANCES instances; it is the unit
 * of leases, and an epoch visits the parts of all chunks shuffled together. (A chunk holds all instances of its users.
 * Visiting whole chunks one after the other trains a user's instances in one burst, which the dense parameters follow:
 * on Amazon Games and Toys in 19 chunks the backbone's test WAUC in A was .639 that way, mean of 3 seeds, and .653 with
 * parts, mean of 10; MAN's .656, of 4, and .661.) */
#ifndef MANGROVE_COMMON_WORK_H
#define MANGROVE_COMMON_WORK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/schema.h"

typedef enum Split { SPLIT_TRAIN, SPLIT_VALID, SPLIT_TEST, N_SPLITS } Split;

/* The name of a push, and of the pull that goes before it. */
typedef struct Work {
    uint32_t epoch;  /* from 1 */
    uint32_t pass;   /* 0: training; else the number of an evaluation pass */
    uint8_t domain;  /* DOMAIN_A, DOMAIN_B */
    uint8_t split;   /* SPLIT_TRAIN when pass is 0 */
    uint16_t rank;   /* < R; 0 in async and in evaluation */
    uint16_t group;  /* 0: a step; else the push of a group: of so many steps, from `step` on */
    uint32_t step;   /* training: step number of the domain; evaluation: batch number */
} Work;

/* How many instances each chunk holds. Comes from the data set's manifest (dataset.h), travels in HELLO. */
typedef struct ChunkCounts {
    uint32_t n[N_DOMAINS][N_SPLITS]; /* instances; of the configured protocol where the split is evaluated */
} ChunkCounts;

typedef struct Geometry {
    uint32_t n_chunks;
    uint32_t step_size;                               /* R * b */
    uint32_t eval_batch;
    ChunkCounts *counts;                              /* (n_chunks), owned */
    uint32_t *first_step[N_DOMAINS][N_SPLITS];        /* (n_chunks + 1) prefix sums, owned; [SPLIT_TRAIN] in steps,
                                                         the others in evaluation batches */
} Geometry;

/* Copies counts. ERR_DATA if a number overflows or there is nothing to train on. */
Err geometry_init(Geometry *g, const ChunkCounts *counts, uint32_t n_chunks, uint32_t ranks, uint32_t batch,
                  uint32_t eval_batch) MUST_CHECK;
void geometry_free(Geometry *g);

uint32_t geometry_steps(const Geometry *g, int domain, Split split);               /* in the whole epoch or pass */
uint32_t geometry_chunk_steps(const Geometry *g, uint32_t chunk, int domain, Split split);
/* Instances of a step number: first index in the chunk's list and count. */
void geometry_step_range(const Geometry *g, int domain, Split split, uint32_t step, uint32_t *chunk, uint32_t *first,
                         uint32_t *count);

enum { PART_INSTANCES = 1000 };

typedef struct Part {
    uint32_t chunk;
    uint32_t index; /* in the chunk: places [index * geometry_part_size, ...) of its interleaved steps */
} Part;

typedef struct StepName {
    uint32_t step; /* of its domain */
    uint8_t domain;
} StepName;

uint32_t geometry_part_size(const Geometry *g); /* steps of a part; a chunk's last one may have fewer */
uint32_t geometry_chunk_parts(const Geometry *g, uint32_t chunk);
uint32_t geometry_parts(const Geometry *g); /* of all chunks */

/* The order in which an epoch visits the parts: parts (geometry_parts) out. */
void geometry_part_order(const Geometry *g, uint64_t seed, uint32_t epoch, Part *parts);

/* The steps of a part (it exists) in the order in which they are visited: steps (geometry_part_size) out; returns their
 * number. */
uint32_t geometry_part_steps(const Geometry *g, uint64_t seed, uint32_t epoch, Part part, StepName *steps);

/* Every step of the epoch in its global order: the parts in the epoch's order, each with its steps. parts
 * (geometry_parts) out, steps (geometry_steps of both domains) out. Costs no more than to shuffle every chunk once. */
void geometry_epoch_order(const Geometry *g, uint64_t seed, uint32_t epoch, Part *parts, StepName *steps);
uint32_t geometry_part_length(const Geometry *g, Part part); /* its steps */

/* Bitmaps: bit i of byte i/8 is step i; bits past the end are 0. */
static inline uint32_t bitmap_bytes(uint32_t n_bits) {
    return (n_bits + 7) / 8;
}
static inline bool bitmap_get(const uint8_t *bits, uint32_t i) {
    return bits[i / 8] >> (i % 8) & 1;
}
static inline void bitmap_set(uint8_t *bits, uint32_t i) {
    bits[i / 8] |= (uint8_t)(1u << (i % 8));
}
uint32_t bitmap_count(const uint8_t *bits, uint32_t n_bits);
static inline bool bitmap_is_full(const uint8_t *bits, uint32_t n_bits) {
    return bitmap_count(bits, n_bits) == n_bits;
}

#endif
