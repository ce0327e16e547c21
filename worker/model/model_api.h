/* What a model's lookup(), encode() and score() may ask of their step. */
#ifndef MANGROVE_WORKER_MODEL_MODEL_API_H
#define MANGROVE_WORKER_MODEL_MODEL_API_H

#include "worker/model/step.h"
#include "worker/ops/norm.h"
#include "worker/ops/tape.h"

const void *step_layout(const Step *s); /* of Model.layout() */

/* ---- lookup ---- */

/* Rows of a sparse tensor that encode() or score() will read. ids (n) belong to the batch; n may be 0. */
void step_lookup(Step *s, int tensor, const uint32_t *ids, int n);

/* ---- encode and score ---- */

Tape *step_tape(Step *s);
bool step_is_training(const Step *s);
Segments step_segments(const Step *s); /* the histories */

/* A dense tensor as it was declared, or the distinct rows of a sparse one, which step_index() points into. */
Var *step_var(Step *s, int tensor);
/* Where the rows of a list are that step_lookup() was told of: (n) rows of step_var(). */
const uint32_t *step_index(const Step *s, int tensor, const uint32_t *ids);

/* The statistics of one batch norm over n_rows rows: in training fills in where they are to be written (they go to row
 * `row` of the ema tensors with the next push), in evaluation what was pulled. mean, var: tensors; gamma, beta: left.
 */
void step_batch_norm(Step *s, int mean, int var, int row, int n_rows, BatchNorm *norm);

/* The scores, (B*N,1). Adds the data loss of the configuration. */
void step_set_logits(Step *s, Var *logits);
/* A loss term that does not depend on the data, scaled already by step_share(). */
void step_add_regulariser(Step *s, double value);
/* This slice's share of the step's instances, 1 unless ranks divide the step. */
double step_share(const Step *s);
/* The figure to watch. */
void step_watch(Step *s, double value);

/* Names an intermediate result for step_activation(). The name must outlive the step. */
void step_keep(Step *s, const char *name, const Var *v);

#endif
