/* Target attention over pairs (position of an instance's history, candidate), the "AttFCN" of the models:
 *   f = MLP([k, q, k - q, k * q]),  weights = softmax over the positions,  result = sum of weighted rows.
 *
 * The triples (instance, candidate, position) lie candidate by candidate: candidate n of instance i is
 * offset[i] N + n n_i + (0 .. n_i), so that a softmax runs over neighbours. There are P*N of them. */
#ifndef MANGROVE_WORKER_OPS_SIMILARITY_H
#define MANGROVE_WORKER_OPS_SIMILARITY_H

#include "worker/ops/tape.h"

/* The MLP's first product, split: [k, q, k-q, k*q] W = k (Wa + Wc) + q (Wb - Wc) + (k*q) Wd; per pair only the last.
 *   k (P,D)  q (B*N,D)  W (4D,H)  b (1,H)  y (P*N,H) */
Var *op_pair_layer(Tape *t, Var *k, Var *q, Var *W, Var *b, const Segments *s, int N);

/* Softmax of f over every candidate's positions and the weighted sum of rows of k.
 *   f (P*N,1)  k (P,D)  y (B*N,D) */
Var *op_pair_pool(Tape *t, Var *f, Var *k, const Segments *s, int N);

#endif
