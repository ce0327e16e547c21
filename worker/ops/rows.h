/* Rows of tables, and sums and weights over groups of rows. */
#ifndef MANGROVE_WORKER_OPS_ROWS_H
#define MANGROVE_WORKER_OPS_ROWS_H

#include "worker/ops/tape.h"

/* y_i = table[index_i].   table (R,D)  index (n), kept by the caller  y (n,D) */
Var *op_gather(Tape *t, Var *table, const uint32_t *index, int n);

/* y_p = table[index_p] + position[place of p in its sequence].   position (T,D), sequences no longer than T  y (P,D) */
Var *op_embed(Tape *t, Var *table, const uint32_t *index, Var *position, const Segments *s);

/* y = a + b, same shape. */
Var *op_add(Tape *t, Var *a, Var *b);

/* Mean of every sequence: x (P,D)  y (B,D); no sequence is empty. */
Var *op_mean_segments(Tape *t, Var *x, const Segments *s);

/* Softmax over every G values in a row, whatever x's shape: x (n G values)  y (n,G) */
Var *op_softmax_groups(Tape *t, Var *x, int G);

/* y_i = sum_k w_ik x_(i,k).   w (B,G)  x (B*G,D)  y (B,D) */
Var *op_weighted_sum(Tape *t, Var *w, Var *x);

/* The matching of GPA, whose softmax over the groups is yet to come: for an instance with the rows a_t
 *   M_g = sum_t Wp_tg a_t + bp_g,  l_g = (M_g W + b) v + b_s = sum_t Wp_tg (a_t u) + bp_g sum(u) + (b v + b_s),  u = W
 * v so a position is one number a_t u, and the last term, the same for all groups, is left out: the softmax does not
 * see it, and b and b_s have no effect.   a (P,D)  Wp (T,G)  bp (1,G)  W (D,D)  v (D,1)  y (B,G) */
Var *op_match_groups(Tape *t, Var *a, Var *Wp, Var *bp, Var *W, Var *v, const Segments *s);

#endif
