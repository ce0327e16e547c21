/* The pair layer and the pooling of target attention. */
#include "worker/ops/similarity.h"

#include <assert.h>

#include "worker/ops/gemm.h"
#include "worker/ops/linear.h"
#include "worker/ops/simd.h"
#include "worker/ops/vmath.h"

/* ---- the first layer, split -------------------------------------------------------------------------------------- */

typedef struct PairLayerOp {
    Record record;
    Arena *arena;
    Var *k, *q, *W, *b, *y;
    Segments segments;
    int N;
    real *Wk, *Wq; /* (D,H) Wa + Wc, Wb - Wc */
    real *product; /* (P*N,D) k * q */
} PairLayerOp;

/* Wk = Wa + Wc, Wq = Wb - Wc. */
static void merge_matrices(const Var *W, int D, real *Wk, real *Wq) {
    size_t block = (size_t)D * (size_t)W->cols;
    const real *Wa = W->x, *Wb = Wa + block, *Wc = Wb + block;
    for (size_t i = 0; i < block; i++) {
        Wk[i] = Wa[i] + Wc[i];
        Wq[i] = Wb[i] - Wc[i];
    }
}

/* One candidate: product_t = k_t * q, y_t = from_k_t + from_q. */
ALWAYS_INLINE void pair_rows(int D, int H, int n, const real *restrict k, const real *restrict q,
                             const real *restrict from_k, const real *restrict from_q, real *restrict product,
                             real *restrict y) {
    for (int t = 0; t < n; t++) {
#pragma omp simd
        for (int d = 0; d < D; d++)
            product[t * D + d] = k[t * D + d] * q[d];
#pragma omp simd
        for (int h = 0; h < H; h++)
            y[t * H + h] = from_k[t * H + h] + from_q[h];
    }
}

MULTIVERSION static void pair_kernel(int D, int H, int n, int N, const real *k, const real *q, const real *from_k,
                                     const real *from_q, real *product, real *y) {
    for (int i = 0; i < N; i++, q += D, from_q += H, product += n * D, y += n * H) {
        if (D == 20 && H == 32)
            pair_rows(20, 32, n, k, q, from_k, from_q, product, y);
        else
            pair_rows(D, H, n, k, q, from_k, from_q, product, y);
    }
}

/* One candidate's way back: sums of dy over the positions and over the candidates, and both factors of the product. */
ALWAYS_INLINE void pair_backward_rows(int D, int H, int n, const real *restrict k, const real *restrict q,
                                      const real *restrict dproduct, const real *restrict dy, real *restrict dk,
                                      real *restrict dq, real *restrict dfrom_k, real *restrict dfrom_q) {
    for (int t = 0; t < n; t++) {
#pragma omp simd
        for (int d = 0; d < D; d++) {
            dk[t * D + d] += dproduct[t * D + d] * q[d];
            dq[d] += dproduct[t * D + d] * k[t * D + d];
        }
#pragma omp simd
        for (int h = 0; h < H; h++) {
            dfrom_k[t * H + h] += dy[t * H + h];
            dfrom_q[h] += dy[t * H + h];
        }
    }
}

typedef struct PairGradient {
    real *dk, *dq, *dfrom_k, *dfrom_q; /* (P,D) (B*N,D) (P,H) (B*N,H) */
    const real *dproduct;              /* (P*N,D) */
} PairGradient;

MULTIVERSION static void pair_backward_kernel(const PairLayerOp *op, const PairGradient *g) {
    int D = op->k->cols, H = op->W->cols;
    for (int i = 0; i < op->segments.n; i++) {
        int n = segment_length(&op->segments, i);
        size_t p = op->segments.offset[i];
        for (int c = 0; c < op->N; c++) {
            size_t row = (size_t)i * (size_t)op->N + (size_t)c, pair = p * (size_t)op->N + (size_t)(c * n);
            size_t d = (size_t)D, h = (size_t)H;
            if (D == 20 && H == 32)
                pair_backward_rows(20, 32, n, op->k->x + p * d, op->q->x + row * d, g->dproduct + pair * d,
                                   op->y->dx + pair * h, g->dk + p * d, g->dq + row * d, g->dfrom_k + p * h,
                                   g->dfrom_q + row * h);
            else
                pair_backward_rows(D, H, n, op->k->x + p * d, op->q->x + row * d, g->dproduct + pair * d,
                                   op->y->dx + pair * h, g->dk + p * d, g->dq + row * d, g->dfrom_k + p * h,
                                   g->dfrom_q + row * h);
        }
    }
}

/* dWa = dWk, dWb = dWq, dWc = dWk - dWq; the last block has had its own product. */
static void split_matrix_gradient(Var *W, int D, const real *dWk, const real *dWq) {
    size_t block = (size_t)D * (size_t)W->cols;
    real *dW = var_grad(W);
    for (size_t i = 0; i < block; i++) {
        dW[i] += dWk[i];
        dW[block + i] += dWq[i];
        dW[2 * block + i] += dWk[i] - dWq[i];
    }
}

static void pair_backward(void *self) {
    PairLayerOp *op = self;
    int D = op->k->cols, H = op->W->cols, P = op->k->rows, Q = op->q->rows, R = P * op->N;
    const real *Wd = op->W->x + 3 * (size_t)D * (size_t)H;
    real *dproduct = arena_array(op->arena, real, (size_t)R * (size_t)D);
    gemm_nt(R, D, H, op->y->dx, H, Wd, H, 0, dproduct, D);
    PairGradient g = {.dproduct = dproduct};
    g.dfrom_k = arena_zeros(op->arena, real, (size_t)P * (size_t)H);
    g.dfrom_q = arena_zeros(op->arena, real, (size_t)Q * (size_t)H);
    g.dk = op->k->dx ? var_grad(op->k) : arena_array(op->arena, real, var_size(op->k));
    g.dq = op->q->dx ? var_grad(op->q) : arena_array(op->arena, real, var_size(op->q));
    pair_backward_kernel(op, &g);
    linear_matrix_gradient(op->W, 3 * D, op->product, D, op->y->dx, H, R);
    linear_bias_gradient(op->b, g.dfrom_q, Q, H);
    real *dWk = arena_array(op->arena, real, D * H), *dWq = arena_array(op->arena, real, D * H);
    gemm_tn(D, H, P, op->k->x, D, g.dfrom_k, H, 0, dWk, H);
    gemm_tn(D, H, Q, op->q->x, D, g.dfrom_q, H, 0, dWq, H);
    split_matrix_gradient(op->W, D, dWk, dWq);
    gemm_nt(P, D, H, g.dfrom_k, H, op->Wk, H, 1, g.dk, D);
    gemm_nt(Q, D, H, g.dfrom_q, H, op->Wq, H, 1, g.dq, D);
}

Var *op_pair_layer(Tape *t, Var *k, Var *q, Var *W, Var *b, const Segments *s, int N) {
    int D = k->cols, H = W->cols, P = k->rows, Q = q->rows, R = P * N;
    assert(W->rows == 4 * D && q->cols == D && Q == s->n * N);
    Arena *a = t->arena;
    Var *y = tape_var(t, R, H, true);
    real *Wk = arena_array(a, real, D * H), *Wq = arena_array(a, real, D * H);
    real *from_k = arena_array(a, real, (size_t)P * (size_t)H), *from_q = arena_array(a, real, (size_t)Q * (size_t)H);
    real *product = arena_array(a, real, (size_t)R * (size_t)D);
    merge_matrices(W, D, Wk, Wq);
    gemm_nn(P, H, D, k->x, D, Wk, H, 0, from_k, H);
    linear_fill_bias(from_q, b, Q, H);
    gemm_nn(Q, H, D, q->x, D, Wq, H, 1, from_q, H);
    for (int i = 0; i < s->n; i++) {
        size_t p = s->offset[i], row = (size_t)i * (size_t)N;
        pair_kernel(D, H, segment_length(s, i), N, k->x + p * (size_t)D, q->x + row * (size_t)D, from_k + p * (size_t)H,
                    from_q + row * (size_t)H, product + p * (size_t)N * (size_t)D, y->x + p * (size_t)N * (size_t)H);
    }
    gemm_nn(R, H, D, product, D, W->x + 3 * (size_t)D * (size_t)H, H, 1, y->x, H);
    PairLayerOp *op = tape_record(t, sizeof *op, pair_backward, y);
    if (op)
        *op = (PairLayerOp){op->record, a, k, q, W, b, y, *s, N, Wk, Wq, product};
    return y;
}

/* ---- the pooling
 * ----------------------------------------------------------------------------------------------------- */

typedef struct PairPoolOp {
    Record record;
    Arena *arena;
    Var *f, *k, *y;
    Segments segments;
    int N;
    real *weights; /* (P*N) */
} PairPoolOp;

static void pool_backward(void *self) {
    PairPoolOp *op = self;
    int D = op->k->cols, N = op->N;
    real *df = var_grad(op->f), *dk = op->k->dx ? var_grad(op->k) : NULL;
    real *dweights = arena_array(op->arena, real, op->segments.longest * N);
    for (int i = 0; i < op->segments.n; i++) {
        int n = segment_length(&op->segments, i);
        size_t p = op->segments.offset[i], pair = p * (size_t)N;
        const real *dy = op->y->dx + (size_t)(i * N) * (size_t)D, *k = op->k->x + p * (size_t)D;
        gemm_nt(N, n, D, dy, D, k, D, 0, dweights, n);
        for (int c = 0; c < N; c++)
            vec_softmax_gradient(df + pair + c * n, op->weights + pair + c * n, dweights + c * n, n);
        if (dk)
            gemm_tn(n, D, N, op->weights + pair, n, dy, D, 1, dk + p * (size_t)D, D);
    }
}

Var *op_pair_pool(Tape *t, Var *f, Var *k, const Segments *s, int N) {
    int D = k->cols;
    assert(f->cols == 1 && f->rows == k->rows * N);
    Var *y = tape_var(t, s->n * N, D, f->dx || k->dx);
    real *weights = arena_array(t->arena, real, f->rows);
    memcpy(weights, f->x, sizeof(real) * (size_t)f->rows);
    for (int i = 0; i < s->n; i++) {
        int n = segment_length(s, i);
        real *w = weights + s->offset[i] * (size_t)N;
        for (int c = 0; c < N; c++)
            vec_softmax(w + c * n, n);
        gemm_nn(N, D, n, w, n, k->x + s->offset[i] * (size_t)D, D, 0, y->x + (size_t)(i * N) * (size_t)D, D);
    }
    PairPoolOp *op = tape_record(t, sizeof *op, pool_backward, y);
    if (op)
        *op = (PairPoolOp){op->record, t->arena, f, k, y, *s, N, weights};
    return y;
}
