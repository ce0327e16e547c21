/* The functions of vmath.h over whole arrays. */
#include "worker/ops/vmath.h"

#include "worker/ops/lanes.h"

MULTIVERSION void vec_exp(real *y, const real *x, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = real_exp(x[i]);
}

MULTIVERSION void vec_tanh(real *y, const real *x, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = real_tanh(x[i]);
}

MULTIVERSION void vec_sigmoid(real *y, const real *x, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] = real_sigmoid(x[i]);
}

MULTIVERSION void vec_add(real *restrict y, const real *restrict x, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

MULTIVERSION void vec_add_scaled(real *restrict y, real a, const real *restrict x, size_t n) {
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

MULTIVERSION real vec_dot(const real *x, const real *y, size_t n) {
    Narrow sums = {0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        sums += *(const Narrow *)(x + i) * *(const Narrow *)(y + i);
    real sum = narrow_sum(sums);
    for (; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

MULTIVERSION real vec_sum(const real *x, size_t n) {
    Narrow sums = {0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        sums += *(const Narrow *)(x + i);
    real sum = narrow_sum(sums);
    for (; i < n; i++)
        sum += x[i];
    return sum;
}

/* n numbers of x, n <= LANES, then `other`. */
ALWAYS_INLINE Wide load_first(const real *x, int n, real other) {
    real lanes[LANES];
#pragma omp simd
    for (int i = 0; i < LANES; i++)
        lanes[i] = i < n ? x[i] : other;
    return *(Wide *)lanes;
}

ALWAYS_INLINE void store_first(real *x, int n, Wide v) {
    real lanes[LANES];
    *(Wide *)lanes = v;
#pragma omp simd
    for (int i = 0; i < LANES; i++)
        if (i < n)
            x[i] = lanes[i];
}

/* Rows are short, often shorter than a vector: all steps by vectors, the last one filled up. */
MULTIVERSION void vec_softmax(real *x, int n) {
    const Wide zero = {0};
    Wide most = zero - INFINITY, sum = zero;
    for (int i = 0; i < n; i += LANES)
        most = wide_max(load_first(x + i, n - i, -INFINITY), most);
    real shift = wide_largest(most);
    for (int i = 0; i < n; i += LANES) {
        real e[LANES];
        *(Wide *)e = load_first(x + i, n - i, shift) - shift;
#pragma omp simd
        for (int j = 0; j < LANES; j++)
            e[j] = real_exp(e[j]);
        sum += wide_first(*(Wide *)e, n - i, zero);
        store_first(x + i, n - i, *(Wide *)e);
    }
    real share = 1 / wide_sum(sum);
#pragma omp simd
    for (int i = 0; i < n; i++)
        x[i] *= share;
}

MULTIVERSION void vec_softmax_gradient(real *restrict dx, const real *restrict y, const real *restrict dy, int n) {
    real dot = vec_dot(y, dy, (size_t)n);
#pragma omp simd
    for (int i = 0; i < n; i++)
        dx[i] += y[i] * (dy[i] - dot);
}
