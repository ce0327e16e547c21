/* The three products, and the check at start-up.
 * link: mg_numbers_f32 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "worker/ops/gemm.h"
#include "worker/ops/product.h"

static void this_machine_multiplies_rightly(void **state) {
    (void)state;
    assert_int_equal(gemm_self_check(), OK);
}

static void both_kernels_are_named_in_a_field_of_a_table(void **state) {
    (void)state;
    char kernels[GEMM_KERNELS], ours[GEMM_KERNELS];
    snprintf(ours, sizeof ours, " + %s", product_kernel_here()->name);
    gemm_kernels(kernels);
    const char *end = strstr(kernels, ours);
    assert_true(end > kernels && !strcmp(end, ours));
    assert_null(strchr(kernels, ','));
}

static void beta_zero_overwrites_what_is_not_a_number(void **state) {
    (void)state;
    const real A[] = {1, 2, 3, 4}, B[] = {1, 0, 0, 1};
    real C[4];
    for (int i = 0; i < 4; i++)
        C[i] = (real)NAN;
    gemm_nn(2, 2, 2, A, 2, B, 2, 0, C, 2);
    assert_memory_equal(C, A, sizeof C);
}

typedef void (*Multiply)(int M, int N, int K, const real *A, int lda, const real *B, int ldb, real beta, real *C,
                         int ldc);

/* Ones in rows of which only the first columns belong to the matrix, and not a number behind them. */
static real *ones(int rows, int columns, int ld) {
    real *x = must_alloc(sizeof *x * (size_t)(rows * ld));
    for (int i = 0; i < rows * ld; i++)
        x[i] = i % ld < columns ? 1 : (real)NAN;
    return x;
}

/* C is not a number anywhere before, and nowhere but behind its rows after. */
static void check_ones(Multiply multiply, int K, int gap) {
    enum { SIDE = 20 };
    bool is_tn = multiply == gemm_tn, is_nt = multiply == gemm_nt;
    int a_columns = is_tn ? SIDE : K, b_columns = is_nt ? K : SIDE, ldc = SIDE + gap;
    real *A = ones(is_tn ? K : SIDE, a_columns, a_columns + gap),
         *B = ones(is_nt ? SIDE : K, b_columns, b_columns + gap);
    real *C = ones(SIDE, 0, ldc);
    multiply(SIDE, SIDE, K, A, a_columns + gap, B, b_columns + gap, 0, C, ldc);
    for (int i = 0; i < SIDE * ldc; i++)
        assert_true(i % ldc < SIDE ? C[i] == K : isnan(C[i]));
    free(A);
    free(B);
    free(C);
}

/* 20 terms go to our kernels, also 300 where they are summed piece by piece; 300 else to OpenBLAS. */
static void products_overwrite_and_keep_to_their_columns(void **state) {
    (void)state;
    const Multiply all[] = {gemm_nn, gemm_nt, gemm_tn};
    for (int i = 0; i < 3; i++)
        for (int gap = 0; gap <= 7; gap += 7) {
            check_ones(all[i], 20, gap);
            check_ones(all[i], 300, gap);
        }
}

/* Ones: every sum is exact. More rows than any piece that a product is cut into. */
static void a_cut_product_equals_the_whole(void **state) {
    (void)state;
    enum { LONG = 20011, NARROW = 16 };
    real *x = must_alloc(sizeof(real) * LONG * NARROW), *y = must_calloc(LONG * NARROW, sizeof(real));
    for (int i = 0; i < LONG * NARROW; i++)
        x[i] = 1;
    gemm_nn(LONG, NARROW, NARROW, x, NARROW, x, NARROW, 0, y, NARROW);
    for (int i = 0; i < LONG * NARROW; i++)
        assert_true(y[i] == NARROW);
    gemm_nt(LONG, NARROW, NARROW, x, NARROW, x, NARROW, 1, y, NARROW);
    for (int i = 0; i < LONG * NARROW; i++)
        assert_true(y[i] == 2 * NARROW);
    gemm_tn(NARROW, NARROW, LONG, x, NARROW, x, NARROW, 0, y, NARROW);
    for (int i = 0; i < NARROW * NARROW; i++)
        assert_true(y[i] == LONG);
    free(x);
    free(y);
}

/* The same product as rows, with the right matrix transposed, and with the left one: one sum in one order. */
static void the_three_products_agree(void **state) {
    (void)state;
    enum { ROWS = 11, COLUMNS = 23, INNER = 18 };
    real A[ROWS * INNER], At[INNER * ROWS], B[INNER * COLUMNS], Bt[COLUMNS * INNER];
    real nn[ROWS * COLUMNS], nt[ROWS * COLUMNS], tn[ROWS * COLUMNS];
    for (int k = 0; k < INNER; k++) {
        for (int i = 0; i < ROWS; i++)
            A[i * INNER + k] = At[k * ROWS + i] = 1 / (real)(3 + i * INNER + k);
        for (int j = 0; j < COLUMNS; j++)
            B[k * COLUMNS + j] = Bt[j * INNER + k] = 1 / (real)(7 + k * COLUMNS + j);
    }
    gemm_nn(ROWS, COLUMNS, INNER, A, INNER, B, COLUMNS, 0, nn, COLUMNS);
    gemm_nt(ROWS, COLUMNS, INNER, A, INNER, Bt, INNER, 0, nt, COLUMNS);
    gemm_tn(ROWS, COLUMNS, INNER, At, ROWS, B, COLUMNS, 0, tn, COLUMNS);
    assert_memory_equal(nn, nt, sizeof nn);
    assert_memory_equal(nn, tn, sizeof nn);
}

static void an_empty_product_does_nothing(void **state) {
    (void)state;
    real A[1] = {1}, C[1] = {7};
    gemm_nn(0, 1, 1, A, 1, A, 1, 0, C, 1);
    gemm_tn(1, 1, 0, A, 1, A, 1, 0, C, 1);
    assert_true(C[0] == 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(this_machine_multiplies_rightly),
        cmocka_unit_test(both_kernels_are_named_in_a_field_of_a_table),
        cmocka_unit_test(beta_zero_overwrites_what_is_not_a_number),
        cmocka_unit_test(products_overwrite_and_keep_to_their_columns),
        cmocka_unit_test(a_cut_product_equals_the_whole),
        cmocka_unit_test(the_three_products_agree),
        cmocka_unit_test(an_empty_product_does_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
