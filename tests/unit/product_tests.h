/* Every kernel of worker/ops/product.h that this processor can run, in float and in double. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "worker/ops/product.h"

#ifdef MANGROVE_DOUBLE
#define REAL_EPSILON DBL_EPSILON
#else
#define REAL_EPSILON FLT_EPSILON
#endif

/* Operands of exactly their sizes, so that a sanitizer sees a vector that reads behind them. */
typedef struct Case {
    Product p;
    bool is_sum;
    real *A, *B, *C, *before; /* C: UNTOUCHED more columns than N; A and B, too, and these not a number, or none */
    double *exact, *size;     /* the result, and the sum of the terms' absolute values */
} Case;

enum { UNTOUCHED = 3 };

static real next_number(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (real)((int)(*state >> 8) - (1 << 23)) / (1 << 23);
}

static real *numbers(size_t n, uint32_t seed) {
    real *x = must_alloc(sizeof *x * n);
    for (size_t i = 0; i < n; i++)
        x[i] = next_number(&seed);
    return x;
}

static real *matrix(size_t rows, size_t columns, size_t ld, uint32_t seed) {
    real *x = numbers(rows * ld, seed);
    for (size_t i = 0; i < rows * ld; i++)
        if (i % ld >= columns)
            x[i] = (real)NAN;
    return x;
}

static Case make_case(int M, int N, int K, bool is_sum, bool adds, bool is_wide) {
    size_t m = (size_t)M, n = (size_t)N, k = (size_t)K, ldc = n + UNTOUCHED, gap = is_wide ? UNTOUCHED : 0;
    size_t lda = (is_sum ? m : k) + gap, ldb = n + gap;
    Case c = {.is_sum = is_sum, .before = numbers(m * ldc, 3)};
    c.A = is_sum ? matrix(k, m, lda, 1) : matrix(m, k, lda, 1);
    c.B = matrix(k, n, ldb, 2);
    c.C = must_alloc(sizeof(real) * m * ldc);
    c.exact = must_calloc(m * n, sizeof(double));
    c.size = must_calloc(m * n, sizeof(double));
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = adds ? (double)c.before[i * ldc + j] : 0, size = fabs(sum);
            for (size_t l = 0; l < k; l++) {
                double term = (double)c.A[is_sum ? l * lda + i : i * lda + l] * (double)c.B[l * ldb + j];
                sum += term;
                size += fabs(term);
            }
            c.exact[i * n + j] = sum;
            c.size[i * n + j] = size;
        }
    c.p = (Product){M, N, K, adds, c.A, c.B, c.C, (ptrdiff_t)lda, (ptrdiff_t)ldb, (ptrdiff_t)ldc};
    return c;
}

static void run(Case *c, const ProductKernel *kernel) {
    memcpy(c->C, c->before, sizeof(real) * (size_t)(c->p.M * (int)c->p.ldc));
    (c->is_sum ? kernel->sums : kernel->rows)(&c->p);
}

static void free_case(Case *c) {
    free(c->A);
    free(c->B);
    free(c->C);
    free(c->before);
    free(c->exact);
    free(c->size);
}

/* All heights of a tile's rest, all widths of up to three vectors and what follows them. */
static void for_all_cases(void (*check)(Case *c)) {
    const int heights[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 20}, sums[] = {1, 2, 20, 33};
    for (int N = PRODUCT_LEAST_COLUMNS; N <= 133; N += N < 72 ? 1 : 7)
        for (size_t m = 0; m < sizeof heights / sizeof *heights; m++)
            for (int kind = 0; kind < 4; kind++) {
                bool is_wide = (m + (size_t)kind) % 2;
                Case c = make_case(heights[m], N, sums[(m + (size_t)N) % 4], kind % 2, kind / 2, is_wide);
                check(&c);
                free_case(&c);
            }
}

/* ---- against plain loops ---------------------------------------------------------------------------------------- */

static void check_against_loops(Case *c) {
    const Product *p = &c->p;
    for (int i = 0; i < N_PRODUCT_KERNELS; i++) {
        const ProductKernel *kernel = &PRODUCT_KERNELS[i];
        if (!kernel->runs_here())
            continue;
        run(c, kernel);
        for (int m = 0; m < p->M; m++) {
            for (int n = 0; n < p->N; n++) {
                /* the bound of a sum in any order, one rounding for what it is added to, one for the exact one */
                double error = fabs((double)p->C[m * p->ldc + n] - c->exact[m * p->N + n]);
                if (!(error <= (p->K + 2) * (double)REAL_EPSILON * c->size[m * p->N + n]))
                    fail_msg("%s, M %d N %d K %d%s%s: row %d column %d is off by %g", kernel->name, p->M, p->N, p->K,
                             c->is_sum ? " sums" : "", p->adds ? " adds" : "", m, n, error);
            }
            assert_memory_equal(p->C + m * p->ldc + p->N, c->before + m * p->ldc + p->N, UNTOUCHED * sizeof(real));
        }
    }
}

static void every_kernel_computes_what_plain_loops_do(void **state) {
    (void)state;
    for_all_cases(check_against_loops);
}

static void check_overwriting(Case *c) {
    const Product *p = &c->p;
    if (p->adds)
        return;
    for (ptrdiff_t i = 0; i < p->M * p->ldc; i++)
        c->before[i] = (real)NAN;
    for (int i = 0; i < N_PRODUCT_KERNELS; i++)
        if (PRODUCT_KERNELS[i].runs_here()) {
            run(c, &PRODUCT_KERNELS[i]);
            for (int m = 0; m < p->M; m++)
                for (int n = 0; n < p->N; n++)
                    assert_true(isfinite(c->C[m * p->ldc + n]));
        }
}

static void a_kernel_overwrites_what_is_not_a_number(void **state) {
    (void)state;
    for_all_cases(check_overwriting);
}

/* ---- against each other ----------------------------------------------------------------------------------------- */

/* Bit for bit where a product and its addition are rounded once; else a rounding more for each term. */
static void check_against_each_other(Case *c) {
    const Product *p = &c->p;
    const ProductKernel *best = product_kernel_here(), *portable = &PRODUCT_KERNELS[N_PRODUCT_KERNELS - 1];
    size_t n_reals = (size_t)(p->M * (int)p->ldc);
    run(c, best);
    real *of_best = must_alloc(sizeof(real) * n_reals);
    memcpy(of_best, c->C, sizeof(real) * n_reals);
    for (const ProductKernel *other = best + 1; other < portable; other++) {
        run(c, other);
        assert_memory_equal(of_best, c->C, sizeof(real) * n_reals);
    }
    run(c, portable);
    for (int m = 0; m < p->M; m++)
        for (int n = 0; n < p->N; n++) {
            double gap = fabs((double)of_best[m * p->ldc + n] - (double)c->C[m * p->ldc + n]);
            assert_true(gap <= (p->K + 1) * (double)REAL_EPSILON * c->size[m * p->N + n]);
        }
    free(of_best);
}

static void kernels_differ_by_the_rounding_of_products_alone(void **state) {
    (void)state;
    for_all_cases(check_against_each_other);
}

/* ---- rows by themselves ----------------------------------------------------------------------------------------- */

static void check_rows_alone(Case *c) {
    if (c->is_sum)
        return;
    real *row = must_alloc(sizeof(real) * (size_t)c->p.N);
    for (int i = 0; i < N_PRODUCT_KERNELS; i++) {
        if (!PRODUCT_KERNELS[i].runs_here())
            continue;
        run(c, &PRODUCT_KERNELS[i]);
        for (int m = 0; m < c->p.M; m++) {
            Product alone = c->p;
            alone.M = 1;
            alone.A += m * alone.lda;
            alone.C = row;
            memcpy(row, c->before + m * c->p.ldc, sizeof(real) * (size_t)c->p.N);
            PRODUCT_KERNELS[i].rows(&alone);
            assert_memory_equal(row, c->C + m * c->p.ldc, sizeof(real) * (size_t)c->p.N);
        }
    }
    free(row);
}

static void a_row_does_not_depend_on_those_beside_it(void **state) {
    (void)state;
    for_all_cases(check_rows_alone);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_computes_what_plain_loops_do),
        cmocka_unit_test(a_kernel_overwrites_what_is_not_a_number),
        cmocka_unit_test(kernels_differ_by_the_rounding_of_products_alone),
        cmocka_unit_test(a_row_does_not_depend_on_those_beside_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
