/* One layer of an MLP behind its first product: batch norm, ReLU and the next product in one pass over tiles of rows,
 * so that the normalised values exist in cache only and are recomputed on the way back.
 *
 * With n = (h - mean) rstd, z = gamma n + beta, a = ReLU(z), y = a W + b, over R rows:
 *   da = dy W^T,  dz = da [z > 0],  dgamma = sum dz n,  dbeta = sum dz,  dW = a^T dy
 *   dh = gamma rstd (dz - dbeta/R - n dgamma/R)   in training; gamma rstd dz where the statistics are constants */
#include "worker/ops/gemm.h"
#include "worker/ops/lanes.h"
#include "worker/ops/linear.h"
#include "worker/ops/norm.h"
#include "worker/ops/simd.h"
#include "worker/ops/vmath.h"

static const real BATCH_NORM_EPSILON = (real)1e-4;
enum { TILE_ROWS = 128 }; /* tiles of 32 columns and of their products stay in the first cache or near */

/* The normalisation as one multiply-add: z = scale h + shift. */
typedef struct Affine {
    real *scale, *shift, *rstd; /* (K) */
    const real *mean;
} Affine;

typedef struct NormReluLinearOp {
    Record record;
    Arena *arena;
    Var *h, *W, *b, *y, *gamma, *beta; /* gamma NULL: no norm */
    bool is_running;                   /* the statistics were constants */
    Affine affine;
} NormReluLinearOp;

ALWAYS_INLINE void add_moments(int K, int R, const real *restrict h, const real *restrict shift, real *restrict sum,
                               real *restrict square) {
    for (int r = 0; r < R; r++, h += K) {
#pragma omp simd
        for (int k = 0; k < K; k++) {
            real d = h[k] - shift[k];
            sum[k] += d;
            square[k] += d * d;
        }
    }
}

MULTIVERSION static void moments_kernel(int K, int R, const real *h, const real *shift, real *sum, real *square) {
    WITH_WIDTH(K, add_moments, R, h, shift, sum, square);
}

/* Mean and biased variance of every column: within tiles about the tile's first row, tiles joined by Chan's formula, so
 * that neither a large mean nor many rows cost digits. work (3 K) */
static void moments(int K, int R, const real *h, real *mean, real *var, real *work) {
    real *shift = work, *sum = work + K, *square = work + 2 * K;
    memset(mean, 0, sizeof(real) * (size_t)K);
    memset(var, 0, sizeof(real) * (size_t)K);
    for (int done = 0; done < R;) {
        int rows = R - done < TILE_ROWS ? R - done : TILE_ROWS;
        const real *tile = h + (size_t)done * (size_t)K;
        memcpy(shift, tile, sizeof(real) * (size_t)K);
        memset(sum, 0, sizeof(real) * 2 * (size_t)K);
        moments_kernel(K, rows, tile, shift, sum, square);
        real share = (real)rows / (real)(done + rows);
        for (int k = 0; k < K; k++) {
            real m = sum[k] / (real)rows, delta = shift[k] + m - mean[k];
            mean[k] += delta * share;
            var[k] += square[k] - sum[k] * m + delta * delta * (real)done * share;
        }
        done += rows;
    }
    for (int k = 0; k < K; k++)
        var[k] = var[k] > 0 ? var[k] / (real)R : 0;
}

static Affine make_affine(Tape *t, const Var *h, const BatchNorm *norm) {
    int K = h->cols;
    Affine a = {.scale = arena_array(t->arena, real, K), .shift = arena_array(t->arena, real, K)};
    a.rstd = arena_array(t->arena, real, K);
    a.mean = norm->running_mean;
    const real *var = norm->running_var;
    if (!a.mean) {
        moments(K, h->rows, h->x, norm->mean, norm->var, arena_array(t->arena, real, 3 * K));
        a.mean = norm->mean;
        var = norm->var;
    }
    for (int k = 0; k < K; k++) {
        a.rstd[k] = 1 / real_sqrt(var[k] + BATCH_NORM_EPSILON);
        a.scale[k] = norm->gamma->x[k] * a.rstd[k];
        a.shift[k] = norm->beta->x[k] - a.mean[k] * a.scale[k];
    }
    return a;
}

ALWAYS_INLINE void relu_rows(int K, int R, const real *restrict h, const real *restrict scale,
                             const real *restrict shift, real *restrict a) {
    for (int r = 0; r < R; r++, h += K, a += K) {
#pragma omp simd
        for (int k = 0; k < K; k++) {
            real z = scale[k] * h[k] + shift[k];
            a[k] = z < 0 ? 0 : z; /* what is not a number stays so */
        }
    }
}

MULTIVERSION static void relu_kernel(int K, int R, const real *h, const real *scale, const real *shift, real *a) {
    WITH_WIDTH(K, relu_rows, R, h, scale, shift, a);
}

/* dz in place of da (R,K); adds to dgamma and dbeta. */
ALWAYS_INLINE void relu_backward_rows(int K, int R, const real *restrict h, const Affine *f, real *restrict dz,
                                      real *restrict dgamma, real *restrict dbeta) {
    const real *restrict scale = f->scale, *restrict shift = f->shift, *restrict mean = f->mean;
    const real *restrict rstd = f->rstd;
    for (int r = 0; r < R; r++, h += K, dz += K) {
#pragma omp simd
        for (int k = 0; k < K; k++) {
            real d = scale[k] * h[k] + shift[k] > 0 ? dz[k] : 0;
            dz[k] = d;
            dbeta[k] += d;
            dgamma[k] += d * (h[k] - mean[k]) * rstd[k];
        }
    }
}

MULTIVERSION static void relu_backward_kernel(int K, int R, const real *h, const Affine *f, real *dz, real *dgamma,
                                              real *dbeta) {
    WITH_WIDTH(K, relu_backward_rows, R, h, f, dz, dgamma, dbeta);
}

/* The last layer has one output: y = ReLU(scale h + shift) w, and all of its way back, without the products between. */
ALWAYS_INLINE void one_output_rows(int K, int R, const real *restrict h, const Affine *f, const real *restrict w,
                                   real *restrict y) {
    const real *restrict scale = f->scale, *restrict shift = f->shift;
    for (int r = 0; r < R; r++, h += K) {
        Narrow sums = {0};
        int k = 0;
        for (; k + 4 <= K; k += 4) {
            Narrow z = *(const Narrow *)(scale + k) * *(const Narrow *)(h + k) + *(const Narrow *)(shift + k);
            sums += narrow_max((Narrow){0}, z) * *(const Narrow *)(w + k);
        }
        real sum = narrow_sum(sums);
        for (; k < K; k++) {
            real z = scale[k] * h[k] + shift[k];
            sum += (z < 0 ? 0 : z) * w[k];
        }
        y[r] += sum;
    }
}

MULTIVERSION static void one_output_kernel(int K, int R, const real *h, const Affine *f, const real *w, real *y) {
    WITH_WIDTH(K, one_output_rows, R, h, f, w, y);
}

/* dy (R); sums: dW, dgamma, dbeta, (K) each */
ALWAYS_INLINE void one_output_sum_rows(int K, int R, const real *restrict h, const Affine *f, const real *restrict w,
                                       const real *restrict dy, real *restrict sums) {
    const real *restrict scale = f->scale, *restrict shift = f->shift, *restrict mean = f->mean;
    const real *restrict rstd = f->rstd;
    real *restrict dW = sums, *restrict dgamma = sums + K, *restrict dbeta = sums + 2 * K;
    for (int r = 0; r < R; r++, h += K) {
#pragma omp simd
        for (int k = 0; k < K; k++) {
            real z = scale[k] * h[k] + shift[k], d = z > 0 ? dy[r] * w[k] : 0;
            dW[k] += (z < 0 ? 0 : z) * dy[r];
            dgamma[k] += d * (h[k] - mean[k]) * rstd[k];
            dbeta[k] += d;
        }
    }
}

MULTIVERSION static void one_output_sums_kernel(int K, int R, const real *h, const Affine *f, const real *w,
                                                const real *dy, real *sums) {
    WITH_WIDTH(K, one_output_sum_rows, R, h, f, w, dy, sums);
}

/* dh = a dz + b h + c by columns (a: f's scale), with dz made again: cheaper than kept. */
ALWAYS_INLINE void one_output_input_rows(int K, int R, const real *restrict h, const Affine *f, const real *restrict w,
                                         const real *restrict dy, const real *restrict b, const real *restrict c,
                                         real *restrict dh) {
    const real *restrict scale = f->scale, *restrict shift = f->shift;
    for (int r = 0; r < R; r++, h += K, dh += K) {
#pragma omp simd
        for (int k = 0; k < K; k++) {
            real dz = dy[r] * w[k], z = scale[k] * h[k] + shift[k];
            dz = z > 0 ? dz : 0;
            dh[k] = scale[k] * dz + (b[k] * h[k] + c[k]);
        }
    }
}

MULTIVERSION static void one_output_input_kernel(int K, int R, const real *h, const Affine *f, const real *w,
                                                 const real *dy, const real *b, const real *c, real *dh) {
    WITH_WIDTH(K, one_output_input_rows, R, h, f, w, dy, b, c, dh);
}

/* dh = a dz + b h + c by columns, in place of dz. */
ALWAYS_INLINE void norm_backward_rows(int K, int R, const real *restrict h, const real *restrict a,
                                      const real *restrict b, const real *restrict c, real *restrict dz) {
    for (int r = 0; r < R; r++, h += K, dz += K) {
#pragma omp simd
        for (int k = 0; k < K; k++)
            dz[k] = a[k] * dz[k] + (b[k] * h[k] + c[k]);
    }
}

MULTIVERSION static void norm_backward_kernel(int K, int R, const real *h, const real *a, const real *b, const real *c,
                                              real *dz) {
    WITH_WIDTH(K, norm_backward_rows, R, h, a, b, c, dz);
}

/* The coefficients of dh = scale dz + b h + c. dgamma, dbeta: sums over these rows alone. Without a norm b = c = 0. */
static void norm_coefficients(const NormReluLinearOp *op, const real *dgamma, const real *dbeta, real *b, real *c) {
    int K = op->h->cols, R = op->h->rows;
    bool is_constant = op->is_running || !op->gamma;
    const Affine *f = &op->affine;
    for (int k = 0; k < K; k++) {
        b[k] = is_constant ? 0 : -f->scale[k] * f->rstd[k] * dgamma[k] / (real)R;
        c[k] = is_constant ? 0 : -f->scale[k] * dbeta[k] / (real)R - b[k] * f->mean[k];
    }
}

/* From dy to dz (R,K); adds to dW, and to sums: dgamma and dbeta, (K) each. */
static void relu_linear_backward(NormReluLinearOp *op, real *dz, real *dgamma, real *dbeta) {
    int K = op->h->cols, M = op->W->cols, R = op->h->rows;
    real *a = arena_array(op->arena, real, (size_t)TILE_ROWS * (size_t)K);
    for (int done = 0; done < R; done += TILE_ROWS) {
        int rows = R - done < TILE_ROWS ? R - done : TILE_ROWS;
        const real *h = op->h->x + (size_t)done * (size_t)K, *dy = op->y->dx + (size_t)done * (size_t)M;
        relu_kernel(K, rows, h, op->affine.scale, op->affine.shift, a);
        linear_matrix_gradient(op->W, 0, a, K, dy, M, rows);
        gemm_nt(rows, K, M, dy, M, op->W->x, M, 0, dz + (size_t)done * (size_t)K, K);
        relu_backward_kernel(K, rows, h, &op->affine, dz + (size_t)done * (size_t)K, dgamma, dbeta);
    }
}

static void backward(void *self) {
    NormReluLinearOp *op = self;
    int K = op->h->cols, M = op->W->cols, R = op->h->rows;
    bool is_first = op->h->dx && op->h->is_fresh;
    real beta, *dx = op->h->dx ? var_target(op->h, &beta) : NULL;
    real *dh = is_first ? dx : arena_array(op->arena, real, (size_t)R * (size_t)K);
    real *sums = arena_zeros(op->arena, real, 3 * K), *dgamma = sums + K, *dbeta = sums + 2 * K;
    real *b = arena_array(op->arena, real, K), *c = arena_array(op->arena, real, K);
    const real *h = op->h->x;
    if (M == 1) {
        one_output_sums_kernel(K, R, h, &op->affine, op->W->x, op->y->dx, sums);
        if (op->W->dx)
            vec_add(var_grad(op->W), sums, (size_t)K);
        norm_coefficients(op, dgamma, dbeta, b, c);
        one_output_input_kernel(K, R, h, &op->affine, op->W->x, op->y->dx, b, c, dh);
    } else {
        relu_linear_backward(op, dh, dgamma, dbeta);
        norm_coefficients(op, dgamma, dbeta, b, c);
        if (op->gamma)
            norm_backward_kernel(K, R, h, op->affine.scale, b, c, dh);
    }
    linear_bias_gradient(op->b, op->y->dx, R, M);
    if (op->gamma) {
        vec_add(var_grad(op->gamma), dgamma, (size_t)K);
        vec_add(var_grad(op->beta), dbeta, (size_t)K);
    }
    if (op->h->dx && !is_first)
        vec_add(dx, dh, var_size(op->h));
}

static Affine identity(Tape *t, int K) {
    Affine a = {.scale = arena_array(t->arena, real, K), .shift = arena_zeros(t->arena, real, K)};
    a.mean = a.shift;
    a.rstd = a.scale;
    for (int k = 0; k < K; k++)
        a.scale[k] = 1;
    return a;
}

/* y holds the bias. */
static void relu_linear(Arena *arena, const Var *h, const Affine *f, const Var *W, Var *y) {
    int K = h->cols, M = W->cols, R = h->rows;
    real *a = arena_array(arena, real, (size_t)TILE_ROWS * (size_t)K);
    for (int done = 0; done < R; done += TILE_ROWS) {
        int rows = R - done < TILE_ROWS ? R - done : TILE_ROWS;
        relu_kernel(K, rows, h->x + (size_t)done * (size_t)K, f->scale, f->shift, a);
        gemm_nn(rows, M, K, a, K, W->x, M, 1, y->x + (size_t)done * (size_t)M, M);
    }
}

Var *op_norm_relu_linear(Tape *t, Var *h, const BatchNorm *norm, Var *W, Var *b) {
    int K = h->cols, M = W->cols, R = h->rows;
    Var *y = tape_var(t, R, M, true);
    Affine f = norm ? make_affine(t, h, norm) : identity(t, K);
    linear_fill_bias(y->x, b, R, M);
    if (M == 1)
        one_output_kernel(K, R, h->x, &f, W->x, y->x);
    else
        relu_linear(t->arena, h, &f, W, y);
    NormReluLinearOp *op = tape_record(t, sizeof *op, backward, y);
    if (op) {
        *op = (NormReluLinearOp){.record = op->record, .arena = t->arena, .h = h, .W = W, .b = b, .y = y};
        op->affine = f;
        op->gamma = norm ? norm->gamma : NULL;
        op->beta = norm ? norm->beta : NULL;
        op->is_running = norm && norm->running_mean;
    }
    return y;
}
