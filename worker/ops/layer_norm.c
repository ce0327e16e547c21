/* Layer norm, row by row. */
#include "worker/ops/norm.h"
#include "worker/ops/simd.h"
#include "worker/ops/vmath.h"

static const real LAYER_NORM_EPSILON = (real)1e-8;

typedef struct LayerNormOp {
    Record record;
    Var *x, *gamma, *beta, *y;
    real *mean, *rstd; /* (R) */
} LayerNormOp;

ALWAYS_INLINE void forward_rows(int D, int R, real *restrict y, const real *restrict x, const real *restrict gamma,
                                const real *restrict beta, real *restrict mean, real *restrict rstd) {
    for (int r = 0; r < R; r++, x += D, y += D) {
        real sum = 0, square = 0;
#pragma omp simd reduction(+ : sum)
        for (int d = 0; d < D; d++)
            sum += x[d];
        real m = sum / (real)D;
#pragma omp simd reduction(+ : square)
        for (int d = 0; d < D; d++)
            square += (x[d] - m) * (x[d] - m);
        real s = 1 / real_sqrt(square / (real)D + LAYER_NORM_EPSILON);
#pragma omp simd
        for (int d = 0; d < D; d++)
            y[d] = (x[d] - m) * s * gamma[d] + beta[d];
        mean[r] = m;
        rstd[r] = s;
    }
}

MULTIVERSION static void forward(int D, int R, real *y, const real *x, const real *gamma, const real *beta, real *mean,
                                 real *rstd){WITH_WIDTH(D, forward_rows, R, y, x, gamma, beta, mean, rstd)}

/* With n = (x - mean) rstd and g = dy gamma:  dx = rstd (g - mean(g) - n mean(g n)). dx NULL: not wanted. */
ALWAYS_INLINE void backward_rows(int D, int R, const LayerNormOp *op, real *restrict dx, bool adds,
                                 real *restrict dgamma, real *restrict dbeta) {
    const real *restrict x = op->x->x, *restrict dy = op->y->dx, *restrict gamma = op->gamma->x;
    for (int r = 0; r < R; r++, x += D, dy += D) {
        real m = op->mean[r], s = op->rstd[r], sum = 0, dot = 0;
#pragma omp simd reduction(+ : sum, dot)
        for (int d = 0; d < D; d++) {
            real n = (x[d] - m) * s, g = dy[d] * gamma[d];
            dgamma[d] += dy[d] * n;
            dbeta[d] += dy[d];
            sum += g;
            dot += g * n;
        }
        if (!dx)
            continue;
        sum /= (real)D;
        dot /= (real)D;
#pragma omp simd
        for (int d = 0; d < D; d++)
            dx[d] = (adds ? dx[d] : 0) + s * (dy[d] * gamma[d] - sum - (x[d] - m) * s * dot);
        dx += D;
    }
}

MULTIVERSION static void backward_kernel(int D, int R, const LayerNormOp *op, real *dx, bool adds, real *dgamma,
                                         real *dbeta) {
    if (adds) {
        WITH_WIDTH(D, backward_rows, R, op, dx, true, dgamma, dbeta)
    } else {
        WITH_WIDTH(D, backward_rows, R, op, dx, false, dgamma, dbeta)
    }
}

static void backward(void *self) {
    LayerNormOp *op = self;
    bool adds = op->x->dx && var_beta(op->x) != 0;
    backward_kernel(op->x->cols, op->x->rows, op, op->x->dx, adds, var_grad(op->gamma), var_grad(op->beta));
}

Var *op_layer_norm(Tape *t, Var *x, Var *gamma, Var *beta) {
    int R = x->rows, D = x->cols;
    Var *y = tape_var(t, R, D, x->dx || gamma->dx);
    real *mean = arena_array(t->arena, real, R), *rstd = arena_array(t->arena, real, R);
    forward(D, R, y->x, x->x, gamma->x, beta->x, mean, rstd);
    LayerNormOp *op = tape_record(t, sizeof *op, backward, y);
    if (op)
        *op = (LayerNormOp){op->record, x, gamma, beta, y, mean, rstd};
    return y;
}
