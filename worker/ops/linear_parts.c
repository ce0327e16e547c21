/* The first layer of a head, split by what depends on the candidate and what does not. */
#include <assert.h>

#include "worker/ops/gemm.h"
#include "worker/ops/linear.h"
#include "worker/ops/vmath.h"

typedef struct LinearPartsOp {
    Record record;
    Arena *arena;
    Var *parts[LINEAR_MAX_PARTS], *W, *b, *y;
    int n_parts, B, N;
} LinearPartsOp;

/* Rows of W that multiply part i begin here. */
static int first_row(Var *const *parts, int i) {
    int row = 0;
    for (int j = 0; j < i; j++)
        row += parts[j]->cols;
    return row;
}

static void part_backward(LinearPartsOp *op, int i, const real *dy, const real *dshared) {
    Var *part = op->parts[i];
    int row = first_row(op->parts, i), M = op->W->cols;
    const real *dpart = part->rows == op->B * op->N ? dy : dshared;
    linear_matrix_gradient(op->W, row, part->x, part->cols, dpart, M, part->rows);
    linear_input_gradient(part, dpart, op->W, row);
}

static void backward(void *self) {
    LinearPartsOp *op = self;
    int M = op->W->cols;
    const real *dy = op->y->dx;
    real *dshared = arena_zeros(op->arena, real, op->B * M); /* sum of dy over an instance's candidates */
    for (int i = 0; i < op->B; i++)
        for (int n = 0; n < op->N; n++)
            vec_add(dshared + (size_t)i * (size_t)M, dy + (size_t)(i * op->N + n) * (size_t)M, (size_t)M);
    linear_bias_gradient(op->b, dshared, op->B, M);
    for (int i = 0; i < op->n_parts; i++)
        part_backward(op, i, dy, dshared);
}

Var *op_linear_parts(Tape *t, Var *const *parts, int n_parts, Var *W, Var *b, int B, int N) {
    int M = W->cols;
    assert(n_parts <= LINEAR_MAX_PARTS && first_row(parts, n_parts) == W->rows);
    Var *y = tape_var(t, B * N, M, true);
    real *shared = arena_array(t->arena, real, B * M);
    linear_fill_bias(shared, b, B, M);
    for (int i = 0; i < n_parts; i++) {
        assert(parts[i]->rows == B || parts[i]->rows == B * N);
        if (parts[i]->rows != B * N)
            gemm_nn(B, M, parts[i]->cols, parts[i]->x, parts[i]->cols, W->x + (size_t)first_row(parts, i) * (size_t)M,
                    M, 1, shared, M);
    }
    for (int i = 0; i < B * N; i++)
        memcpy(y->x + (size_t)i * (size_t)M, shared + (size_t)(i / N) * (size_t)M, sizeof(real) * (size_t)M);
    for (int i = 0; i < n_parts; i++)
        if (parts[i]->rows == B * N)
            gemm_nn(B * N, M, parts[i]->cols, parts[i]->x, parts[i]->cols,
                    W->x + (size_t)first_row(parts, i) * (size_t)M, M, 1, y->x, M);
    LinearPartsOp *op = tape_record(t, sizeof *op, backward, y);
    if (op) {
        *op = (LinearPartsOp){.record = op->record, .arena = t->arena, .W = W, .b = b, .y = y, .n_parts = n_parts};
        op->B = B;
        op->N = N;
        memcpy(op->parts, parts, sizeof *parts * (size_t)n_parts);
    }
    return y;
}
