/* Products with the model's matrices. Matrices are stored (in, out): y = x W + b, row by row. */
#ifndef MANGROVE_WORKER_OPS_LINEAR_H
#define MANGROVE_WORKER_OPS_LINEAR_H

#include "worker/ops/tape.h"

enum { LINEAR_MAX_PARTS = 8 };

/* x (R,K)  W (K,M)  b (1,M) or NULL  y (R,M) */
Var *op_linear(Tape *t, Var *x, Var *W, Var *b);

/* y = x W + b + residual, whose rows are repeated where it has fewer.
 *   x (R,K)  W (K,M)  b (1,M)  residual (R or a divisor of it,M)  y (R,M) */
Var *op_linear_residual(Tape *t, Var *x, Var *W, Var *b, Var *residual);

/* FFN(x) = ReLU(x W1 + b1) W2 + b2 + x.   x (R,D)  W1, W2 (D,D)  b1, b2 (1,D) */
Var *op_feed_forward(Tape *t, Var *x, Var *W1, Var *b1, Var *W2, Var *b2);

/* The first layer of a head over [part 0, part 1, ..] for every candidate, without writing the concatenation down: what
 * an instance's candidates share is multiplied once per instance.
 *   parts[i] (B*N,D_i) or (B,D_i)  W (sum of D_i,M)  b (1,M)  y (B*N,M);   n_parts <= LINEAR_MAX_PARTS */
Var *op_linear_parts(Tape *t, Var *const *parts, int n_parts, Var *W, Var *b, int B, int N);

/* For other ops. y (R,M) = b in every row, 0 if b is NULL. */
void linear_fill_bias(real *y, const Var *b, int R, int M);
/* db += column sums of dy (R,M); nothing if b is NULL or wants no gradient. */
void linear_bias_gradient(Var *b, const real *dy, int R, int M);
/* Rows first_row .. first_row+K of dW += x^T dy;  x (R,K), dy (R,M) with M = W's columns and row distance ldy. */
void linear_matrix_gradient(Var *W, int first_row, const real *x, int K, const real *dy, int ldy, int R);
/* dx = or += dy W^T, with rows first_row .. first_row + x's columns of W; nothing if x wants no gradient. */
void linear_input_gradient(Var *x, const real *dy, const Var *W, int first_row);

#endif
