/* Losses: each returns its value and, while the tape records, starts the way back. */
#ifndef MANGROVE_WORKER_OPS_LOSS_H
#define MANGROVE_WORKER_OPS_LOSS_H

#include "worker/ops/tape.h"

/* Sum over the instances of the cross entropy of candidate 0 among the N, divided by `instances` (the whole step's,
 * which may be more than these).   logits (B*N,1) */
double op_loss_softmax(Tape *t, Var *logits, int N, int instances);

/* Sum of the binary cross entropies of sigmoid(logits), candidate 0 positive, divided by instances N. */
double op_loss_binary(Tape *t, Var *logits, int N, int instances);

/* The disentangling term: - weight sum over pairs i<j of |G_i - G_j|^2.   group (G,D) */
double op_loss_spread(Tape *t, Var *group, double weight);

#endif
