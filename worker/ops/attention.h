/* One-head attention over packed sequences, whose rows are keys and values at once: softmax(Q X^T / sqrt(D)) X.
 *
 * That is all there is to softmax(Q K^T / sqrt(D)) V with Q = A Wq + bq, K = X Wk + bk, V = X Wv + bv:
 *   Q K^T = (A Wq Wk^T + bq Wk^T) X^T + a number per query, which the softmax does not see: bk has no effect
 *   W V   = (W X) Wv + bv, as the weights of a query sum to 1
 * so two products of D x D matrices take the place of all keys, and values are made per query: see op_query() and
 * op_linear_residual(). */
#ifndef MANGROVE_WORKER_OPS_ATTENTION_H
#define MANGROVE_WORKER_OPS_ATTENTION_H

#include "worker/ops/tape.h"

/* Causal: position j of a sequence sees the positions 0..j of the same sequence; only that half is computed.
 *   q, x (P,D)  y (P,D) */
Var *op_attention_causal(Tape *t, Var *q, Var *x, const Segments *s);

/* The same G queries look at every sequence as a whole.   q (G,D)  x (P,D)  y (B*G,D) */
Var *op_attention_prototypes(Tape *t, Var *q, Var *x, const Segments *s);

/* Queries that meet rows instead of keys: y = a Wq Wk^T + bq Wk^T; Wq NULL: y = a Wk^T.
 *   a (R,D)  Wq, Wk (D,D)  bq (1,D)  y (R,D) */
Var *op_query(Tape *t, Var *a, Var *Wq, Var *bq, Var *Wk);

#endif
