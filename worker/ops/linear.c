/* Linear layers on merged rows: one product for all positions of the batch. */
#include "worker/ops/linear.h"

#include <assert.h>

#include "worker/ops/gemm.h"
#include "worker/ops/simd.h"
#include "worker/ops/vmath.h"

/* ---- helpers ------------------------------------------------------------------------------------------------- */

ALWAYS_INLINE void fill_rows(int M, int R, real *restrict y, const real *restrict b) {
    for (int r = 0; r < R; r++, y += M) {
#pragma omp simd
        for (int m = 0; m < M; m++)
            y[m] = b[m];
    }
}

MULTIVERSION static void fill_kernel(int M, int R, real *y, const real *b) {
    WITH_WIDTH(M, fill_rows, R, y, b);
}

void linear_fill_bias(real *y, const Var *b, int R, int M) {
    if (b)
        fill_kernel(M, R, y, b->x);
    else
        memset(y, 0, (size_t)R * (size_t)M * sizeof(real));
}

ALWAYS_INLINE void column_sums(int M, int R, const real *restrict y, real *restrict sum) {
    for (int r = 0; r < R; r++, y += M) {
#pragma omp simd
        for (int m = 0; m < M; m++)
            sum[m] += y[m];
    }
}

MULTIVERSION static void column_sums_kernel(int M, int R, const real *y, real *sum) {
    WITH_WIDTH(M, column_sums, R, y, sum);
}

void linear_bias_gradient(Var *b, const real *dy, int R, int M) {
    if (b && b->dx)
        column_sums_kernel(M, R, dy, var_grad(b));
}

void linear_matrix_gradient(Var *W, int first_row, const real *x, int K, const real *dy, int ldy, int R) {
    if (W->dx)
        gemm_tn(K, W->cols, R, x, K, dy, ldy, 1, var_grad(W) + (size_t)first_row * (size_t)W->cols, W->cols);
}

void linear_input_gradient(Var *x, const real *dy, const Var *W, int first_row) {
    if (!x->dx)
        return;
    real beta, *dx = var_target(x, &beta);
    const real *rows = W->x + (size_t)first_row * (size_t)W->cols;
    gemm_nt(x->rows, x->cols, W->cols, dy, W->cols, rows, W->cols, beta, dx, x->cols);
}

/* ---- y = x W + b --------------------------------------------------------------------------------------------- */

typedef struct LinearOp {
    Record record;
    Var *x, *W, *b, *y;
} LinearOp;

static void linear_backward(void *self) {
    LinearOp *op = self;
    int R = op->x->rows, K = op->x->cols, M = op->W->cols;
    linear_matrix_gradient(op->W, 0, op->x->x, K, op->y->dx, M, R);
    linear_bias_gradient(op->b, op->y->dx, R, M);
    linear_input_gradient(op->x, op->y->dx, op->W, 0);
}

Var *op_linear(Tape *t, Var *x, Var *W, Var *b) {
    int R = x->rows, K = x->cols, M = W->cols;
    assert(W->rows == K);
    Var *y = tape_var(t, R, M, x->dx || W->dx);
    if (b)
        linear_fill_bias(y->x, b, R, M);
    gemm_nn(R, M, K, x->x, K, W->x, M, b ? 1 : 0, y->x, M);
    LinearOp *op = tape_record(t, sizeof *op, linear_backward, y);
    if (op)
        *op = (LinearOp){op->record, x, W, b, y};
    return y;
}

/* ---- y = x W + b + residual ---------------------------------------------------------------------------------------
 */

typedef struct LinearResidualOp {
    Record record;
    Var *x, *W, *b, *residual, *y;
} LinearResidualOp;

/* y = x + b, row by row. */
ALWAYS_INLINE void residual_rows(int D, int R, real *restrict y, const real *restrict x, const real *restrict b) {
    for (int r = 0; r < R; r++, y += D, x += D) {
#pragma omp simd
        for (int d = 0; d < D; d++)
            y[d] = x[d] + b[d];
    }
}

MULTIVERSION static void residual_kernel(int D, int R, real *y, const real *x, const real *b) {
    WITH_WIDTH(D, residual_rows, R, y, x, b);
}

static void linear_residual_backward(void *self) {
    LinearResidualOp *op = self;
    int R = op->x->rows, K = op->x->cols, M = op->W->cols;
    const real *dy = op->y->dx;
    if (op->residual->dx && op->residual->rows == R)
        var_add(op->residual, dy);
    else if (op->residual->dx)
        for (size_t done = 0, n = var_size(op->residual); done < var_size(op->y); done += n)
            vec_add(var_grad(op->residual), dy + done, n);
    linear_matrix_gradient(op->W, 0, op->x->x, K, dy, M, R);
    linear_bias_gradient(op->b, dy, R, M);
    linear_input_gradient(op->x, dy, op->W, 0);
}

Var *op_linear_residual(Tape *t, Var *x, Var *W, Var *b, Var *residual) {
    int R = x->rows, K = x->cols, M = W->cols;
    assert(W->rows == K && residual->cols == M && R % residual->rows == 0);
    Var *y = tape_var(t, R, M, x->dx || W->dx || residual->dx);
    for (int r = 0; r < R; r += residual->rows)
        residual_kernel(M, residual->rows, y->x + (size_t)r * (size_t)M, residual->x, b->x);
    gemm_nn(R, M, K, x->x, K, W->x, M, 1, y->x, M);
    LinearResidualOp *op = tape_record(t, sizeof *op, linear_residual_backward, y);
    if (op)
        *op = (LinearResidualOp){op->record, x, W, b, residual, y};
    return y;
}

/* ---- FFN --------------------------------------------------------------------------------------------------------- */

typedef struct FeedForwardOp {
    Record record;
    Arena *arena;
    Var *x, *W1, *b1, *W2, *b2, *y;
    real *hidden; /* (R,D) after ReLU */
} FeedForwardOp;

MULTIVERSION static void relu(real *x, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] < 0 ? 0 : x[i]; /* what is not a number stays so */
}

/* dx = 0 where the activation is 0. */
MULTIVERSION static void relu_gradient(real *restrict dx, const real *restrict activation, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        dx[i] = activation[i] > 0 ? dx[i] : 0;
}

static void feed_forward_backward(void *self) {
    FeedForwardOp *op = self;
    int R = op->x->rows, D = op->x->cols;
    size_t n = var_size(op->x);
    const real *dy = op->y->dx;
    real *dhidden = arena_array(op->arena, real, n);
    linear_matrix_gradient(op->W2, 0, op->hidden, D, dy, D, R);
    linear_bias_gradient(op->b2, dy, R, D);
    gemm_nt(R, D, D, dy, D, op->W2->x, D, 0, dhidden, D);
    relu_gradient(dhidden, op->hidden, n);
    linear_matrix_gradient(op->W1, 0, op->x->x, D, dhidden, D, R);
    linear_bias_gradient(op->b1, dhidden, R, D);
    linear_input_gradient(op->x, dhidden, op->W1, 0);
    if (op->x->dx)
        vec_add(op->x->dx, dy, n);
}

Var *op_feed_forward(Tape *t, Var *x, Var *W1, Var *b1, Var *W2, Var *b2) {
    int R = x->rows, D = x->cols;
    assert(W1->rows == D && W1->cols == D && W2->rows == D && W2->cols == D);
    Var *y = tape_var(t, R, D, x->dx || W1->dx);
    real *hidden = arena_array(t->arena, real, var_size(x));
    linear_fill_bias(hidden, b1, R, D);
    gemm_nn(R, D, D, x->x, D, W1->x, D, 1, hidden, D);
    relu(hidden, var_size(x));
    residual_kernel(D, R, y->x, x->x, b2->x);
    gemm_nn(R, D, D, hidden, D, W2->x, D, 1, y->x, D);
    FeedForwardOp *op = tape_record(t, sizeof *op, feed_forward_backward, y);
    if (op)
        *op = (FeedForwardOp){op->record, t->arena, x, W1, b1, W2, b2, y, hidden};
    return y;
}
