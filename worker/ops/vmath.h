/* exp, tanh and the logistic function for the loops of the kernels: inline, without branches, so that a loop over them
 * becomes vector code. In double they are libm's.
 *
 * In float, measured over every 97th float of the range against libm in double: relative error of exp at most 2e-7 for
 * -87.3 < x < 88.3, of tanh 4e-7, of sigmoid 4e-7 for x > -87 (tests/unit/test_vmath.c). Beyond the range exp stays at
 * its value at the end (1.2e-38, 2.4e38). What is not a number stays so. */
#ifndef MANGROVE_WORKER_OPS_VMATH_H
#define MANGROVE_WORKER_OPS_VMATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "common/real.h"
#include "worker/ops/simd.h"

#ifdef MANGROVE_DOUBLE

ALWAYS_INLINE real real_exp(real x) {
    return exp(x);
}
ALWAYS_INLINE real real_tanh(real x) {
    return tanh(x);
}
ALWAYS_INLINE real real_sqrt(real x) {
    return sqrt(x);
}

#else

ALWAYS_INLINE real real_sqrt(real x) {
    return sqrtf(x);
}

/* exp x = 2^n exp r, n = round(x log2 e), r = x - n ln 2 in two parts; the polynomial is that of Cephes' expf. Adding
 * 1.5 * 2^23 rounds to a whole number, which then stands in the low bits. */
ALWAYS_INLINE real real_exp(real x) {
    x = x < -87.336540f ? -87.336540f : x;
    x = x > 88.376259f ? 88.376259f : x;
    float shifted = x * 1.44269504088896341f + 12582912.0f;
    float n = shifted - 12582912.0f;
    float r = x - n * 0.693359375f;
    r -= n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127u) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

/* A rational approximation, odd over even, of the clamped argument (the coefficients of Eigen's ptanh). */
ALWAYS_INLINE real real_tanh(real x) {
    x = x < -7.90531110763549805f ? -7.90531110763549805f : x;
    x = x > 7.90531110763549805f ? 7.90531110763549805f : x;
    float z = x * x;
    float p = -2.76076847742355e-16f;
    p = p * z + 2.00018790482477e-13f;
    p = p * z + -8.60467152213735e-11f;
    p = p * z + 5.12229709037114e-08f;
    p = p * z + 1.48572235717979e-05f;
    p = p * z + 6.37261928875436e-04f;
    p = p * z + 4.89352455891786e-03f;
    float q = 1.19825839466702e-06f;
    q = q * z + 1.18534705686654e-04f;
    q = q * z + 2.26843463243900e-03f;
    q = q * z + 4.89352518554385e-03f;
    return x * p / q;
}

#endif

ALWAYS_INLINE real real_sigmoid(real x) {
    return 1 / (1 + real_exp(-x));
}

void vec_exp(real *y, const real *x, size_t n);
void vec_tanh(real *y, const real *x, size_t n);
void vec_sigmoid(real *y, const real *x, size_t n);

void vec_add(real *y, const real *x, size_t n);                /* y += x */
void vec_add_scaled(real *y, real a, const real *x, size_t n); /* y += a x */
real vec_dot(const real *x, const real *y, size_t n);
real vec_sum(const real *x, size_t n);

/* Over one row, in place: x = exp(x - max x) / sum; n > 0. */
void vec_softmax(real *x, int n);
/* Its way back: dx_i += y_i (dy_i - sum_j y_j dy_j). */
void vec_softmax_gradient(real *dx, const real *y, const real *dy, int n);

#endif
