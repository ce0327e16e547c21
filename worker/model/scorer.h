/* Scores of any number of candidates for a few histories: evaluation without a step for every batch. A domain's
 * parameters are held in memory, whole; what the candidates of a history share is computed once, and candidates come in
 * blocks of whatever size suits the caches. The model is the training's, with its running statistics. */
#ifndef MANGROVE_WORKER_MODEL_SCORER_H
#define MANGROVE_WORKER_MODEL_SCORER_H

#include "common/config.h"
#include "common/real.h"
#include "common/schema.h"
#include "worker/data/batch.h"
#include "worker/model/model.h"

typedef struct Scorer Scorer;

/* Borrows everything. */
Scorer *scorer_open(const Model *model, const Config *config, const Schema *schema, int domain);
void scorer_close(Scorer **s);

/* The rows to be pulled once, before the first scorer_encode(), and where their values go (n_values). */
const uint64_t *scorer_keys(const Scorer *s, uint32_t *n_keys, size_t *n_values);
real *scorer_values(Scorer *s);

/* The histories of a batch of the domain that is not empty, and what else the model asks for; cand is not read. The
 * batch's arrays must live as long as they are scored. */
void scorer_encode(Scorer *s, const Batch *batch);

/* Logits (B,n) of the candidates cand (B,n); valid until the next call. */
const real *scorer_score(Scorer *s, const uint32_t *cand, int n);

#endif
