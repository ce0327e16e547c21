/* A GRU over packed sequences, time step by time step over all sequences that are long enough.
 *
 * DESIGN. Rows are reordered by time: sequences sorted by length, longest first, step t is the rows start[t] ..
 * start[t+1), and the s-th of them belongs to the s-th sequence of that order. So the sequences that go on are a prefix
 * of those before, a state's predecessor lies in row start[t-1] + s, and every product of a step is one dense product.
 * The inputs' half of all gates is one product before the first step; gradients of the matrices are products over all
 * rows after the last. */
#include "worker/ops/gru.h"

#include <assert.h>

#include "worker/ops/gemm.h"
#include "worker/ops/linear.h"
#include "worker/ops/simd.h"
#include "worker/ops/vmath.h"

typedef struct GruOp {
    Record record;
    Arena *arena;
    Var *x, *y;
    GruCell cell;
    int D, steps;
    int *start;                   /* (steps+1) */
    uint32_t *place;              /* (P) row in time order -> packed row */
    real *X, *gates, *c, *rh, *h; /* (P,D) (P,2D) (P,D) (P,D) (P,D), in time order; X = input, h = state */
} GruOp;

/* Counting sort by length, longest first; ties keep their order. order (s->n) out. */
static void sort_by_length(const Segments *s, int *first, int *order) {
    memset(first, 0, sizeof *first * (size_t)(s->longest + 2));
    for (int i = 0; i < s->n; i++)
        first[segment_length(s, i)]++;
    for (int n = s->longest, sum = 0; n >= 0; n--) {
        int count = first[n];
        first[n] = sum;
        sum += count;
    }
    for (int i = 0; i < s->n; i++)
        order[first[segment_length(s, i)]++] = i;
}

static void order_by_time(GruOp *op, Arena *a, const Segments *s) {
    int *order = arena_array(a, int, s->n), n = s->n, row = 0;
    op->start = arena_array(a, int, s->longest + 2);
    op->place = arena_array(a, uint32_t, s->offset[s->n]);
    op->steps = s->longest;
    sort_by_length(s, op->start, order);
    for (int t = 0; t < op->steps; t++) {
        op->start[t] = row;
        while (n > 0 && segment_length(s, order[n - 1]) <= t)
            n--;
        for (int i = 0; i < n; i++)
            op->place[row++] = s->offset[order[i]] + (uint32_t)t;
    }
    op->start[op->steps] = row;
}

MULTIVERSION static void gates_kernel(real *restrict gates, const real *restrict h_before, real *restrict rh, int rows,
                                      int D) {
    vec_sigmoid(gates, gates, (size_t)rows * 2 * (size_t)D);
    for (int i = 0; i < rows; i++)
#pragma omp simd
        for (int d = 0; d < D; d++)
            rh[i * D + d] = gates[i * 2 * D + d] * h_before[i * D + d];
}

MULTIVERSION static void state_kernel(const real *restrict gates, const real *restrict c, const real *restrict h_before,
                                      real *restrict h, int rows, int D) {
    for (int i = 0; i < rows; i++)
#pragma omp simd
        for (int d = 0; d < D; d++) {
            real u = gates[i * 2 * D + D + d];
            h[i * D + d] = u * h_before[i * D + d] + (1 - u) * c[i * D + d];
        }
}

static void forward_step(GruOp *op, int t, const real *zeros) {
    int D = op->D, first = op->start[t], rows = op->start[t + 1] - first;
    size_t row = (size_t)first * (size_t)D;
    const real *before = t ? op->h + (size_t)op->start[t - 1] * (size_t)D : zeros;
    const real *Wg = op->cell.Wg->x + D * 2 * D, *Wc = op->cell.Wc->x + D * D;
    if (t)
        gemm_nn(rows, 2 * D, D, before, D, Wg, 2 * D, 1, op->gates + 2 * row, 2 * D);
    gates_kernel(op->gates + 2 * row, before, op->rh + row, rows, D);
    if (t)
        gemm_nn(rows, D, D, op->rh + row, D, Wc, D, 1, op->c + row, D);
    vec_tanh(op->c + row, op->c + row, (size_t)(rows * D));
    state_kernel(op->gates + 2 * row, op->c + row, before, op->h + row, rows, D);
}

/* dh (rows,D) is the whole gradient of the state; writes dc (before tanh) and the update half of dgates (before
 * sigmoid), and puts the direct part of the state before into dh. */
MULTIVERSION static void state_backward_kernel(const real *restrict gates, const real *restrict c,
                                               const real *restrict h_before, real *restrict dh, real *restrict dgates,
                                               real *restrict dc, int rows, int D) {
    for (int i = 0; i < rows; i++)
#pragma omp simd
        for (int d = 0; d < D; d++) {
            real u = gates[i * 2 * D + D + d], cand = c[i * D + d], g = dh[i * D + d];
            dgates[i * 2 * D + D + d] = g * (h_before[i * D + d] - cand) * u * (1 - u);
            dc[i * D + d] = g * (1 - u) * (1 - cand * cand);
            dh[i * D + d] = g * u;
        }
}

MULTIVERSION static void reset_backward_kernel(const real *restrict gates, const real *restrict h_before,
                                               const real *restrict drh, real *restrict dh, real *restrict dgates,
                                               int rows, int D) {
    for (int i = 0; i < rows; i++)
#pragma omp simd
        for (int d = 0; d < D; d++) {
            real r = gates[i * 2 * D + d], g = drh[i * D + d];
            dgates[i * 2 * D + d] = g * h_before[i * D + d] * r * (1 - r);
            dh[i * D + d] += g * r;
        }
}

typedef struct GruGradient {
    real *dh;          /* (B,D) of the state after the step, for the sequences of the step */
    real *drh;         /* (B,D) */
    real *dgates, *dc; /* (P,2D) (P,D) before sigmoid and tanh, in time order */
} GruGradient;

static void backward_step(GruOp *op, GruGradient *g, int t, const real *zeros) {
    int D = op->D, first = op->start[t], rows = op->start[t + 1] - first;
    size_t row = (size_t)first * (size_t)D;
    const real *before = t ? op->h + (size_t)op->start[t - 1] * (size_t)D : zeros;
    const real *Wg = op->cell.Wg->x + D * 2 * D, *Wc = op->cell.Wc->x + D * D;
    for (int i = 0; i < rows; i++)
        vec_add(g->dh + i * D, op->y->dx + op->place[first + i] * (size_t)D, (size_t)D);
    state_backward_kernel(op->gates + 2 * row, op->c + row, before, g->dh, g->dgates + 2 * row, g->dc + row, rows, D);
    gemm_nt(rows, D, D, g->dc + row, D, Wc, D, 0, g->drh, D);
    reset_backward_kernel(op->gates + 2 * row, before, g->drh, g->dh, g->dgates + 2 * row, rows, D);
    if (t)
        gemm_nt(rows, D, 2 * D, g->dgates + 2 * row, 2 * D, Wg, 2 * D, 1, g->dh, D);
}

/* The states before each row, in time order: zeros, then the prefix of every step's states. */
static real *states_before(const GruOp *op) {
    int D = op->D;
    real *out = arena_array(op->arena, real, op->start[op->steps] * D);
    memset(out, 0, sizeof(real) * (size_t)(op->start[op->steps ? 1 : 0] * D));
    for (int t = 1; t < op->steps; t++)
        memcpy(out + op->start[t] * D, op->h + op->start[t - 1] * D,
               sizeof(real) * (size_t)((op->start[t + 1] - op->start[t]) * D));
    return out;
}

static void matrix_gradients(GruOp *op, const GruGradient *g) {
    int D = op->D, P = op->start[op->steps];
    const GruCell *cell = &op->cell;
    if (!cell->Wg->dx)
        return;
    linear_matrix_gradient(cell->Wg, 0, op->X, D, g->dgates, 2 * D, P);
    linear_matrix_gradient(cell->Wg, D, states_before(op), D, g->dgates, 2 * D, P);
    linear_bias_gradient(cell->bg, g->dgates, P, 2 * D);
    linear_matrix_gradient(cell->Wc, 0, op->X, D, g->dc, D, P);
    linear_matrix_gradient(cell->Wc, D, op->rh, D, g->dc, D, P);
    linear_bias_gradient(cell->bc, g->dc, P, D);
}

static void backward(void *self) {
    GruOp *op = self;
    Arena *a = op->arena;
    int D = op->D, P = op->start[op->steps], B = op->steps ? op->start[1] : 0;
    GruGradient g = {.dh = arena_zeros(a, real, B * D), .drh = arena_array(a, real, B * D)};
    g.dgates = arena_array(a, real, P * 2 * D);
    g.dc = arena_array(a, real, P * D);
    const real *zeros = arena_zeros(a, real, B * D);
    for (int t = op->steps - 1; t >= 0; t--)
        backward_step(op, &g, t, zeros);
    matrix_gradients(op, &g);
    if (!op->x->dx)
        return;
    real *dX = arena_array(a, real, P * D), *dx = var_grad(op->x);
    gemm_nt(P, D, 2 * D, g.dgates, 2 * D, op->cell.Wg->x, 2 * D, 0, dX, D);
    gemm_nt(P, D, D, g.dc, D, op->cell.Wc->x, D, 1, dX, D);
    for (int i = 0; i < P; i++)
        vec_add(dx + op->place[i] * (size_t)D, dX + i * D, (size_t)D);
}

Var *op_gru(Tape *t, Var *x, const GruCell *cell, const Segments *s) {
    int P = x->rows, D = x->cols;
    assert(cell->Wg->rows == 2 * D && cell->Wg->cols == 2 * D && cell->Wc->rows == 2 * D && cell->Wc->cols == D);
    Arena *a = t->arena;
    Var *y = tape_var(t, P, D, x->dx || cell->Wg->dx);
    GruOp now = {.arena = a, .x = x, .y = y, .cell = *cell, .D = D};
    order_by_time(&now, a, s);
    now.X = arena_array(a, real, P * D);
    now.gates = arena_array(a, real, P * 2 * D);
    now.c = arena_array(a, real, P * D);
    now.rh = arena_array(a, real, P * D);
    now.h = arena_array(a, real, P * D);
    for (int i = 0; i < P; i++)
        memcpy(now.X + i * D, x->x + now.place[i] * (size_t)D, sizeof(real) * (size_t)D);
    linear_fill_bias(now.gates, cell->bg, P, 2 * D);
    gemm_nn(P, 2 * D, D, now.X, D, cell->Wg->x, 2 * D, 1, now.gates, 2 * D);
    linear_fill_bias(now.c, cell->bc, P, D);
    gemm_nn(P, D, D, now.X, D, cell->Wc->x, D, 1, now.c, D);
    const real *zeros = arena_zeros(a, real, s->n * D);
    for (int step = 0; step < now.steps; step++)
        forward_step(&now, step, zeros);
    for (int i = 0; i < P; i++)
        memcpy(y->x + now.place[i] * (size_t)D, now.h + i * D, sizeof(real) * (size_t)D);
    GruOp *op = tape_record(t, sizeof *op, backward, y);
    if (op) {
        now.record = op->record;
        *op = now;
    }
    return y;
}
