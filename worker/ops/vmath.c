/* The functions of vmath.h over whole arrays. */
#include "worker/ops/vmath.h"

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
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

MULTIVERSION real vec_sum(const real *x, size_t n) {
    real sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

MULTIVERSION void vec_softmax(real *x, int n) {
    real most = x[0], sum = 0;
#pragma omp simd reduction(max : most)
    for (int i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < n; i++) {
        x[i] = real_exp(x[i] - most);
        sum += x[i];
    }
    real scale = 1 / sum;
#pragma omp simd
    for (int i = 0; i < n; i++)
        x[i] *= scale;
}

MULTIVERSION void vec_softmax_gradient(real *restrict dx, const real *restrict y, const real *restrict dy, int n) {
    real dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int i = 0; i < n; i++)
        dot += y[i] * dy[i];
#pragma omp simd
    for (int i = 0; i < n; i++)
        dx[i] += y[i] * (dy[i] - dot);
}
