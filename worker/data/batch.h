/* A batch: what a model sees of the data. All instances are of one domain; sequences are packed, without padding.
 *
 *   B instances, N candidates each, P = sum of the history lengths. */
#ifndef MANGROVE_WORKER_DATA_BATCH_H
#define MANGROVE_WORKER_DATA_BATCH_H

#include "common/arena.h"
#include "common/config.h"
#include "common/work.h"
#include "worker/data/dataset.h"

/* What a model asks for beyond hist and cand; computed only then. */
enum { INPUT_TIMES = 1, INPUT_OTHER = 2 };

typedef struct Batch {
    int domain;
    int n_instances;    /* B; may be 0: an empty slice of a sync step */
    int n_candidates;   /* N; in training candidate 0 is the positive, in evaluation too */
    int n_positions;    /* P */
    int longest;        /* of the histories; 0 if B = 0 */
    int step_instances; /* instances of the whole sync step, over its ranks (= B in async): the loss and its
                           gradient are divided by this, so that the ranks' gradients add up */
    const uint32_t
        *offset;          /* (B+1) history of instance i is hist[offset[i] .. offset[i+1]), oldest first, length >= 1 */
    const uint32_t *hist; /* (P) item ids, the most recent T */
    const uint32_t *cand; /* (B,N) item ids */
    const uint32_t *user; /* (B) user ids; 0 = unknown */
    const int64_t *hist_time;     /* (P) seconds;  INPUT_TIMES, else NULL */
    const int64_t *target_time;   /* (B) */
    const uint32_t *other_offset; /* (B+1) events of the other domain strictly before the target, most recent T;
                                     INPUT_OTHER, else NULL; may be empty */
    const uint32_t *other;        /* items */
    const int64_t *other_time;
} Batch;

/* Makes the batches of a data set; holds the chunk orders it needs. One per thread. */
typedef struct Batcher Batcher;

/* Borrows everything. inputs: mask of INPUT_*. */
Batcher *batcher_open(const Dataset *data, const Geometry *geometry, const Config *config, int inputs);
void batcher_close(Batcher **b);

/* The batch of a training step and rank: a pure function of (data, config, work). Arrays live in the arena. */
void batcher_train(Batcher *b, const Work *work, Arena *arena, Batch *out);

/* The batch of an evaluation step (work->split VALID or TEST, protocol of the configuration). */
void batcher_eval(Batcher *b, const Work *work, Arena *arena, Batch *out);

#endif
