/* The pair layer of target attention. */
#include "worker/ops/similarity.h"

#include <assert.h>

#include "worker/ops/gemm.h"
#include "worker/ops/linear.h"
#include "worker/ops/panel.h"

/* ---- the first layer, split -------------------------------------------------------------------------------------- */

/* The products k * q of all triples would be as large as everything else together, so they are made, multiplied and
 * forgotten chunk by chunk: whole instances, until there are enough rows for a good product. They are made again on the
 * way back. */
enum { CHUNK_ROWS = 128 };

typedef struct PairLayerOp {
    Record record;
    Arena *arena;
    Var *k, *q, *W, *b, *y;
    Segments segments;
    int N;
    real *Wk, *Wq; /* (D,H) Wa + Wc, Wb - Wc */
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

/* One past the last instance of the chunk that begins with instance `first`. */
static int chunk_end(const PairLayerOp *op, int first) {
    int i = first + 1;
    while (i < op->segments.n && (int)(op->segments.offset[i] - op->segments.offset[first]) * op->N < CHUNK_ROWS)
        i++;
    return i;
}

static int chunk_rows(const PairLayerOp *op, int first, int end) {
    return (int)(op->segments.offset[end] - op->segments.offset[first]) * op->N;
}

/* Real numbers for the products of the largest chunk. */
static size_t chunk_size(const PairLayerOp *op) {
    int most = 0;
    for (int i = 0, end; i < op->segments.n; i = end) {
        end = chunk_end(op, i);
        most = chunk_rows(op, i, end) > most ? chunk_rows(op, i, end) : most;
    }
    return (size_t)most * (size_t)op->k->cols;
}

/* What one candidate meets: its own row, and the rows of its n positions. */
typedef struct Pairs {
    int n;
    const real *k, *q;              /* (n,D) (D) */
    real *from_k, *from_q;          /* (n,H) (H) the shares of y; on the way back their gradients */
    real *product, *y;              /* (n,D) (n,H) */
    real *dk, *dq;                  /* (n,D) (D) */
    bool adds_k, adds_q, adds_from; /* way back: to dk, dq and from_k; else what is there does not matter */
} Pairs;

/* product_t = k_t * q, y_t = from_k_t + from_q. */
ALWAYS_INLINE void pair_rows(int D, int H, const Pairs *p) {
    const real *restrict k = p->k, *restrict q = p->q, *restrict from_k = p->from_k, *restrict from_q = p->from_q;
    real *restrict product = p->product, *restrict y = p->y;
    for (int t = 0; t < p->n; t++) {
#pragma omp simd
        for (int d = 0; d < D; d++)
            product[t * D + d] = k[t * D + d] * q[d];
#pragma omp simd
        for (int h = 0; h < H; h++)
            y[t * H + h] = from_k[t * H + h] + from_q[h];
    }
}

/* product holds the gradient of the products and becomes the products; y holds its gradient. */
ALWAYS_INLINE void pair_rows_backward(int D, int H, const Pairs *p) {
    const real *restrict k = p->k, *restrict q = p->q, *restrict dy = p->y;
    real *restrict product = p->product, *restrict dk = p->dk, *restrict dq = p->dq;
    real *restrict dfrom_k = p->from_k, *restrict dfrom_q = p->from_q;
    memset(dfrom_q, 0, sizeof(real) * (size_t)H);
    if (!p->adds_q)
        memset(dq, 0, sizeof(real) * (size_t)D);
    for (int t = 0; t < p->n; t++) {
#pragma omp simd
        for (int d = 0; d < D; d++) {
            real g = product[t * D + d], at = k[t * D + d];
            dk[t * D + d] = (p->adds_k ? dk[t * D + d] : 0) + g * q[d];
            dq[d] += g * at;
            product[t * D + d] = at * q[d];
        }
#pragma omp simd
        for (int h = 0; h < H; h++) {
            dfrom_k[t * H + h] = (p->adds_from ? dfrom_k[t * H + h] : 0) + dy[t * H + h];
            dfrom_q[h] += dy[t * H + h];
        }
    }
}

/* The same with the candidate's sums in registers. */
ALWAYS_INLINE void pair_panels_backward(int D, int H, const Pairs *p) {
    const Panel zero = {0}, q = panel_load(D, p->q);
    Panel dq = p->adds_q ? panel_load(D, p->dq) : zero, dfrom_q = zero;
    for (int t = 0; t < p->n; t++) {
        real *product = p->product + t * D, *dk = p->dk + t * D, *from_k = p->from_k + t * H;
        Panel g = panel_load(D, product), k = panel_load(D, p->k + t * D), dy = panel_load(H, p->y + t * H);
        Panel sum_k = p->adds_k ? panel_load(D, dk) : zero, sum_from = p->adds_from ? panel_load(H, from_k) : zero;
        Panel now = zero;
        panel_add_product(D, &sum_k, &g, &q);
        panel_add_product(D, &dq, &g, &k);
        panel_add_product(D, &now, &k, &q);
        panel_add(H, &sum_from, 1, &dy);
        panel_add(H, &dfrom_q, 1, &dy);
        panel_store(D, dk, &sum_k);
        panel_store(D, product, &now);
        panel_store(H, from_k, &sum_from);
    }
    panel_store(D, p->dq, &dq);
    panel_store(H, p->from_q, &dfrom_q);
}

/* The usual widths as constants. */
ALWAYS_INLINE void pair_rows_by_width(int D, int H, const Pairs *p, bool is_backward) {
    if (D == 20 && H == 32)
        is_backward ? pair_panels_backward(20, 32, p) : pair_rows(20, 32, p);
    else if (D == 40 && H == 32)
        is_backward ? pair_panels_backward(40, 32, p) : pair_rows(40, 32, p);
    else
        is_backward ? pair_rows_backward(D, H, p) : pair_rows(D, H, p);
}

/* All pairs of the instances first .. end. all: the first instance's pointers, of whole arrays but for product. */
MULTIVERSION static void pair_kernel(const PairLayerOp *op, int first, int end, Pairs all, bool is_backward) {
    int D = op->k->cols, H = op->W->cols;
    real *product = all.product;
    for (int i = first; i < end; i++) {
        int n = segment_length(&op->segments, i);
        size_t p = op->segments.offset[i], d = (size_t)D, h = (size_t)H;
        for (int c = 0; c < op->N; c++) {
            size_t row = (size_t)i * (size_t)op->N + (size_t)c, pair = p * (size_t)op->N + (size_t)(c * n);
            Pairs now = {n,
                         all.k + p * d,
                         all.q + row * d,
                         all.from_k + p * h,
                         all.from_q + row * h,
                         product,
                         all.y + pair * h,
                         NULL,
                         NULL,
                         all.adds_k || c > 0,
                         all.adds_q,
                         c > 0};
            if (is_backward) {
                now.dk = all.dk + p * d;
                now.dq = all.dq + row * d;
            }
            pair_rows_by_width(D, H, &now, is_backward);
            product += n * D;
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

/* The rows of the pairs: gradients of the products, and the sums over candidates and over positions. */
static void pairs_backward(PairLayerOp *op, Pairs *g) {
    int D = op->k->cols, H = op->W->cols;
    const real *Wd = op->W->x + 3 * (size_t)D * (size_t)H;
    for (int i = 0, end; i < op->segments.n; i = end) {
        end = chunk_end(op, i);
        int rows = chunk_rows(op, i, end);
        const real *dy = op->y->dx + (size_t)op->segments.offset[i] * (size_t)(op->N * H);
        gemm_nt(rows, D, H, dy, H, Wd, H, 0, g->product, D);
        pair_kernel(op, i, end, *g, true);
        linear_matrix_gradient(op->W, 3 * D, g->product, D, dy, H, rows);
    }
}

static void pair_backward(void *self) {
    PairLayerOp *op = self;
    Arena *a = op->arena;
    int D = op->k->cols, H = op->W->cols, P = op->k->rows, Q = op->q->rows;
    Pairs g = {.k = op->k->x, .q = op->q->x, .y = op->y->dx, .product = arena_array(a, real, chunk_size(op))};
    g.from_k = arena_array(a, real, (size_t)P * (size_t)H);
    g.from_q = arena_array(a, real, (size_t)Q * (size_t)H);
    real beta_k = 0, beta_q = 0;
    g.dk = op->k->dx ? var_target(op->k, &beta_k) : arena_array(a, real, var_size(op->k));
    g.dq = op->q->dx ? var_target(op->q, &beta_q) : arena_array(a, real, var_size(op->q));
    g.adds_k = beta_k != 0;
    g.adds_q = beta_q != 0;
    pairs_backward(op, &g);
    linear_bias_gradient(op->b, g.from_q, Q, H);
    real *dWk = arena_array(a, real, D * H), *dWq = arena_array(a, real, D * H);
    gemm_tn(D, H, P, op->k->x, D, g.from_k, H, 0, dWk, H);
    gemm_tn(D, H, Q, op->q->x, D, g.from_q, H, 0, dWq, H);
    split_matrix_gradient(op->W, D, dWk, dWq);
    gemm_nt(P, D, H, g.from_k, H, op->Wk, H, 1, g.dk, D);
    gemm_nt(Q, D, H, g.from_q, H, op->Wq, H, 1, g.dq, D);
}

static void pair_forward(PairLayerOp *op) {
    Arena *a = op->arena;
    int D = op->k->cols, H = op->W->cols, P = op->k->rows, Q = op->q->rows;
    Pairs f = {.k = op->k->x, .q = op->q->x, .y = op->y->x, .product = arena_array(a, real, chunk_size(op))};
    f.from_k = arena_array(a, real, (size_t)P * (size_t)H);
    f.from_q = arena_array(a, real, (size_t)Q * (size_t)H);
    gemm_nn(P, H, D, op->k->x, D, op->Wk, H, 0, f.from_k, H);
    linear_fill_bias(f.from_q, op->b, Q, H);
    gemm_nn(Q, H, D, op->q->x, D, op->Wq, H, 1, f.from_q, H);
    for (int i = 0, end; i < op->segments.n; i = end) {
        end = chunk_end(op, i);
        pair_kernel(op, i, end, f, false);
        gemm_nn(chunk_rows(op, i, end), H, D, f.product, D, op->W->x + 3 * (size_t)D * (size_t)H, H, 1,
                op->y->x + (size_t)op->segments.offset[i] * (size_t)(op->N * H), H);
    }
}

/* ---- many candidates -------------------------------------------------------------------------------------------- */

/* Where an instance has many candidates and no way back is wanted, what a position does to a candidate is one matrix:
 *   [k, q, k-q, k*q] W + b = q (Wq + diag(k) Wd) + (k Wk + b)
 * The matrices of an instance's n positions side by side, (D,n H), make all of its pairs in one product, in the order
 * that y has. A matrix costs as much as a candidate's products, hence "many". */
enum { MANY_CANDIDATES = 32 };

/* M (D,n H) of the positions k (n,D). */
ALWAYS_INLINE void position_matrices(int H, int D, int n, const real *restrict k, const real *restrict Wq,
                                     const real *restrict Wd, real *restrict M) {
    for (int d = 0; d < D; d++) {
        for (int t = 0; t < n; t++, M += H) {
#pragma omp simd
            for (int h = 0; h < H; h++)
                M[h] = Wq[d * H + h] + k[t * D + d] * Wd[d * H + h];
        }
    }
}

MULTIVERSION static void position_matrices_kernel(int H, int D, int n, const real *k, const real *Wq, const real *Wd,
                                                  real *M) {
    WITH_WIDTH(H, position_matrices, D, n, k, Wq, Wd, M);
}

static void many_forward(PairLayerOp *op) {
    int D = op->k->cols, H = op->W->cols, most = op->segments.longest * H;
    real *M = arena_array(op->arena, real, (size_t)D * (size_t)most), *shift = arena_array(op->arena, real, most);
    for (int i = 0; i < op->segments.n; i++) {
        int n = segment_length(&op->segments, i), width = n * H;
        const real *k = op->k->x + op->segments.offset[i] * (size_t)D;
        const real *q = op->q->x + (size_t)i * (size_t)op->N * (size_t)D;
        real *y = op->y->x + op->segments.offset[i] * (size_t)op->N * (size_t)H;
        position_matrices_kernel(H, D, n, k, op->Wq, op->W->x + 3 * (size_t)D * (size_t)H, M);
        linear_fill_bias(shift, op->b, n, H);
        gemm_nn(n, H, D, k, D, op->Wk, H, 1, shift, H);
        for (int c = 0; c < op->N; c++)
            memcpy(y + (size_t)c * (size_t)width, shift, sizeof(real) * (size_t)width);
        gemm_nn(op->N, width, D, q, D, M, width, 1, y, width);
    }
}

Var *op_pair_layer(Tape *t, Var *k, Var *q, Var *W, Var *b, const Segments *s, int N) {
    int D = k->cols, H = W->cols;
    assert(W->rows == 4 * D && q->cols == D && q->rows == s->n * N);
    PairLayerOp now = {.arena = t->arena, .k = k, .q = q, .W = W, .b = b, .segments = *s, .N = N};
    now.y = tape_var(t, k->rows * N, H, true);
    now.Wk = arena_array(t->arena, real, D * H);
    now.Wq = arena_array(t->arena, real, D * H);
    merge_matrices(W, D, now.Wk, now.Wq);
    if (!t->is_recording && N >= MANY_CANDIDATES)
        many_forward(&now);
    else
        pair_forward(&now);
    PairLayerOp *op = tape_record(t, sizeof *op, pair_backward, now.y);
    if (op) {
        now.record = op->record;
        *op = now;
    }
    return now.y;
}
