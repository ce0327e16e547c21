/* Attention, sequence by sequence.
 *
 * DESIGN. Histories are short, so the products are done here and not by BLAS: four rows of the result in registers, the
 * right operand read by vectors, in whole vectors of 64 bytes, then four numbers, then one. Only the keys (and on the
 * way back the values) are copied, transposed and with rows filled up to whole vectors, so that a row of weights is
 * made by whole vectors too; what lies behind a row's last key is masked. Causal products stop at the last key that one
 * of their four rows may see. The weights are kept for the way back where histories are short, else computed again: n^2
 * numbers for each of many long histories would not fit.
 *
 *   Z = Q K^T / sqrt(D), W = softmax(Z), O = W V
 *   dW = dO V^T,  dZ = W (dW - sum_j W dW),  dQ = dZ K / sqrt(D),  dK = dZ^T Q / sqrt(D),  dV = W^T dO */
#include "worker/ops/attention.h"

#include <assert.h>
#include <math.h>

#include "worker/ops/lanes.h"
#include "worker/ops/simd.h"
#include "worker/ops/vmath.h"

enum { BLOCK = 4, KEPT_LONGEST = 64 };

typedef struct AttentionOp {
    Record record;
    Arena *arena;
    Var *q, *kv, *residual, *y;
    Segments segments;
    bool is_causal;
    real *weights; /* of all sequences, (n_queries,ks) each; NULL: not kept */
} AttentionOp;

/* One sequence's problem: sizes and scratch. */
typedef struct Head {
    int n_queries, n_keys, D, ld; /* ld: reals from one key to the next */
    int ks;                       /* keys, filled up to whole vectors */
    bool is_causal;
    real scale;   /* 1/sqrt(D) */
    real *T;      /* (D,ks) keys or values, transposed */
    real *W, *dW; /* (n_queries,ks) */
} Head;

static int fill_up(int n) {
    return (n + LANES - 1) / LANES * LANES;
}

static int query_count(const AttentionOp *op, int longest) {
    return op->is_causal ? longest : op->q->rows;
}

static Head make_head(Arena *a, const AttentionOp *op) {
    int longest = op->segments.longest, D = op->q->cols, ks = fill_up(longest);
    Head h = {.D = D, .ld = 2 * D, .is_causal = op->is_causal, .scale = 1 / real_sqrt((real)D)};
    h.T = arena_zeros(a, real, D * ks);
    h.W = arena_array(a, real, query_count(op, longest) * ks);
    h.dW = arena_array(a, real, query_count(op, longest) * ks);
    return h;
}

static void size_head(Head *h, const AttentionOp *op, int sequence) {
    h->n_keys = segment_length(&op->segments, sequence);
    h->n_queries = query_count(op, h->n_keys);
    h->ks = fill_up(h->n_keys);
}

/* ---- products of four rows ------------------------------------------------------------------------------------------
 */

/* Up to BLOCK rows of a product: element (r,k) of the left operand is A[r * ar + k * ak], rows of the right one are ldb
 * and of the result ldc apart. Where there are fewer rows the last one is computed again and thrown away. */
typedef struct Rows {
    const real *A;
    int ar, ak, ldb, ldc, n_rows, k0, k1;
} Rows;

/* C = or += the columns that one `Type` holds. */
#define DEFINE_COLUMNS(name, Type)                                                                                     \
    ALWAYS_INLINE void name(const Rows *p, const real *B, real *C, bool adds) {                                        \
        int last = p->n_rows - 1;                                                                                      \
        const real *a0 = p->A, *a1 = a0 + (last < 1 ? last : 1) * p->ar, *a2 = a0 + (last < 2 ? last : 2) * p->ar;     \
        const real *a3 = a0 + last * p->ar;                                                                            \
        Type c0 = {0}, c1 = {0}, c2 = {0}, c3 = {0};                                                                   \
        for (int k = p->k0; k < p->k1; k++) {                                                                          \
            Type b = *(const Type *)(B + k * p->ldb);                                                                  \
            int at = k * p->ak;                                                                                        \
            c0 += a0[at] * b;                                                                                          \
            c1 += a1[at] * b;                                                                                          \
            c2 += a2[at] * b;                                                                                          \
            c3 += a3[at] * b;                                                                                          \
        }                                                                                                              \
        Type rows[BLOCK] = {c0, c1, c2, c3};                                                                           \
        for (int r = 0; r < p->n_rows; r++) {                                                                          \
            Type *out = (Type *)(C + r * p->ldc);                                                                      \
            *out = adds ? *out + rows[r] : rows[r];                                                                    \
        }                                                                                                              \
    }
DEFINE_COLUMNS(wide_columns, Wide)
DEFINE_COLUMNS(narrow_columns, Narrow)
DEFINE_COLUMNS(one_column, real)

/* C = or += the product, D columns. */
ALWAYS_INLINE void put_product(const Rows *p, const real *B, int D, real *C, bool adds) {
    int d = 0;
    for (; d + LANES <= D; d += LANES)
        wide_columns(p, B + d, C + d, adds);
    for (; d + 4 <= D; d += 4)
        narrow_columns(p, B + d, C + d, adds);
    for (; d < D; d++)
        one_column(p, B + d, C + d, adds);
}

ALWAYS_INLINE int block_rows(int i, int n) {
    return n - i < BLOCK ? n - i : BLOCK;
}

/* Keys that the block of queries from i on may see. */
ALWAYS_INLINE int keys_end(const Head *h, int i) {
    return h->is_causal ? i + block_rows(i, h->n_queries) : h->n_keys;
}

/* out (n_queries,ks) = X (n_queries,D) T, where it may be seen. */
ALWAYS_INLINE void query_key_product(const Head *h, const real *X, real *out) {
    for (int i = 0; i < h->n_queries; i += BLOCK) {
        Rows p = {X + i * h->D, h->D, 1, h->ks, h->ks, block_rows(i, h->n_queries), 0, h->D};
        int end = keys_end(h, i);
        for (int j = 0; j < end; j += LANES)
            wide_columns(&p, h->T + j, out + i * h->ks + j, false);
    }
}

/* out (n_queries,D) = or += weights (n_queries,ks) Y (n_keys,D) */
ALWAYS_INLINE void weights_product(const Head *h, const real *weights, const real *Y, real *out, bool adds) {
    for (int i = 0; i < h->n_queries; i += BLOCK) {
        Rows p = {weights + i * h->ks, h->ks, 1, h->ld, h->D, block_rows(i, h->n_queries), 0, keys_end(h, i)};
        put_product(&p, Y, h->D, out + i * h->D, adds);
    }
}

/* out (n_keys,D) = or += weights^T X (n_queries,D) */
ALWAYS_INLINE void transposed_product(const Head *h, const real *weights, const real *X, real *out, bool adds) {
    for (int j = 0; j < h->n_keys; j += BLOCK) {
        int first = h->is_causal ? j : 0;
        Rows p = {weights + j, 1, h->ks, h->D, h->ld, block_rows(j, h->n_keys), first, h->n_queries};
        put_product(&p, X, h->D, out + j * h->ld, adds);
    }
}

/* ---- rows of weights -------------------------------------------------------------------------------------------- */

/* Keys that query i may see, and how many numbers of its row have been computed. */
ALWAYS_INLINE int visible(const Head *h, int i) {
    return h->is_causal ? i + 1 : h->n_keys;
}
ALWAYS_INLINE int computed(const Head *h, int i) {
    int end = keys_end(h, i / BLOCK * BLOCK);
    return (end + LANES - 1) / LANES * LANES;
}

/* Row of n visible keys: their softmax, then 0. */
ALWAYS_INLINE void softmax_row(const Head *h, real *w, int n, int size) {
    const Wide zero = {0};
    Wide most = zero - INFINITY, sum = zero;
    for (int j = 0; j < size; j += LANES)
        most = wide_max(wide_first(*(Wide *)(w + j), n - j, zero - INFINITY), most);
    real shift = wide_largest(most);
    for (int j0 = 0; j0 < size; j0 += LANES) {
#pragma omp simd
        for (int j = 0; j < LANES; j++)
            w[j0 + j] = real_exp((w[j0 + j] - shift) * h->scale);
    }
    for (int j = 0; j < size; j += LANES) {
        Wide e = wide_first(*(Wide *)(w + j), n - j, zero);
        *(Wide *)(w + j) = e;
        sum += e;
    }
    real share = 1 / wide_sum(sum);
    for (int j = 0; j < size; j += LANES)
        *(Wide *)(w + j) *= share;
}

/* dZ / sqrt(D) in place of dW. */
ALWAYS_INLINE void softmax_row_backward(const Head *h, const real *w, real *d, int n, int size) {
    const Wide zero = {0};
    Wide products = zero;
    for (int j = 0; j < size; j += LANES) {
        Wide visible_d = wide_first(*(Wide *)(d + j), n - j, zero);
        *(Wide *)(d + j) = visible_d;
        products += *(const Wide *)(w + j) * visible_d;
    }
    real dot = wide_sum(products);
    for (int j = 0; j < size; j += LANES) /* weights behind the last visible key are 0 */
        *(Wide *)(d + j) = *(const Wide *)(w + j) * (*(Wide *)(d + j) - dot) * h->scale;
}

/* T = transpose of rows (n_keys,D). */
ALWAYS_INLINE void transpose(const Head *h, const real *rows) {
    for (int j = 0; j < h->n_keys; j++)
        for (int d = 0; d < h->D; d++)
            h->T[d * h->ks + j] = rows[j * h->ld + d];
}

/* ---- one sequence ----------------------------------------------------------------------------------------------- */

ALWAYS_INLINE void compute_weights(const Head *h, const real *q, const real *k) {
    transpose(h, k);
    query_key_product(h, q, h->W);
    for (int i = 0; i < h->n_queries; i++)
        softmax_row(h, h->W + i * h->ks, visible(h, i), computed(h, i));
}

/* q (n_queries,D), kv (n_keys,2D); y holds the residual. */
MULTIVERSION static void forward_sequence(const Head *h, const real *q, const real *kv, real *y) {
    compute_weights(h, q, kv);
    weights_product(h, h->W, kv + h->D, y, true);
}

/* Where the gradients go; NULL: not wanted. adds_*: add to what is there. */
typedef struct HeadGradient {
    real *dq, *dkv;
    bool adds_q, adds_kv;
} HeadGradient;

MULTIVERSION static void backward_sequence(const Head *h, bool has_weights, const real *q, const real *kv,
                                           const real *dy, const HeadGradient *g) {
    if (!has_weights)
        compute_weights(h, q, kv);
    transpose(h, kv + h->D);
    query_key_product(h, dy, h->dW);
    for (int i = 0; i < h->n_queries; i++)
        softmax_row_backward(h, h->W + i * h->ks, h->dW + i * h->ks, visible(h, i), computed(h, i));
    if (g->dq)
        weights_product(h, h->dW, kv, g->dq, g->adds_q);
    if (g->dkv) {
        transposed_product(h, h->dW, q, g->dkv, g->adds_kv);
        transposed_product(h, h->W, dy, g->dkv + h->D, g->adds_kv);
    }
}

/* ---- the batch -------------------------------------------------------------------------------------------------- */

/* First row of sequence i among the queries (the same for all if they are shared) and among the outputs. */
static size_t query_row(const AttentionOp *op, int i) {
    return op->is_causal ? op->segments.offset[i] : 0;
}
static size_t output_row(const AttentionOp *op, int i) {
    return op->is_causal ? op->segments.offset[i] : (size_t)i * (size_t)op->q->rows;
}

static size_t weights_size(const AttentionOp *op) {
    size_t n = 0;
    for (int i = 0; i < op->segments.n; i++) {
        int n_keys = segment_length(&op->segments, i);
        n += (size_t)query_count(op, n_keys) * (size_t)fill_up(n_keys);
    }
    return n;
}

static void forward(Tape *t, AttentionOp *op) {
    Head h = make_head(t->arena, op);
    size_t D = (size_t)h.D;
    if (op->y->dx && op->segments.longest <= KEPT_LONGEST)
        op->weights = arena_array(t->arena, real, weights_size(op));
    real *kept = op->weights;
    for (int i = 0; i < op->segments.n; i++) {
        size_t row = query_row(op, i) * D;
        real *y = op->y->x + output_row(op, i) * D;
        size_head(&h, op, i);
        if (kept) {
            h.W = kept;
            kept += h.n_queries * h.ks;
        }
        memcpy(y, op->residual->x + row, sizeof(real) * (size_t)h.n_queries * D);
        forward_sequence(&h, op->q->x + row, op->kv->x + op->segments.offset[i] * 2 * D, y);
    }
}

/* dy is a term of the residual's gradient; prototypes get one from every sequence. */
static void residual_backward(AttentionOp *op) {
    size_t n = var_size(op->residual);
    if (op->is_causal) {
        var_add(op->residual, op->y->dx);
        return;
    }
    for (int i = 0; i < op->segments.n; i++)
        vec_add(var_grad(op->residual), op->y->dx + (size_t)i * n, n);
}

static void backward(void *self) {
    AttentionOp *op = self;
    Head h = make_head(op->arena, op);
    size_t D = (size_t)h.D;
    if (op->residual->dx)
        residual_backward(op);
    bool adds_q = op->q->dx && (op->is_causal ? var_beta(op->q) != 0 : var_grad(op->q) != NULL);
    bool adds_kv = op->kv->dx && var_beta(op->kv) != 0;
    real *kept = op->weights;
    for (int i = 0; i < op->segments.n && (op->q->dx || op->kv->dx); i++) {
        size_t row = query_row(op, i) * D, first = op->segments.offset[i] * 2 * D;
        HeadGradient g = {.adds_q = adds_q, .adds_kv = adds_kv};
        g.dq = op->q->dx ? op->q->dx + row : NULL;
        g.dkv = op->kv->dx ? op->kv->dx + first : NULL;
        size_head(&h, op, i);
        if (kept) {
            h.W = kept;
            kept += h.n_queries * h.ks;
        }
        backward_sequence(&h, kept, op->q->x + row, op->kv->x + first, op->y->dx + output_row(op, i) * D, &g);
    }
}

static Var *attention(Tape *t, Var *q, Var *kv, Var *residual, const Segments *s, bool is_causal) {
    assert(kv->cols == 2 * q->cols && kv->rows == (int)s->offset[s->n]);
    Var *y = tape_var(t, is_causal ? q->rows : s->n * q->rows, q->cols, q->dx || kv->dx || residual->dx);
    AttentionOp now = {.arena = t->arena, .q = q, .kv = kv, .residual = residual, .y = y};
    now.segments = *s;
    now.is_causal = is_causal;
    forward(t, &now);
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
