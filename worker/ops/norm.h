/* Layer norm and batch norm. */
#ifndef MANGROVE_WORKER_OPS_NORM_H
#define MANGROVE_WORKER_OPS_NORM_H

#include "worker/ops/tape.h"

/* y = gamma (x - mean) / sqrt(var + 1e-8) + beta over the last axis, biased variance.  x (R,D), gamma, beta (1,D) */
Var *op_layer_norm(Tape *t, Var *x, Var *gamma, Var *beta);

/* Batch norm over rows, biased variance, eps 1e-4. Training: running_* NULL; mean, var (cols) out, the statistics of
 * these rows. Evaluation: the running ones are used. */
typedef struct BatchNorm {
    Var *gamma, *beta; /* (1,cols) */
    const real *running_mean, *running_var;
    real *mean, *var;
} BatchNorm;

/* y = ReLU(BN(h)) W + b, one layer of an MLP after its first product; norm NULL: y = ReLU(h) W + b.
 *   h (R,K)  W (K,M)  b (1,M) or NULL  y (R,M) */
Var *op_norm_relu_linear(Tape *t, Var *h, const BatchNorm *norm, Var *W, Var *b);

#endif
