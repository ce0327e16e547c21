/* One training or evaluation step of a model, between pull and push. Owns the step's arena; two Steps side by side make
 * prefetching possible. No I/O: the caller moves keys, values and gradients. */
#ifndef MANGROVE_WORKER_MODEL_STEP_H
#define MANGROVE_WORKER_MODEL_STEP_H

#include "common/config.h"
#include "common/losses.h"
#include "common/real.h"
#include "common/schema.h"
#include "worker/data/batch.h"
#include "worker/model/model.h"

Step *step_open(const Model *model, const Config *config, const Schema *schema);
void step_close(Step **s);

/* The arena that lives until the next step_reset; batches are built in it. */
Arena *step_arena(Step *s);
/* Resets the arena and everything of the last step. */
void step_reset(Step *s);

/* Names the rows of the batch (which lives in step_arena). Afterwards: */
void step_begin(Step *s, const Batch *batch, bool is_training);
const uint64_t *step_pull_keys(const Step *s, uint32_t *n_keys, size_t *n_values);
/* The two parts of these keys in training, for who pulls the second one seldom: rows of the batch, of which there may be
 * none, and the dense rows, which are the same for every batch of a domain. Their values lie in this order. */
const uint64_t *step_sparse_keys(const Step *s, uint32_t *n_keys, size_t *n_values);
const uint64_t *step_dense_keys(const Step *s, uint32_t *n_keys, size_t *n_values);
real *step_values(Step *s); /* (n_values) to be filled with the pulled rows */

/* Runs the model on step_values. Logits (B,N); NULL if the batch is empty. */
const real *step_forward(Step *s);
double step_data_loss(const Step *s);   /* mean over the step's instances; this slice's part of it in a rank's slice */
double step_regulariser(const Step *s); /* likewise */

/* Training: gradients of loss for every pushed key, stats rows included. An empty batch has rows too: dense gradients
 * of 0, and statistics of weight 0, which change nothing. */
void step_backward(Step *s);
const uint64_t *step_push_keys(const Step *s, uint32_t *n_keys, size_t *n_values);
const real *step_grads(const Step *s); /* (n_values of step_push_keys) */
/* Adds the dense gradients to sum (n_values of step_dense_keys) and takes them out of what is to be pushed. Once. */
void step_move_dense(Step *s, real *sum);

/* An intermediate result that the model named while it ran ("isa", "gpa"; model_api.h), or NULL. (rows, cols), valid
 * until the next step_reset. */
const real *step_activation(const Step *s, const char *name, int *rows, int *cols);

#endif
