/* Matching an instance's positions with the prototypes, without a row per prototype. */
#include <assert.h>

#include "worker/ops/rows.h"
#include "worker/ops/simd.h"
#include "worker/ops/vmath.h"

typedef struct MatchOp {
    Record record;
    Arena *arena;
    Var *a, *Wp, *bp, *W, *v, *y;
    Segments segments;
    real *u, *scores, sum; /* (D) W v, (P) a u, sum of u */
} MatchOp;

/* y_g = sum_t s_t Wp_tg + bp_g sum(u) */
static void forward(MatchOp *op) {
    size_t D = (size_t)op->a->cols, G = (size_t)op->Wp->cols;
    for (size_t d = 0; d < D; d++)
        op->u[d] = vec_dot(op->W->x + d * D, op->v->x, D);
    op->sum = vec_sum(op->u, D);
    for (int p = 0; p < op->a->rows; p++)
        op->scores[p] = vec_dot(op->a->x + (size_t)p * D, op->u, D);
    memset(op->y->x, 0, var_size(op->y) * sizeof(real));
    for (int i = 0; i < op->segments.n; i++) {
        real *y = op->y->x + (size_t)i * G;
        const real *scores = op->scores + op->segments.offset[i];
        vec_add_scaled(y, op->sum, op->bp->x, G);
        for (int t = 0; t < segment_length(&op->segments, i); t++)
            vec_add_scaled(y, scores[t], op->Wp->x + (size_t)t * G, G);
    }
}

/* The scores' gradients in place of the scores; what they give to Wp and bp. Returns the gradient of sum(u). */
static real scores_backward(MatchOp *op) {
    size_t G = (size_t)op->Wp->cols;
    real *dWp = var_grad(op->Wp), *dbp = var_grad(op->bp), dsum = 0;
    for (int i = 0; i < op->segments.n; i++) {
        const real *dy = op->y->dx + (size_t)i * G;
        real *scores = op->scores + op->segments.offset[i];
        dsum += vec_dot(op->bp->x, dy, G);
        vec_add_scaled(dbp, op->sum, dy, G);
        for (size_t t = 0; t < (size_t)segment_length(&op->segments, i); t++) {
            vec_add_scaled(dWp + t * G, scores[t], dy, G);
            scores[t] = vec_dot(op->Wp->x + t * G, dy, G);
        }
    }
    return dsum;
}

/* da_p = ds_p u,  du = sum_p ds_p a_p + dsum,  dW = du v^T,  dv = W^T du */
static void backward(void *self) {
    MatchOp *op = self;
    size_t D = (size_t)op->a->cols;
    real dsum = scores_backward(op), *du = arena_array(op->arena, real, D);
    real *da = op->a->dx ? var_grad(op->a) : NULL, *dW = var_grad(op->W), *dv = var_grad(op->v);
    for (size_t d = 0; d < D; d++)
        du[d] = dsum;
    for (size_t p = 0; p < (size_t)op->a->rows; p++) {
        vec_add_scaled(du, op->scores[p], op->a->x + p * D, D);
        if (da)
            vec_add_scaled(da + p * D, op->scores[p], op->u, D);
    }
    for (size_t d = 0; d < D; d++) {
        vec_add_scaled(dW + d * D, du[d], op->v->x, D);
        vec_add_scaled(dv, du[d], op->W->x + d * D, D);
    }
}

Var *op_match_groups(Tape *t, Var *a, Var *Wp, Var *bp, Var *W, Var *v, const Segments *s) {
    int D = a->cols;
    assert(s->longest <= Wp->rows && W->rows == D && W->cols == D && v->rows == D && v->cols == 1);
    MatchOp now = {.arena = t->arena, .a = a, .Wp = Wp, .bp = bp, .W = W, .v = v, .segments = *s};
    now.y = tape_var(t, s->n, Wp->cols, a->dx || W->dx);
    now.u = arena_array(t->arena, real, D);
    now.scores = arena_array(t->arena, real, a->rows);
    forward(&now);
    MatchOp *op = tape_record(t, sizeof *op, backward, now.y);
    if (op) {
        now.record = op->record;
        *op = now;
    }
    return now.y;
}
