/* Rows of attention weights, a block of rows at a time: scores against transposed keys, their softmax, and its way
 * back. Inline, for kernels that are compiled for several processors.
 *
 * A row of weights has `ks` numbers, its keys filled up to whole vectors; behind the last visible key weights are 0. A
 * block always has BLOCK rows in memory; those behind the last one are 0. */
#ifndef MANGROVE_WORKER_OPS_WEIGHTS_H
#define MANGROVE_WORKER_OPS_WEIGHTS_H

#include <math.h>
#include <string.h>

#include "worker/ops/panel_rows.h"
#include "worker/ops/vmath.h"

ALWAYS_INLINE int fill_lanes(int n) {
    return (n + LANES - 1) / LANES * LANES;
}
ALWAYS_INLINE int block_rows(int first, int n) {
    return n - first < BLOCK ? n - first : BLOCK;
}

/* T (D,ks) = transpose of rows (n,D), four by four where there are so many. */
ALWAYS_INLINE void transpose_rows(int D, int n, const real *rows, int ks, real *T) {
    int j = 0;
    for (; j + 4 <= n; j += 4, rows += 4 * D) {
        int d = 0;
        for (; d + 4 <= D; d += 4) {
            Narrow a = *(const Narrow *)(rows + d), b = *(const Narrow *)(rows + D + d);
            Narrow c = *(const Narrow *)(rows + 2 * D + d), e = *(const Narrow *)(rows + 3 * D + d);
            Narrow ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), ce = __builtin_shufflevector(c, e, 0, 4, 1, 5);
            *(Narrow *)(T + d * ks + j) = __builtin_shufflevector(ab, ce, 0, 1, 4, 5);
            *(Narrow *)(T + (d + 1) * ks + j) = __builtin_shufflevector(ab, ce, 2, 3, 6, 7);
            ab = __builtin_shufflevector(a, b, 2, 6, 3, 7), ce = __builtin_shufflevector(c, e, 2, 6, 3, 7);
            *(Narrow *)(T + (d + 2) * ks + j) = __builtin_shufflevector(ab, ce, 0, 1, 4, 5);
            *(Narrow *)(T + (d + 3) * ks + j) = __builtin_shufflevector(ab, ce, 2, 3, 6, 7);
        }
        for (; d < D; d++)
            for (int r = 0; r < 4; r++)
                T[d * ks + j + r] = rows[r * D + d];
    }
    for (; j < n; j++, rows += D)
        for (int d = 0; d < D; d++)
            T[d * ks + j] = rows[d];
}

/* out (n_rows,ks) = X (n_rows,D) T, the first n keys at least. */
ALWAYS_INLINE void score_rows(int D, int n_rows, const real *X, const real *T, int ks, int n, real *out) {
    RowsProduct p = {.A = X, .B = T, .C = out, .lda = D, .ldb = ks, .ldc = ks, .n_rows = n_rows, .K = D};
    int j = 0;
    for (; j + LANES < n; j += 2 * LANES)
        panel_product(2 * LANES, &p, j);
    if (j < n)
        panel_product(LANES, &p, j);
}

/* Softmax of scale z over the first n numbers, the others up to `size` become 0. w = exp(scale (z - shift)) share. */
ALWAYS_INLINE void softmax_row(real *w, int n, int size, real scale, real *shift, real *share) {
    const Wide zero = {0};
    Wide most = zero - INFINITY, sum = zero;
    for (int j = 0; j < size; j += LANES)
        most = wide_max(wide_first(*(Wide *)(w + j), n - j, zero - INFINITY), most);
    real largest = wide_largest(most);
    for (int j = 0; j < size; j += LANES) {
        real e[LANES];
        *(Wide *)e = wide_first((*(Wide *)(w + j) - largest) * scale, n - j, zero);
#pragma omp simd
        for (int i = 0; i < LANES; i++)
            e[i] = real_exp(e[i]);
        Wide now = wide_first(*(Wide *)e, n - j, zero);
        *(Wide *)(w + j) = now;
        sum += now;
    }
    real each = 1 / wide_sum(sum);
    for (int j = 0; j < size; j += LANES)
        *(Wide *)(w + j) *= each;
    *shift = largest;
    *share = each;
}

/* The same from what it noted. */
ALWAYS_INLINE void softmax_row_again(real *w, int n, int size, real scale, real shift, real share) {
    const Wide zero = {0};
    for (int j = 0; j < size; j += LANES) {
        real e[LANES];
        *(Wide *)e = wide_first((*(Wide *)(w + j) - shift) * scale, n - j, zero);
#pragma omp simd
        for (int i = 0; i < LANES; i++)
            e[i] = real_exp(e[i]);
        *(Wide *)(w + j) = wide_first(*(Wide *)e * share, n - j, zero);
    }
}

/* dz = scale w (dw - dot) in place of dw; dot = sum_j w_j dw_j. Behind the last visible key w is 0. */
ALWAYS_INLINE void softmax_row_backward(const real *w, real *d, int size, real scale, real dot) {
    for (int j = 0; j < size; j += LANES)
        *(Wide *)(d + j) = *(const Wide *)(w + j) * (*(Wide *)(d + j) - dot) * scale;
}

ALWAYS_INLINE real row_dot(int D, const real *x, const real *y) {
    Narrow sums = {0};
    int d = 0;
    for (; d + 4 <= D; d += 4)
        sums += *(const Narrow *)(x + d) * *(const Narrow *)(y + d);
    real sum = narrow_sum(sums);
    for (; d < D; d++)
        sum += x[d] * y[d];
    return sum;
}

#endif
