/* Attention, sequence by sequence, over the rows of x themselves: they are keys and values.
 *
 * DESIGN. Histories are short, so the products are done here and not by BLAS, a block of four queries at a time: their
 * scores against the transposed rows, softmax, and the weighted sum of rows; causal blocks stop at the last row that
 * one of their queries may see. The way back goes through the blocks in the same order, so that a block's weights and
 * their gradients stay in the innermost cache, and adds each block's share to the gradient of all rows that it saw. The
 * weights are kept for the way back where histories are short, else computed again: n^2 numbers for each of many long
 * histories would not fit.
 *
 *   Z = Q X^T / sqrt(D), W = softmax(Z), Y = W X
 *   dW = dY X^T,  dZ = W (dW - dY . Y),  dQ = dZ X / sqrt(D),  dX = dZ^T Q / sqrt(D) + W^T dY */
#include "worker/ops/attention.h"

#include <assert.h>

#include "worker/ops/meter.h"
#include "worker/ops/weights.h"

enum { KEPT_LONGEST = 64 };

typedef struct AttentionOp {
    Record record;
    Arena *arena;
    Var *q, *x, *y;
    Segments segments;
    bool is_causal;
    real *weights; /* of all sequences; NULL: not kept */
    real *noted;   /* (rows of y,2) what their softmax noted */
} AttentionOp;

/* One sequence's problem. */
typedef struct Head {
    int n_queries, n_keys, ks; /* ks: keys, filled up to whole vectors */
    bool is_causal;
    real scale;            /* 1/sqrt(D) */
    real *T;               /* (D,ks) the rows, transposed */
    real *W, *dW;          /* a block's, or, where they are kept, W of all blocks */
    bool has_weights;      /* W holds the weights */
    const real *q, *x;     /* (n_queries,D) (n_keys,D) */
    real *y, *noted;       /* (n_queries,D) (n_queries,2) */
    const real *dy;        /* (n_queries,D) */
    real *dq, *dx;         /* NULL: not wanted */
    bool adds_dq, adds_dx; /* to what is there */
} Head;

/* Keys that the block of queries from i on may see, and that query i itself may see. */
ALWAYS_INLINE int keys_end(const Head *h, int i) {
    return h->is_causal ? i + block_rows(i, h->n_queries) : h->n_keys;
}
ALWAYS_INLINE int visible(const Head *h, int i) {
    return h->is_causal ? i + 1 : h->n_keys;
}
ALWAYS_INLINE real *block_weights(const Head *h, int i) {
    return h->has_weights ? h->W + i * h->ks : h->W;
}

/* W of the block from i on; rows behind the last query are 0. */
ALWAYS_INLINE void block_softmax(int D, const Head *h, int i, real *W, bool again) {
    int n_rows = block_rows(i, h->n_queries), end = keys_end(h, i), size = fill_lanes(end);
    score_rows(D, n_rows, h->q + i * D, h->T, h->ks, end, W);
    for (int r = 0; r < n_rows; r++) {
        real *noted = h->noted + 2 * (i + r);
        if (again)
            softmax_row_again(W + r * h->ks, visible(h, i + r), size, h->scale, noted[0], noted[1]);
        else
            softmax_row(W + r * h->ks, visible(h, i + r), size, h->scale, noted, noted + 1);
    }
    for (int r = n_rows; r < BLOCK; r++)
        memset(W + r * h->ks, 0, sizeof(real) * (size_t)size);
}

ALWAYS_INLINE void forward_blocks(int D, const Head *h) {
    transpose_rows(D, h->n_keys, h->x, h->ks, h->T);
    for (int i = 0; i < h->n_queries; i += BLOCK) {
        real *W = block_weights(h, i);
        block_softmax(D, h, i, W, false);
        RowsProduct p = {W, h->x, h->y + i * D, h->ks, D, D, block_rows(i, h->n_queries), keys_end(h, i), false};
        rows_product(D, &p);
    }
}

MULTIVERSION static void forward_sequence(int D, const Head *h) {
    if (D == 20)
        forward_blocks(20, h);
    else if (D == 40)
        forward_blocks(40, h);
    else
        forward_blocks(D, h);
}

/* dx of the rows that a block of queries sees: dx_j += sum_r dZ_rj q_r + W_rj dy_r. */
ALWAYS_INLINE void keys_backward(int D, const Head *h, int i, const real *W) {
    int end = keys_end(h, i);
    RowsOuter o = {.A = h->dW, .X = h->q + i * D, .A2 = W, .X2 = h->dy + i * D, .out = h->dx, .lda = h->ks, .D = D};
    o.n_rows = block_rows(i, h->n_queries);
    o.n = end;
    o.n_old = h->adds_dx || (!h->is_causal && i > 0) ? end : i; /* rows that hold something already */
    rows_outer(D, true, &o);
}

ALWAYS_INLINE void backward_blocks(int D, const Head *h) {
    transpose_rows(D, h->n_keys, h->x, h->ks, h->T);
    for (int i = 0; i < h->n_queries; i += BLOCK) {
        int n_rows = block_rows(i, h->n_queries), end = keys_end(h, i), size = fill_lanes(end);
        real *W = block_weights(h, i);
        if (!h->has_weights)
            block_softmax(D, h, i, W, true);
        score_rows(D, n_rows, h->dy + i * D, h->T, h->ks, end, h->dW);
        for (int r = 0; r < n_rows; r++) {
            int at = (i + r) * D;
            softmax_row_backward(W + r * h->ks, h->dW + r * h->ks, size, h->scale, row_dot(D, h->dy + at, h->y + at));
        }
        for (int r = n_rows; r < BLOCK; r++)
            memset(h->dW + r * h->ks, 0, sizeof(real) * (size_t)size);
        RowsProduct p = {h->dW, h->x, h->dq + i * D, h->ks, D, D, n_rows, end, h->adds_dq};
        if (h->dq)
            rows_product(D, &p);
        if (h->dx)
            keys_backward(D, h, i, W);
    }
}

MULTIVERSION static void backward_sequence(int D, const Head *h) {
    if (D == 20)
        backward_blocks(20, h);
    else if (D == 40)
        backward_blocks(40, h);
    else
        backward_blocks(D, h);
}

/* ---- the batch -------------------------------------------------------------------------------------------------- */

static int query_count(const AttentionOp *op, int n_keys) {
    return op->is_causal ? n_keys : op->q->rows;
}

/* Reals for the weights of a sequence, whole blocks. */
static size_t weights_size(const AttentionOp *op, int n_keys) {
    int n_queries = query_count(op, n_keys);
    return (size_t)((n_queries + BLOCK - 1) / BLOCK * BLOCK) * (size_t)fill_lanes(n_keys);
}

/* Scratch for the longest sequence. */
static Head make_head(const AttentionOp *op, Arena *a) {
    size_t ks = (size_t)fill_lanes(op->segments.longest), D = (size_t)op->q->cols;
    Head h = {.is_causal = op->is_causal, .scale = 1 / real_sqrt((real)D), .has_weights = op->weights};
    h.T = arena_zeros(a, real, D * ks);
    h.W = op->weights ? op->weights : arena_array(a, real, BLOCK * ks);
    h.dW = arena_array(a, real, BLOCK * ks);
    return h;
}

/* Sequence i; h->W goes from one sequence's kept weights to the next one's. */
static void choose_sequence(Head *h, const AttentionOp *op, int i) {
    size_t D = (size_t)op->q->cols, key = op->segments.offset[i];
    size_t query = op->is_causal ? key : 0, out = op->is_causal ? key : (size_t)i * (size_t)op->q->rows;
    if (h->has_weights && i > 0)
        h->W += weights_size(op, h->n_keys);
    h->n_keys = segment_length(&op->segments, i);
    h->n_queries = query_count(op, h->n_keys);
    h->ks = fill_lanes(h->n_keys);
    h->q = op->q->x + query * D;
    h->x = op->x->x + key * D;
    h->y = op->y->x + out * D;
    h->noted = op->noted + 2 * out;
    h->dy = op->y->dx ? op->y->dx + out * D : NULL;
    h->dq = op->q->dx ? op->q->dx + query * D : NULL;
    h->dx = op->x->dx ? op->x->dx + key * D : NULL;
}

static void forward(Tape *t, AttentionOp *op) {
    size_t n = 0;
    meter_enter(METER_ATTENTION);
    for (int i = 0; i < op->segments.n; i++)
        n += weights_size(op, segment_length(&op->segments, i));
    if (op->y->dx && op->segments.longest <= KEPT_LONGEST)
        op->weights = arena_array(t->arena, real, n);
    op->noted = arena_array(t->arena, real, 2 * op->y->rows);
    Head h = make_head(op, t->arena);
    for (int i = 0; i < op->segments.n; i++) {
        choose_sequence(&h, op, i);
        forward_sequence(op->q->cols, &h);
    }
}

static void backward(void *self) {
    AttentionOp *op = self;
    if (!op->q->dx && !op->x->dx)
        return;
    meter_enter(METER_ATTENTION);
    Head h = make_head(op, op->arena);
    real beta_q = 1, beta_x = 1;
    if (op->q->dx && op->is_causal)
        var_target(op->q, &beta_q);
    else if (op->q->dx)
        var_grad(op->q); /* every sequence adds to it */
    if (op->x->dx)
        var_target(op->x, &beta_x);
    h.adds_dq = beta_q != 0;
    h.adds_dx = beta_x != 0;
    for (int i = 0; i < op->segments.n; i++) {
        choose_sequence(&h, op, i);
        backward_sequence(op->q->cols, &h);
    }
}

static Var *attention(Tape *t, Var *q, Var *x, const Segments *s, bool is_causal) {
    assert(q != x && x->cols == q->cols && x->rows == (int)s->offset[s->n]);
    Var *y = tape_var(t, is_causal ? q->rows : s->n * q->rows, q->cols, q->dx || x->dx);
    AttentionOp now = {.arena = t->arena, .q = q, .x = x, .y = y, .segments = *s, .is_causal = is_causal};
    forward(t, &now);
    AttentionOp *op = tape_record(t, sizeof *op, backward, y);
    if (op) {
        now.record = op->record;
        *op = now;
    }
    return y;
}

Var *op_attention_causal(Tape *t, Var *q, Var *x, const Segments *s) {
    assert(q->rows == x->rows);
    return attention(t, q, x, s, true);
}

Var *op_attention_prototypes(Tape *t, Var *q, Var *x, const Segments *s) {
    return attention(t, q, x, s, false);
}
