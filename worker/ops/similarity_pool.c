/* The pooling of target attention: an instance's candidates, a block at a time. The weights are kept for the way back.
 *
 *   W = softmax(f), Y = W K
 *   dW = dY K^T,  df = W (dW - dY . Y),  dK = W^T dY */
#include <assert.h>

#include "worker/ops/meter.h"
#include "worker/ops/similarity.h"
#include "worker/ops/weights.h"

typedef struct PairPoolOp {
    Record record;
    Arena *arena;
    Var *f, *k, *y;
    Segments segments;
    int N;
    real *weights; /* of all instances, whole blocks of rows */
} PairPoolOp;

/* One instance. */
typedef struct Pool {
    int N, n, ks;        /* ks: positions, filled up to whole vectors */
    const real *f, *k;   /* (N,n) (n,D) */
    real *W, *y;         /* (N,ks) (N,D) */
    const real *dy;      /* (N,D) */
    real *T, *dW;        /* (D,ks), a block of rows */
    real *df, *dk;       /* dk NULL: not wanted */
    bool adds_f, adds_k; /* to what is there */
} Pool;

ALWAYS_INLINE void pool_forward(int D, const Pool *p) {
    for (int i = 0; i < p->N; i += BLOCK) {
        int n_rows = block_rows(i, p->N);
        real *W = p->W + i * p->ks, noted[2];
        for (int r = 0; r < n_rows; r++) {
            memcpy(W + r * p->ks, p->f + (i + r) * p->n, sizeof(real) * (size_t)p->n);
            softmax_row(W + r * p->ks, p->n, p->ks, 1, noted, noted + 1);
        }
        for (int r = n_rows; r < BLOCK; r++)
            memset(W + r * p->ks, 0, sizeof(real) * (size_t)p->ks);
        RowsProduct product = {W, p->k, p->y + i * D, p->ks, D, D, n_rows, p->n, false};
        rows_product(D, &product);
    }
}

ALWAYS_INLINE void pool_backward(int D, const Pool *p) {
    transpose_rows(D, p->n, p->k, p->ks, p->T);
    for (int i = 0; i < p->N; i += BLOCK) {
        int n_rows = block_rows(i, p->N);
        const real *W = p->W + i * p->ks, *dy = p->dy + i * D;
        score_rows(D, n_rows, dy, p->T, p->ks, p->n, p->dW);
        for (int r = 0; r < n_rows; r++) {
            real *df = p->df + (i + r) * p->n, *d = p->dW + r * p->ks;
            softmax_row_backward(W + r * p->ks, d, p->ks, 1, row_dot(D, dy + r * D, p->y + (i + r) * D));
            if (p->adds_f) {
#pragma omp simd
                for (int j = 0; j < p->n; j++)
                    df[j] += d[j];
            } else {
                memcpy(df, d, sizeof(real) * (size_t)p->n);
            }
        }
        RowsOuter outer = {.A = W, .X = dy, .out = p->dk, .lda = p->ks, .D = D, .n_rows = n_rows, .n = p->n};
        outer.n_old = p->adds_k || i > 0 ? p->n : 0;
        if (p->dk)
            rows_outer(D, false, &outer);
    }
}

MULTIVERSION static void forward_instance(int D, const Pool *p) {
    if (D == 20)
        pool_forward(20, p);
    else if (D == 40)
        pool_forward(40, p);
    else
        pool_forward(D, p);
}

MULTIVERSION static void backward_instance(int D, const Pool *p) {
    if (D == 20)
        pool_backward(20, p);
    else if (D == 40)
        pool_backward(40, p);
    else
        pool_backward(D, p);
}

static size_t weights_size(int N, int n) {
    return (size_t)((N + BLOCK - 1) / BLOCK * BLOCK) * (size_t)fill_lanes(n);
}

/* Instance i; p->W goes from one instance's weights to the next one's. */
static void choose_instance(Pool *p, const PairPoolOp *op, int i) {
    size_t D = (size_t)op->k->cols, key = op->segments.offset[i], pair = key * (size_t)op->N;
    size_t row = (size_t)i * (size_t)op->N;
    p->W = i > 0 ? p->W + weights_size(p->N, p->n) : op->weights;
    p->N = op->N;
    p->n = segment_length(&op->segments, i);
    p->ks = fill_lanes(p->n);
    p->f = op->f->x + pair;
    p->k = op->k->x + key * D;
    p->y = op->y->x + row * D;
    p->dy = op->y->dx ? op->y->dx + row * D : NULL;
    p->df = op->f->dx ? op->f->dx + pair : NULL;
    p->dk = op->k->dx ? op->k->dx + key * D : NULL;
}

static void backward(void *self) {
    PairPoolOp *op = self;
    meter_enter(METER_ATTENTION);
    size_t ks = (size_t)fill_lanes(op->segments.longest), D = (size_t)op->k->cols;
    Pool p = {.T = arena_zeros(op->arena, real, D * ks), .dW = arena_zeros(op->arena, real, BLOCK * ks)};
    real beta_f = 0, beta_k = 0;
    var_target(op->f, &beta_f);
    if (op->k->dx)
        var_target(op->k, &beta_k);
    p.adds_f = beta_f != 0;
    p.adds_k = beta_k != 0;
    for (int i = 0; i < op->segments.n; i++) {
        choose_instance(&p, op, i);
        backward_instance(op->k->cols, &p);
    }
}

Var *op_pair_pool(Tape *t, Var *f, Var *k, const Segments *s, int N) {
    assert(f->cols == 1 && f->rows == k->rows * N);
    Var *y = tape_var(t, s->n * N, k->cols, f->dx || k->dx);
    PairPoolOp now = {.arena = t->arena, .f = f, .k = k, .y = y, .segments = *s, .N = N};
    size_t n = 0;
    meter_enter(METER_ATTENTION);
    for (int i = 0; i < s->n; i++)
        n += weights_size(N, segment_length(s, i));
    now.weights = arena_array(t->arena, real, n);
    Pool p = {0};
    for (int i = 0; i < s->n; i++) {
        choose_instance(&p, &now, i);
        forward_instance(k->cols, &p);
    }
    PairPoolOp *op = tape_record(t, sizeof *op, backward, y);
    if (op) {
        now.record = op->record;
        *op = now;
    }
    return y;
}
