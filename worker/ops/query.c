/* The query's and the key's matrix of an attention, merged. */
#include <assert.h>

#include "worker/ops/attention.h"
#include "worker/ops/gemm.h"
#include "worker/ops/linear.h"
#include "worker/ops/vmath.h"

typedef struct QueryOp {
    Record record;
    Arena *arena;
    Var *a, *Wq, *bq, *Wk, *y;
    real *M; /* (D,D) Wq Wk^T; NULL: Wk^T alone */
} QueryOp;

/* y = a M + c:  M = Wq Wk^T, c = bq Wk^T */
static void forward(QueryOp *op) {
    int R = op->a->rows, D = op->a->cols;
    const real *Wk = op->Wk->x;
    if (!op->M) {
        gemm_nt(R, D, D, op->a->x, D, Wk, D, 0, op->y->x, D);
        return;
    }
    Var c = {.rows = 1, .cols = D, .x = arena_array(op->arena, real, D)};
    for (int i = 0; i < D; i++)
        c.x[i] = vec_dot(op->bq->x, Wk + i * D, (size_t)D);
    gemm_nt(D, D, D, op->Wq->x, D, Wk, D, 0, op->M, D);
    linear_fill_bias(op->y->x, &c, R, D);
    gemm_nn(R, D, D, op->a->x, D, op->M, D, 1, op->y->x, D);
}

/* dWq += dM Wk,  dWk += dM^T Wq + dc^T bq,  dbq += dc Wk, with dM = a^T dy, dc = sum of dy */
static void matrices_backward(QueryOp *op) {
    int R = op->a->rows, D = op->a->cols;
    const real *dy = op->y->dx, *Wk = op->Wk->x;
    real *dM = arena_array(op->arena, real, D * D);
    Var dc = {.rows = 1, .cols = D, .x = NULL, .dx = arena_array(op->arena, real, D), .is_fresh = true};
    real *dWq = var_grad(op->Wq), *dWk = var_grad(op->Wk), *dbq = var_grad(op->bq);
    gemm_tn(D, D, R, op->a->x, D, dy, D, 0, dM, D);
    linear_bias_gradient(&dc, dy, R, D);
    gemm_nn(D, D, D, dM, D, Wk, D, 1, dWq, D);
    gemm_tn(D, D, D, dM, D, op->Wq->x, D, 1, dWk, D);
    for (int i = 0; i < D; i++) {
        vec_add_scaled(dWk + i * D, dc.dx[i], op->bq->x, (size_t)D);
        vec_add_scaled(dbq, dc.dx[i], Wk + i * D, (size_t)D);
    }
}

static void backward(void *self) {
    QueryOp *op = self;
    int R = op->a->rows, D = op->a->cols;
    const real *dy = op->y->dx;
    if (op->a->dx) {
        real beta, *da = var_target(op->a, &beta);
        if (op->M)
            gemm_nt(R, D, D, dy, D, op->M, D, beta, da, D);
        else
            gemm_nn(R, D, D, dy, D, op->Wk->x, D, beta, da, D);
    }
    if (!op->Wk->dx)
        return;
    if (op->M)
        matrices_backward(op);
    else
        gemm_tn(D, D, R, dy, D, op->a->x, D, 1, var_grad(op->Wk), D);
}

Var *op_query(Tape *t, Var *a, Var *Wq, Var *bq, Var *Wk) {
    int D = a->cols;
    assert(Wk->rows == D && Wk->cols == D && !Wq == !bq);
    QueryOp now = {.arena = t->arena, .a = a, .Wq = Wq, .bq = bq, .Wk = Wk};
    now.y = tape_var(t, a->rows, D, a->dx || Wk->dx);
    now.M = Wq ? arena_array(t->arena, real, D * D) : NULL;
    forward(&now);
    QueryOp *op = tape_record(t, sizeof *op, backward, now.y);
    if (op) {
        now.record = op->record;
        *op = now;
    }
    return now.y;
}
