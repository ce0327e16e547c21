/* Layer norm, row by row. */
#include "worker/ops/lanes.h"
#include "worker/ops/norm.h"
#include "worker/ops/simd.h"
#include "worker/ops/vmath.h"

static const real LAYER_NORM_EPSILON = (real)1e-8;

typedef struct LayerNormOp {
    Record record;
    Var *x, *gamma, *beta, *y;
    real *mean, *rstd; /* (R) */
} LayerNormOp;

ALWAYS_INLINE real row_sum(int D, const real *x) {
    Narrow sums = {0};
    int d = 0;
    for (; d + 4 <= D; d += 4)
        sums += *(const Narrow *)(x + d);
    real sum = narrow_sum(sums);
    for (; d < D; d++)
        sum += x[d];
    return sum;
}

/* Sum of (x - m)^2. */
ALWAYS_INLINE real row_square_sum(int D, const real *x, real m) {
    Narrow sums = {0};
    int d = 0;
    for (; d + 4 <= D; d += 4) {
        Narrow delta = *(const Narrow *)(x + d) - m;
        sums += delta * delta;
    }
    real sum = narrow_sum(sums);
    for (; d < D; d++)
        sum += (x[d] - m) * (x[d] - m);
    return sum;
}

ALWAYS_INLINE void forward_rows(int D, int R, real *restrict y, const real *restrict x, const real *restrict gamma,
                                const real *restrict beta, real *restrict mean, real *restrict rstd) {
    for (int r = 0; r < R; r++, x += D, y += D) {
        real m = row_sum(D, x) / (real)D;
        real s = 1 / real_sqrt(row_square_sum(D, x, m) / (real)D + LAYER_NORM_EPSILON);
#pragma omp simd
        for (int d = 0; d < D; d++)
            y[d] = (x[d] - m) * s * gamma[d] + beta[d];
        mean[r] = m;
        rstd[r] = s;
    }
}

MULTIVERSION static void forward(int D, int R, real *y, const real *x, const real *gamma, const real *beta, real *mean,
                                 real *rstd) {
    WITH_WIDTH(D, forward_rows, R, y, x, gamma, beta, mean, rstd);
}

/* One row's gradient of gamma and beta, and the sums of g and g n; `Type` is some lanes of the row. */
#define ADD_ROW(Type, sum, dot)                                                                                        \
    do {                                                                                                               \
        Type n = (*(const Type *)(x + d) - m) * s, dn = *(const Type *)(dy + d), g = dn * *(const Type *)(gamma + d);  \
        *(Type *)(dgamma + d) += dn * n;                                                                               \
        *(Type *)(dbeta + d) += dn;                                                                                    \
        sum += g;                                                                                                      \
        dot += g * n;                                                                                                  \
    } while (0)

/* With n = (x - mean) rstd and g = dy gamma:  dx = rstd (g - mean(g) - n mean(g n)). dx NULL: not wanted. */
ALWAYS_INLINE void backward_rows(int D, int R, const LayerNormOp *op, real *restrict dx, bool adds,
                                 real *restrict dgamma, real *restrict dbeta) {
    const real *restrict x = op->x->x, *restrict dy = op->y->dx, *restrict gamma = op->gamma->x;
    for (int r = 0; r < R; r++, x += D, dy += D) {
        real m = op->mean[r], s = op->rstd[r], sum = 0, dot = 0;
        Narrow sums = {0}, dots = {0};
        int d = 0;
        for (; d + 4 <= D; d += 4)
            ADD_ROW(Narrow, sums, dots);
        for (; d < D; d++)
            ADD_ROW(real, sum, dot);
        if (!dx)
            continue;
        sum = (sum + narrow_sum(sums)) / (real)D;
        dot = (dot + narrow_sum(dots)) / (real)D;
#pragma omp simd
        for (int i = 0; i < D; i++)
            dx[i] = (adds ? dx[i] : 0) + s * (dy[i] * gamma[i] - sum - (x[i] - m) * s * dot);
        dx += D;
    }
}

MULTIVERSION static void backward_kernel(int D, int R, const LayerNormOp *op, real *dx, bool adds, real *dgamma,
                                         real *dbeta) {
    if (adds) {
        WITH_WIDTH(D, backward_rows, R, op, dx, true, dgamma, dbeta);
    } else {
        WITH_WIDTH(D, backward_rows, R, op, dx, false, dgamma, dbeta);
    }
}

static void backward(void *self) {
    LayerNormOp *op = self;
    real beta = 0, *dx = op->x->dx ? var_target(op->x, &beta) : NULL;
    backward_kernel(op->x->cols, op->x->rows, op, dx, beta != 0, var_grad(op->gamma), var_grad(op->beta));
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
