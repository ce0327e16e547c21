/* Products of a few rows at a time, in registers: what attention is made of. */
#ifndef MANGROVE_WORKER_OPS_PANEL_ROWS_H
#define MANGROVE_WORKER_OPS_PANEL_ROWS_H

#include <stdbool.h>

#include "worker/ops/panel.h"

enum { BLOCK = 4 }; /* rows at a time */

/* C (n_rows,width) = or += A (n_rows,K) B (K,width). Where there are fewer than BLOCK rows the last one is computed
 * again and thrown away. */
typedef struct RowsProduct {
    const real *A, *B;
    real *C;
    int lda, ldb, ldc, n_rows, K;
    bool adds;
} RowsProduct;

ALWAYS_INLINE void panel_product(int width, const RowsProduct *p, int column) {
    int last = p->n_rows - 1;
    const real *a0 = p->A, *a1 = a0 + (last < 1 ? last : 1) * p->lda, *a2 = a0 + (last < 2 ? last : 2) * p->lda;
    const real *a3 = a0 + last * p->lda, *B = p->B + column;
    Panel c0 = {0}, c1 = {0}, c2 = {0}, c3 = {0};
    for (int k = 0; k < p->K; k++) {
        Panel b = panel_load(width, B + k * p->ldb);
        panel_add(width, &c0, a0[k], &b);
        panel_add(width, &c1, a1[k], &b);
        panel_add(width, &c2, a2[k], &b);
        panel_add(width, &c3, a3[k], &b);
    }
    const Panel *rows[BLOCK] = {&c0, &c1, &c2, &c3};
#pragma GCC unroll 4
    for (int r = 0; r < BLOCK; r++) {
        if (r > last)
            break;
        real *C = p->C + r * p->ldc + column;
        Panel sum = *rows[r];
        if (p->adds) {
            Panel before = panel_load(width, C);
            panel_add(width, &sum, 1, &before);
        }
        panel_store(width, C, &sum);
    }
}

ALWAYS_INLINE void column_product(const RowsProduct *p, int column) {
    for (int r = 0; r < p->n_rows; r++) {
        real sum = 0;
        for (int k = 0; k < p->K; k++)
            sum += p->A[r * p->lda + k] * p->B[k * p->ldb + column];
        real *C = p->C + r * p->ldc + column;
        *C = p->adds ? *C + sum : sum;
    }
}

/* All D columns. */
ALWAYS_INLINE void rows_product(int D, const RowsProduct *p) {
    int d = 0;
    if (D == 20 || D == 40) {
        panel_product(D, p, 0);
        return;
    }
    for (; d + LANES <= D; d += LANES)
        panel_product(LANES, p, d);
    for (; d + 4 <= D; d += 4)
        panel_product(4, p, d);
    for (; d < D; d++)
        column_product(p, d);
}

/* out_j (D) = or += sum over n_rows of A_rj X_r + A2_rj X2_r, j < n; the first n_old rows of out are added to. A always
 * has BLOCK rows, 0 behind n_rows. A2 NULL: without the second term. */
typedef struct RowsOuter {
    const real *A, *X, *A2, *X2;
    real *out;
    int lda, D, n_rows, n, n_old;
} RowsOuter;

ALWAYS_INLINE void panel_outer(int width, bool has_second, const RowsOuter *o, int column) {
    Panel x[BLOCK], x2[BLOCK];
#pragma GCC unroll 4
    for (int r = 0; r < BLOCK; r++) {
        int row = (r < o->n_rows ? r : o->n_rows - 1) * o->D + column;
        x[r] = panel_load(width, o->X + row);
        if (has_second)
            x2[r] = panel_load(width, o->X2 + row);
    }
    for (int j = 0; j < o->n; j++) {
        real *out = o->out + j * o->D + column;
        Panel sum = {0};
        if (j < o->n_old)
            sum = panel_load(width, out);
#pragma GCC unroll 4
        for (int r = 0; r < BLOCK; r++) {
            panel_add(width, &sum, o->A[r * o->lda + j], &x[r]);
            if (has_second)
                panel_add(width, &sum, o->A2[r * o->lda + j], &x2[r]);
        }
        panel_store(width, out, &sum);
    }
}

ALWAYS_INLINE void column_outer(bool has_second, const RowsOuter *o, int column) {
    for (int j = 0; j < o->n; j++) {
        real sum = j < o->n_old ? o->out[j * o->D + column] : 0;
        for (int r = 0; r < o->n_rows; r++) {
            sum += o->A[r * o->lda + j] * o->X[r * o->D + column];
            if (has_second)
                sum += o->A2[r * o->lda + j] * o->X2[r * o->D + column];
        }
        o->out[j * o->D + column] = sum;
    }
}

ALWAYS_INLINE void rows_outer(int D, bool has_second, const RowsOuter *o) {
    int d = 0;
    if (D == 20 || D == 40) {
        panel_outer(D, has_second, o, 0);
        return;
    }
    for (; d + LANES <= D; d += LANES)
        panel_outer(LANES, has_second, o, d);
    for (; d + 4 <= D; d += 4)
        panel_outer(4, has_second, o, d);
    for (; d < D; d++)
        column_outer(has_second, o, d);
}

#endif
