/* An assignment: a lease as its worker sees it, every step by name and in the order in which they are to be done. */
#ifndef MANGROVE_WORKER_ASSIGNMENT_H
#define MANGROVE_WORKER_ASSIGNMENT_H

#include "common/config.h"
#include "common/err.h"
#include "common/real.h"
#include "common/work.h"
#include "proto/message.h"

/* The place of a step among all steps of the epoch (of sync; 0 elsewhere), and its name within its domain. */
typedef struct AssignedStep {
    uint64_t order;
    uint32_t step;
    uint8_t domain;
    uint16_t place; /* among the steps of its domain in its part */
    uint16_t group; /* steps of its group (work.h), which begins place % dense.push steps before it */
} AssignedStep;

typedef struct Assignment {
    uint64_t lease; /* its number; 0: none */
    LeaseKind kind;
    uint32_t epoch;
    uint32_t pass; /* of an evaluation, else 0 */
    Split split;   /* SPLIT_TRAIN unless it is an evaluation */
    uint32_t n_steps, n_ranks;
    AssignedStep *steps; /* (n_steps), owned */
    uint16_t *ranks;     /* (n_ranks), owned: each step is done once for each of them, in this order */
} Assignment;

/* Reads a LEASE message, checking and bounding everything in it. ERR_PROTOCOL; then nothing is left to free. */
Err assignment_decode(Assignment *out, Message *m, const Geometry *g, const Config *config) MUST_CHECK;
void assignment_free(Assignment *a);

Work assignment_work(const Assignment *a, uint32_t step_index, uint32_t rank_index);

/* What an evaluation step yields. */
typedef struct Scored {
    Work work;
    uint32_t n, n_candidates;
    const uint32_t *users; /* (n) */
    const real *scores;    /* (n, n_candidates), candidate 0 the positive */
} Scored;

/* The SCORES message of it. */
void assignment_write_scores(const Assignment *a, const Scored *scored, Message *out);

#endif
