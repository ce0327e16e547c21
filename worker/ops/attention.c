/* Attention, sequence by sequence.
 *
 * DESIGN. A sequence's matrices are copied into scratch whose rows and columns are filled up with zeros to whole
 * vectors, so that the products need no special cases; the scratch of a history of 20 fits the level-1 cache. All
 * products are one routine, block_product(): four rows of C in registers, B read by vectors. Zeros beyond a row's last
 * key make the causal product skip what it must not see, in blocks of a vector. The weights are computed again on the
 * way back: that is cheaper than to keep n^2 numbers for every sequence.
 *
 *   Z = Q K^T / sqrt(D), W = softmax(Z), O = W V
 *   dW = dO V^T,  dZ = W (dW - sum_j W dW),  dQ = dZ K / sqrt(D),  dK = dZ^T Q / sqrt(D),  dV = W^T dO */
#include "worker/ops/attention.h"

#include <assert.h>
#include <math.h>

#include "worker/ops/simd.h"
#include "worker/ops/vmath.h"

enum { LANES = 64 / (int)sizeof(real), BLOCK = 4 };
typedef real Lanes __attribute__((vector_size(64), aligned(sizeof(real))));

typedef struct AttentionOp {
    Record record;
    Arena *arena;
    Var *q, *kv, *residual, *y;
    Segments segments;
    bool is_causal;
} AttentionOp;

/* One sequence's problem: sizes, and scratch of whole vectors. */
typedef struct Head {
    int n_queries, n_keys, D;
    int qs, ks, ds; /* the sizes filled up */
    bool is_causal;
    real scale;                        /* 1/sqrt(D) */
    real *Q, *K, *V, *KT, *W, *O;      /* (qs,ds) (ks,ds) (ks,ds) (ds,ks) (qs,ks) (qs,ds) */
    real *VT, *dO, *dW, *dQ, *dK, *dV; /* likewise; NULL on the way forward */
} Head;

static int fill_up(int n) {
    return (n + LANES - 1) / LANES * LANES;
}

/* Scratch for the longest sequence. */
static Head make_head(Arena *a, const AttentionOp *op, bool is_backward) {
    int longest = op->segments.longest, n_queries = op->is_causal ? longest : op->q->rows, D = op->q->cols;
    int qs = fill_up(n_queries), ks = fill_up(longest), ds = fill_up(D);
    Head h = {.D = D, .ds = ds, .is_causal = op->is_causal, .scale = (real)(1 / sqrt((double)D))};
    real **queries[] = {&h.Q, &h.O, &h.dO, &h.dQ}, **keys[] = {&h.K, &h.V, &h.KT, &h.VT, &h.dK, &h.dV};
    for (int i = 0; i < (is_backward ? 4 : 2); i++)
        *queries[i] = arena_array(a, real, qs * ds);
    for (int i = 0; i < (is_backward ? 6 : 3); i++)
        *keys[i] = arena_array(a, real, ks * ds);
    h.W = arena_array(a, real, qs * ks);
    if (is_backward)
        h.dW = arena_array(a, real, qs * ks);
    return h;
}

static void size_head(Head *h, int n_queries, int n_keys) {
    h->n_queries = n_queries;
    h->n_keys = n_keys;
    h->qs = fill_up(n_queries);
    h->ks = fill_up(n_keys);
}

/* C = A B for BLOCK rows: element (r,k) of A is A[r * ar + k * ak], k in [k0,k1); n_lanes vectors of columns. */
ALWAYS_INLINE void block_product(const real *A, int ar, int ak, const real *B, int ldb, int k0, int k1, int n_lanes,
                                 real *C, int ldc) {
    for (int v = 0; v < n_lanes; v++, B += LANES, C += LANES) {
        Lanes c0 = {0}, c1 = {0}, c2 = {0}, c3 = {0};
        for (int k = k0; k < k1; k++) {
            Lanes b = *(const Lanes *)(B + k * ldb);
            const real *a = A + k * ak;
            c0 += a[0] * b;
            c1 += a[ar] * b;
            c2 += a[2 * ar] * b;
            c3 += a[3 * ar] * b;
        }
        *(Lanes *)C = c0;
        *(Lanes *)(C + ldc) = c1;
        *(Lanes *)(C + 2 * ldc) = c2;
        *(Lanes *)(C + 3 * ldc) = c3;
    }
}

/* Rows x columns of keys that the queries of a block may see. */
ALWAYS_INLINE int keys_end(const Head *h, int block) {
    return h->is_causal && block + BLOCK < h->n_keys ? block + BLOCK : h->n_keys;
}

/* (qs,ks) = X (qs,ds) YT (ds,ks), where it may be seen. */
ALWAYS_INLINE void query_key_product(const Head *h, const real *X, const real *YT, real *out) {
    for (int i = 0; i < h->n_queries; i += BLOCK)
        block_product(X + i * h->ds, h->ds, 1, YT, h->ks, 0, h->D, fill_up(keys_end(h, i)) / LANES, out + i * h->ks,
                      h->ks);
}

/* (qs,ds) = weights (qs,ks) Y (ks,ds) */
ALWAYS_INLINE void weights_product(const Head *h, const real *weights, const real *Y, real *out) {
    for (int i = 0; i < h->n_queries; i += BLOCK)
        block_product(weights + i * h->ks, h->ks, 1, Y, h->ds, 0, keys_end(h, i), h->ds / LANES, out + i * h->ds,
                      h->ds);
}

/* (ks,ds) = weights^T X (qs,ds) */
ALWAYS_INLINE void transposed_product(const Head *h, const real *weights, const real *X, real *out) {
    for (int j = 0; j < h->n_keys; j += BLOCK)
        block_product(weights + j, 1, h->ks, X, h->ds, h->is_causal ? j : 0, h->n_queries, h->ds / LANES,
                      out + j * h->ds, h->ds);
}

/* Row i: softmax over the keys it may see, 0 behind them. */
ALWAYS_INLINE void softmax_rows(const Head *h) {
    for (int i = 0; i < h->n_queries; i++) {
        real *w = h->W + i * h->ks, most, sum = 0;
        int n = h->is_causal ? i + 1 : h->n_keys;
        most = w[0];
#pragma omp simd reduction(max : most)
        for (int j = 0; j < n; j++)
            most = w[j] > most ? w[j] : most;
#pragma omp simd reduction(+ : sum)
        for (int j = 0; j < n; j++) {
            w[j] = real_exp((w[j] - most) * h->scale);
            sum += w[j];
        }
        real share = 1 / sum;
#pragma omp simd
        for (int j = 0; j < n; j++)
            w[j] *= share;
        for (int j = n; j < h->ks; j++)
            w[j] = 0;
    }
}

/* dZ / sqrt(D) in place of dW. */
ALWAYS_INLINE void softmax_rows_backward(const Head *h) {
    for (int i = 0; i < h->n_queries; i++) {
        const real *w = h->W + i * h->ks;
        real *d = h->dW + i * h->ks, dot = 0;
        int n = h->is_causal ? i + 1 : h->n_keys;
#pragma omp simd reduction(+ : dot)
        for (int j = 0; j < n; j++)
            dot += w[j] * d[j];
#pragma omp simd
        for (int j = 0; j < n; j++)
            d[j] = w[j] * (d[j] - dot) * h->scale;
        for (int j = n; j < h->ks; j++)
            d[j] = 0;
    }
}

/* Copies rows (n,D) into (size,ds) scratch, zeros around; and its transpose into (ds,size) if that is not NULL. */
ALWAYS_INLINE void load_rows(const Head *h, const real *from, int ld, int n, int size, real *to, real *transposed) {
    memset(to, 0, sizeof(real) * (size_t)(size * h->ds));
    for (int i = 0; i < n; i++)
        memcpy(to + i * h->ds, from + (size_t)i * (size_t)ld, sizeof(real) * (size_t)h->D);
    if (!transposed)
        return;
    for (int d = 0; d < h->D; d++)
        for (int i = 0; i < size; i++)
            transposed[d * size + i] = to[i * h->ds + d];
}

/* The weights and what they need. q (n_queries,D), kv (n_keys,2D) */
ALWAYS_INLINE void compute_weights(const Head *h, const real *q, const real *kv) {
    load_rows(h, q, h->D, h->n_queries, h->qs, h->Q, NULL);
    load_rows(h, kv, 2 * h->D, h->n_keys, h->ks, h->K, h->KT);
    memset(h->W + h->n_queries * h->ks, 0, sizeof(real) * (size_t)((h->qs - h->n_queries) * h->ks));
    query_key_product(h, h->Q, h->KT, h->W);
    softmax_rows(h);
    for (int i = h->n_queries; i < h->n_queries + BLOCK && i < h->qs; i++)
        memset(h->W + i * h->ks, 0, sizeof(real) * (size_t)h->ks);
}

MULTIVERSION static void forward_sequence(const Head *h, const real *q, const real *kv, const real *residual, real *y) {
    compute_weights(h, q, kv);
    load_rows(h, kv + h->D, 2 * h->D, h->n_keys, h->ks, h->V, NULL);
    weights_product(h, h->W, h->V, h->O);
    for (int i = 0; i < h->n_queries; i++)
        for (int d = 0; d < h->D; d++)
            y[i * h->D + d] = h->O[i * h->ds + d] + residual[i * h->D + d];
}

ALWAYS_INLINE void add_rows(const Head *h, const real *from, int n, real *to, int ld) {
    for (int i = 0; i < n; i++)
        for (int d = 0; d < h->D; d++)
            to[(size_t)i * (size_t)ld + (size_t)d] += from[i * h->ds + d];
}

/* Adds to dq and dkv; each may be NULL. */
MULTIVERSION static void backward_sequence(const Head *h, const real *q, const real *kv, const real *dy, real *dq,
                                           real *dkv) {
    compute_weights(h, q, kv);
    load_rows(h, kv + h->D, 2 * h->D, h->n_keys, h->ks, h->V, h->VT);
    load_rows(h, dy, h->D, h->n_queries, h->qs, h->dO, NULL);
    memset(h->dW, 0, sizeof(real) * (size_t)(h->qs * h->ks));
    query_key_product(h, h->dO, h->VT, h->dW);
    softmax_rows_backward(h);
    if (dq) {
        weights_product(h, h->dW, h->K, h->dQ);
        add_rows(h, h->dQ, h->n_queries, dq, h->D);
    }
    if (dkv) {
        transposed_product(h, h->dW, h->Q, h->dK);
        transposed_product(h, h->W, h->dO, h->dV);
        add_rows(h, h->dK, h->n_keys, dkv, 2 * h->D);
        add_rows(h, h->dV, h->n_keys, dkv + h->D, 2 * h->D);
    }
}

/* First row of sequence i among the queries (the same for all if they are shared) and among the outputs. */
static size_t query_row(const AttentionOp *op, int i) {
    return op->is_causal ? op->segments.offset[i] : 0;
}
static size_t output_row(const AttentionOp *op, int i) {
    return op->is_causal ? op->segments.offset[i] : (size_t)i * (size_t)op->q->rows;
}

static void forward(Arena *arena, const AttentionOp *op) {
    Head h = make_head(arena, op, false);
    size_t D = (size_t)h.D;
    for (int i = 0; i < op->segments.n; i++) {
        int n = segment_length(&op->segments, i);
        size_t row = query_row(op, i) * D;
        size_head(&h, op->is_causal ? n : op->q->rows, n);
        forward_sequence(&h, op->q->x + row, op->kv->x + op->segments.offset[i] * 2 * D, op->residual->x + row,
                         op->y->x + output_row(op, i) * D);
    }
}

static void backward(void *self) {
    AttentionOp *op = self;
    Head h = make_head(op->arena, op, true);
    size_t D = (size_t)h.D;
    real *dq = op->q->dx ? var_grad(op->q) : NULL, *dkv = op->kv->dx ? var_grad(op->kv) : NULL;
    real *dresidual = op->residual->dx ? var_grad(op->residual) : NULL;
    for (int i = 0; i < op->segments.n; i++) {
        int n = segment_length(&op->segments, i);
        size_t row = query_row(op, i) * D, first = op->segments.offset[i] * 2 * D;
        const real *dy = op->y->dx + output_row(op, i) * D;
        size_head(&h, op->is_causal ? n : op->q->rows, n);
        if (dq || dkv)
            backward_sequence(&h, op->q->x + row, op->kv->x + first, dy, dq ? dq + row : NULL,
                              dkv ? dkv + first : NULL);
        if (dresidual)
            vec_add(dresidual + row, dy, (size_t)h.n_queries * D);
    }
}

static Var *attention(Tape *t, Var *q, Var *kv, Var *residual, const Segments *s, bool is_causal) {
    assert(kv->cols == 2 * q->cols && kv->rows == (int)s->offset[s->n]);
    Var *y = tape_var(t, is_causal ? q->rows : s->n * q->rows, q->cols, q->dx || kv->dx || residual->dx);
    AttentionOp now = {.arena = t->arena, .q = q, .kv = kv, .residual = residual, .y = y};
    now.segments = *s;
    now.is_causal = is_causal;
    forward(t->arena, &now);
    AttentionOp *op = tape_record(t, sizeof *op, backward, y);
    if (op) {
        now.record = op->record;
        *op = now;
    }
    return y;
}

Var *op_attention_causal(Tape *t, Var *q, Var *kv, Var *residual, const Segments *s) {
    assert(q->rows == kv->rows);
    return attention(t, q, kv, residual, s, true);
}

Var *op_attention_prototypes(Tape *t, Var *q, Var *kv, const Segments *s) {
    return attention(t, q, kv, q, s, false);
}
