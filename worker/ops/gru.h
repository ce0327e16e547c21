/* A GRU over packed sequences. */
#ifndef MANGROVE_WORKER_OPS_GRU_H
#define MANGROVE_WORKER_OPS_GRU_H

#include "worker/ops/tape.h"

/* The matrices and biases of the cell:
 *   [r,u] = sigmoid([x,h] Wg + bg)   c = tanh([x, r h] Wc + bc)   h <- u h + (1-u) c,   h = 0 at start
 *   Wg (2D,2D): rows x then h, columns r then u;  bg (1,2D);  Wc (2D,D): rows x then r h;  bc (1,D) */
typedef struct GruCell {
    Var *Wg, *bg, *Wc, *bc;
} GruCell;

/* x (P,D)  y (P,D) the states */
Var *op_gru(Tape *t, Var *x, const GruCell *cell, const Segments *s);

#endif
