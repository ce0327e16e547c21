/* Gathers and sums of rows. */
#include "worker/ops/rows.h"

#include <assert.h>

#include "worker/ops/meter.h"
#include "worker/ops/vmath.h"

/* ---- gather ---------------------------------------------------------------------------------------------------- */

typedef struct GatherOp {
    Record record;
    Var *table, *position, *y; /* position NULL: plain rows */
    const uint32_t *index;
    Segments segments;
} GatherOp;

static void gather_backward(void *self) {
    GatherOp *op = self;
    size_t D = (size_t)op->y->cols;
    meter_enter(METER_ROWS);
    real *dtable = var_grad(op->table);
    for (int i = 0; i < op->y->rows; i++)
        vec_add(dtable + op->index[i] * D, op->y->dx + (size_t)i * D, D);
}

Var *op_gather(Tape *t, Var *table, const uint32_t *index, int n) {
    size_t D = (size_t)table->cols;
    Var *y = tape_var(t, n, table->cols, table->dx);
    meter_enter(METER_ROWS);
    for (int i = 0; i < n; i++)
        memcpy(y->x + (size_t)i * D, table->x + index[i] * D, D * sizeof(real));
    GatherOp *op = tape_record(t, sizeof *op, gather_backward, y);
    if (op)
        *op = (GatherOp){.record = op->record, .table = table, .y = y, .index = index};
    return y;
}

static void embed_backward(void *self) {
    GatherOp *op = self;
    meter_enter(METER_ROWS);
    if (op->table->dx)
        gather_backward(self);
    if (!op->position->dx)
        return;
    size_t D = (size_t)op->y->cols;
    real *dposition = var_grad(op->position);
    for (int i = 0; i < op->segments.n; i++) /* a sequence's rows meet the first rows of the table, in order */
        vec_add(dposition, op->y->dx + op->segments.offset[i] * D, (size_t)segment_length(&op->segments, i) * D);
}

Var *op_embed(Tape *t, Var *table, const uint32_t *index, Var *position, const Segments *s) {
    size_t D = (size_t)table->cols;
    assert(s->longest <= position->rows && position->cols == table->cols);
    Var *y = tape_var(t, (int)s->offset[s->n], table->cols, table->dx || position->dx);
    meter_enter(METER_ROWS);
    for (int i = 0; i < y->rows; i++)
        memcpy(y->x + (size_t)i * D, table->x + index[i] * D, D * sizeof(real));
    for (int i = 0; i < s->n; i++)
        vec_add(y->x + s->offset[i] * D, position->x, (size_t)segment_length(s, i) * D);
    GatherOp *op = tape_record(t, sizeof *op, embed_backward, y);
    if (op)
        *op = (GatherOp){op->record, table, position, y, index, *s};
    return y;
}

/* ---- sums ------------------------------------------------------------------------------------------------------ */

typedef struct AddOp {
    Record record;
    Var *a, *b, *y;
} AddOp;

static void add_backward(void *self) {
    AddOp *op = self;
    if (op->a->dx)
        var_add(op->a, op->y->dx);
    if (op->b->dx)
        var_add(op->b, op->y->dx);
}

Var *op_add(Tape *t, Var *a, Var *b) {
    assert(a->rows == b->rows && a->cols == b->cols);
    Var *y = tape_var(t, a->rows, a->cols, a->dx || b->dx);
    memcpy(y->x, a->x, var_size(a) * sizeof(real));
    vec_add(y->x, b->x, var_size(b));
    AddOp *op = tape_record(t, sizeof *op, add_backward, y);
    if (op)
        *op = (AddOp){op->record, a, b, y};
    return y;
}

typedef struct MeanOp {
    Record record;
    Var *x, *y;
    Segments segments;
} MeanOp;

static void mean_backward(void *self) {
    MeanOp *op = self;
    size_t D = (size_t)op->x->cols;
    real *dx = var_grad(op->x);
    for (int i = 0; i < op->segments.n; i++) {
        const real *dy = op->y->dx + (size_t)i * D;
        real share = 1 / (real)segment_length(&op->segments, i);
        for (uint32_t p = op->segments.offset[i]; p < op->segments.offset[i + 1]; p++)
            vec_add_scaled(dx + p * D, share, dy, D);
    }
}

Var *op_mean_segments(Tape *t, Var *x, const Segments *s) {
    size_t D = (size_t)x->cols;
    Var *y = tape_var(t, s->n, x->cols, x->dx);
    memset(y->x, 0, var_size(y) * sizeof(real));
    for (int i = 0; i < s->n; i++) {
        real share = 1 / (real)segment_length(s, i);
        for (uint32_t p = s->offset[i]; p < s->offset[i + 1]; p++)
            vec_add_scaled(y->x + (size_t)i * D, share, x->x + p * D, D);
    }
    MeanOp *op = tape_record(t, sizeof *op, mean_backward, y);
    if (op)
        *op = (MeanOp){op->record, x, y, *s};
    return y;
}

/* ---- weights over groups ----------------------------------------------------------------------------------------- */

typedef struct SoftmaxOp {
    Record record;
    Var *x, *y;
} SoftmaxOp;

static void softmax_backward(void *self) {
    SoftmaxOp *op = self;
    int n = op->y->rows, G = op->y->cols;
    real *dx = var_grad(op->x);
    for (int i = 0; i < n; i++)
        vec_softmax_gradient(dx + i * G, op->y->x + i * G, op->y->dx + i * G, G);
}

Var *op_softmax_groups(Tape *t, Var *x, int G) {
    int n = (int)(var_size(x) / (size_t)G);
    Var *y = tape_var(t, n, G, x->dx);
    assert(var_size(y) == var_size(x));
    memcpy(y->x, x->x, var_size(x) * sizeof(real));
    for (int i = 0; i < n; i++)
        vec_softmax(y->x + i * G, G);
    SoftmaxOp *op = tape_record(t, sizeof *op, softmax_backward, y);
    if (op)
        *op = (SoftmaxOp){op->record, x, y};
    return y;
}

typedef struct WeightedSumOp {
    Record record;
    Var *w, *x, *y;
} WeightedSumOp;

static void weighted_sum_backward(void *self) {
    WeightedSumOp *op = self;
    size_t D = (size_t)op->x->cols, G = (size_t)op->w->cols;
    real *dw = op->w->dx ? var_grad(op->w) : NULL, *dx = op->x->dx ? var_grad(op->x) : NULL;
    for (size_t i = 0; i < (size_t)op->x->rows; i++) {
        const real *dy = op->y->dx + i / G * D;
        if (dw)
            dw[i] += vec_dot(op->x->x + i * D, dy, D);
        if (dx)
            vec_add_scaled(dx + i * D, op->w->x[i], dy, D);
    }
}

Var *op_weighted_sum(Tape *t, Var *w, Var *x) {
    size_t D = (size_t)x->cols, G = (size_t)w->cols;
    assert((size_t)x->rows == var_size(w));
    Var *y = tape_var(t, w->rows, x->cols, w->dx || x->dx);
    memset(y->x, 0, var_size(y) * sizeof(real));
    for (size_t i = 0; i < (size_t)x->rows; i++)
        vec_add_scaled(y->x + i / G * D, w->x[i], x->x + i * D, D);
    WeightedSumOp *op = tape_record(t, sizeof *op, weighted_sum_backward, y);
    if (op)
        *op = (WeightedSumOp){op->record, w, x, y};
    return y;
}
