/* An evaluation set: the instances of one domain that are ranked together, each of ten candidates, the positive first.
 * Three kinds: a prepared list (evalset.c), a data set under protocol paper (paper.h), a published file
 * (published_set.h). */
#ifndef MANGROVE_WORKER_DATA_EVALSET_H
#define MANGROVE_WORKER_DATA_EVALSET_H

#include "common/ranking.h"
#include "worker/data/batch.h"

/* The first two are those that data sets hold candidates of. */
typedef enum EvalProtocol {
    EVAL_WARM = PROTOCOL_WARM,
    EVAL_ALL = PROTOCOL_ALL,
    EVAL_PAPER = N_PROTOCOLS, /* as published: items and users unseen in training are id 0, ties as heapsort's */
    N_EVAL_PROTOCOLS,
} EvalProtocol;

typedef struct Evalset {
    uint32_t n;          /* instances */
    uint32_t *users;     /* (n) whose AUC is taken for WAUC: ids, or numbers of names; 0 = all the unknown */
    uint32_t *lengths;   /* (n) earlier events of the domain, all of them */
    uint8_t *is_unknown; /* (n, RANKING_CANDIDATES) the candidate is id 0, like others; NULL: none can be */
    RankingTies ties;
    uint32_t n_batches;
    /* Batches 0, 1, .. hold the instances in their order. Arrays live in the arena. NULL: of a set without a model. */
    void (*make)(void *self, uint32_t batch, Arena *arena, Batch *out);
    void *self;
    void (*close)(void *self);
} Evalset;

/* The data set's own list for the split under config->eval.protocol. Borrows everything; geometry is that protocol's.
 * inputs: mask of INPUT_*. */
void evalset_open(Evalset *out, const Dataset *data, const Geometry *geometry, const Config *config, int inputs,
                  int domain, Split split);
void evalset_close(Evalset *set); /* of a zeroed struct is legal */

/* The instances of a length group (length_groups.h) as a set without batches; scores (set->n, RANKING_CANDIDATES) or
 * NULL, theirs out likewise, which the caller frees. */
void evalset_pick_group(Evalset *out, float **out_scores, const Evalset *set, const float *scores, int group);

#endif
