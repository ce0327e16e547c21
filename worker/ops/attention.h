/* One-head attention over packed sequences: softmax(Q K^T / sqrt(D)) V + residual. */
#ifndef MANGROVE_WORKER_OPS_ATTENTION_H
#define MANGROVE_WORKER_OPS_ATTENTION_H

#include "worker/ops/tape.h"

/* Causal: position j of a sequence sees the positions 0..j of the same sequence; only that half is computed.
 *   q, residual (P,D)  kv (P,2D): keys, then values (op_linear_pair)  y (P,D) */
Var *op_attention_causal(Tape *t, Var *q, Var *kv, Var *residual, const Segments *s);

/* The same G queries look at every sequence as a whole; they are the residual too.
 *   q (G,D)  kv (P,2D)  y (B*G,D) */
Var *op_attention_prototypes(Tape *t, Var *q, Var *kv, const Segments *s);

#endif
