/* Losses. Sums are kept in double: a mean over thousands of rows is reported, not only differentiated. */
#include "worker/ops/loss.h"

#include <math.h>

#include "worker/ops/vmath.h"

typedef struct LossOp {
    Record record;
    Var *logits;
    const real *dlogits; /* (B*N) */
} LossOp;

static void loss_backward(void *self) {
    LossOp *op = self;
    var_add(op->logits, op->dlogits);
}

static void record_loss(Tape *t, Var *logits, const real *dlogits) {
    if (!t->is_recording || !logits->dx)
        return;
    LossOp *op = tape_record_loss(t, sizeof *op, loss_backward);
    *op = (LossOp){op->record, logits, dlogits};
}

/* loss = log sum exp(l) - l_0,  dl = (softmax(l) - [0]) / instances */
double op_loss_softmax(Tape *t, Var *logits, int N, int instances) {
    int B = logits->rows / N;
    real *d = arena_array(t->arena, real, B * N);
    double loss = 0;
    memcpy(d, logits->x, sizeof(real) * (size_t)(B * N));
    for (int i = 0; i < B; i++) {
        const real *l = logits->x + i * N;
        real *p = d + i * N, most = l[0];
        double sum = 0;
        for (int n = 1; n < N; n++)
            most = l[n] > most ? l[n] : most;
        for (int n = 0; n < N; n++)
            sum += exp((double)(l[n] - most));
        loss += log(sum) - (double)(l[0] - most);
        vec_softmax(p, N);
        p[0] -= 1;
        for (int n = 0; n < N; n++)
            p[n] /= (real)instances;
    }
    record_loss(t, logits, d);
    return loss / instances;
}

/* loss = log(1 + e^l) - y l, written so that nothing overflows;  dl = (sigmoid(l) - y) / (instances N) */
double op_loss_binary(Tape *t, Var *logits, int N, int instances) {
    int B = logits->rows / N;
    real *d = arena_array(t->arena, real, B * N);
    double loss = 0, rows = (double)instances * N;
    for (int i = 0; i < B * N; i++) {
        double l = (double)logits->x[i], y = i % N == 0;
        loss += (l > 0 ? l : 0) + log1p(exp(-fabs(l))) - y * l;
        d[i] = (real)((1 / (1 + exp(-l)) - y) / rows);
    }
    record_loss(t, logits, d);
    return loss / rows;
}

typedef struct SpreadOp {
    Record record;
    Var *group;
    const real *sum; /* (D) of all rows */
    double weight;
} SpreadOp;

/* d/dG_i = -2 weight sum_j (G_i - G_j) = -2 weight (n G_i - sum_j G_j) */
static void spread_backward(void *self) {
    SpreadOp *op = self;
    int n = op->group->rows, D = op->group->cols;
    real *d = var_grad(op->group), factor = (real)(-2 * op->weight);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < D; j++)
            d[i * D + j] += factor * ((real)n * op->group->x[i * D + j] - op->sum[j]);
}

double op_loss_spread(Tape *t, Var *group, double weight) {
    int n = group->rows, D = group->cols;
    double total = 0;
    real *sum = arena_zeros(t->arena, real, D);
    for (int i = 0; i < n; i++) {
        vec_add(sum, group->x + i * D, (size_t)D);
        for (int j = 0; j < i; j++)
            for (int d = 0; d < D; d++) {
                double delta = (double)group->x[i * D + d] - (double)group->x[j * D + d];
                total += delta * delta;
            }
    }
    if (t->is_recording && group->dx) {
        SpreadOp *op = tape_record_loss(t, sizeof *op, spread_backward);
        *op = (SpreadOp){op->record, group, sum, weight};
    }
    return -weight * total;
}
