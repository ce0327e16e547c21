/* The float build's exp, tanh and logistic function against libm in double.
 * link: mg_numbers_f32 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "worker/ops/vmath.h"

enum { CHUNK = 4096, STRIDE = 97 /* a prime, so that every pattern of low bits occurs */ };

typedef void (*VectorFunction)(float *y, const float *x, size_t n);

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

/* The largest relative error over every STRIDE-th float of [low, high]. */
static double largest_error(VectorFunction f, double (*exact)(double), float low, float high) {
    float x[CHUNK], y[CHUNK];
    double worst = 0;
    float at = low;
    while (at <= high) {
        size_t n = 0;
        for (; n < CHUNK && at <= high; n++) {
            x[n] = at;
            uint32_t bits;
            memcpy(&bits, &at, sizeof bits);
            if (at < 0 && (bits & 0x7FFFFFFF) <= STRIDE) /* through zero; subnormals are nobody's input */
                at = 1e-30f;
            else if (at < 0 && at > -1e-30f)
                at = 1e-30f;
            else {
                bits = at < 0 ? bits - STRIDE : bits + STRIDE;
                memcpy(&at, &bits, sizeof at);
            }
        }
        f(y, x, n);
        for (size_t i = 0; i < n; i++) {
            double want = exact((double)x[i]);
            worst = fmax(worst, fabs((double)y[i] - want) / fabs(want));
        }
    }
    return worst;
}

static void vector_functions_are_as_exact_as_stated(void **state) {
    (void)state;
    double of_exp = largest_error(vec_exp, exp, -87.3f, 88.3f);
    double of_tanh = largest_error(vec_tanh, tanh, -20, 20);
    double of_sigmoid = largest_error(vec_sigmoid, sigmoid, -87, 88);
    print_message("largest relative error: exp %.1e, tanh %.1e, sigmoid %.1e\n", of_exp, of_tanh, of_sigmoid);
    assert_true(of_exp <= 2e-7); /* the figures of vmath.h: two to seven roundings of 6e-8 */
    assert_true(of_tanh <= 4e-7);
    assert_true(of_sigmoid <= 4e-7);
}

static void exp_stays_finite_and_keeps_nan(void **state) {
    (void)state;
    const float x[] = {-1000, 1000, -INFINITY, INFINITY, NAN};
    float y[5];
    vec_exp(y, x, 5);
    assert_true(y[0] > 0 && y[0] < 1.3e-38f && y[2] == y[0]);
    assert_true(y[1] > 2e38f && isfinite(y[1]) && y[3] == y[1]);
    assert_true(isnan(y[4]));
    vec_tanh(y, x, 5);
    assert_true(y[0] == -1 && y[1] == 1 && isnan(y[4]));
}

static void softmax_of_large_numbers_sums_to_one(void **state) {
    (void)state;
    for (int n = 1; n <= 40; n++) {
        float x[40];
        double sum = 0;
        for (int i = 0; i < n; i++)
            x[i] = 1e4f + (float)i;
        vec_softmax(x, n);
        for (int i = 0; i < n; i++)
            sum += (double)x[i];
        assert_true(fabs(sum - 1) < 1e-6); /* forty roundings */
        for (int i = 1; i < n; i++)
            assert_true(x[i] > x[i - 1]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vector_functions_are_as_exact_as_stated),
        cmocka_unit_test(exp_stays_finite_and_keeps_nan),
        cmocka_unit_test(softmax_of_large_numbers_sums_to_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
