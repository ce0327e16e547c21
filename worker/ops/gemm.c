/* Which kernel multiplies, and the check at start-up. */
#include "worker/ops/gemm.h"

#include <cblas.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "worker/ops/lanes.h"
#include "worker/ops/meter.h"
#include "worker/ops/product.h"

#ifdef MANGROVE_DOUBLE
#define CBLAS_GEMM   cblas_dgemm
#define REAL_EPSILON DBL_EPSILON
#else
#define CBLAS_GEMM   cblas_sgemm
#define REAL_EPSILON FLT_EPSILON
#endif

/* The small matrix has a short side, so that a panel of it stays in the first caches. Measured in float on an EPYC of
 * 2024 with OpenBLAS' kernel Cooperlake, ours against one call of its: 1.0 to 1.4 times as fast at widths 20 to
 * 40, 1.07 to 1.2 at 64 to 100, 1.05 to 1.1 at 200. Sums over rows are made piece by piece: shorter sums are more
 * exact, and a piece of both operands stays in the first cache. */
enum { NARROW = 256, PIECE_ROWS = 128 };

/* Columns that are transposed at a time, on the stack; what they leave is more than a product needs. */
enum { COPIED_COLUMNS = 48 + PRODUCT_LEAST_COLUMNS };

static bool is_narrow(int rows, int columns) {
    return columns >= PRODUCT_LEAST_COLUMNS && rows <= NARROW;
}

static bool is_empty(int M, int N, int K) {
    return M <= 0 || N <= 0 || K <= 0;
}

/* Row k of T is column k of B. */
static void transpose_4x4(const real *B, int ldb, real *T, int ldt) {
    Narrow b[4], pairs[4];
    for (int i = 0; i < 4; i++)
        b[i] = *(const Narrow *)(B + (size_t)i * (size_t)ldb);
    for (int i = 0; i < 4; i += 2) {
        pairs[i] = __builtin_shufflevector(b[i], b[i + 1], 0, 4, 1, 5);
        pairs[i + 1] = __builtin_shufflevector(b[i], b[i + 1], 2, 6, 3, 7);
    }
    for (int i = 0; i < 2; i++) {
        *(Narrow *)(T + 2 * i * ldt) = __builtin_shufflevector(pairs[i], pairs[i + 2], 0, 1, 4, 5);
        *(Narrow *)(T + (2 * i + 1) * ldt) = __builtin_shufflevector(pairs[i], pairs[i + 2], 2, 3, 6, 7);
    }
}

/* T (K,N) = transpose of B (N,K). */
static void transpose(int N, int K, const real *restrict B, int ldb, real *restrict T) {
    int n = 0;
    for (; n + 4 <= N; n += 4) {
        const real *b = B + (size_t)n * (size_t)ldb;
        int k = 0;
        for (; k + 4 <= K; k += 4)
            transpose_4x4(b + k, ldb, T + k * N + n, N);
        for (; k < K; k++)
            for (int i = 0; i < 4; i++)
                T[k * N + n + i] = b[(size_t)i * (size_t)ldb + (size_t)k];
    }
    for (; n < N; n++)
        for (int k = 0; k < K; k++)
            T[k * N + n] = B[(size_t)n * (size_t)ldb + (size_t)k];
}

static void multiply_nn(int M, int N, int K, const real *A, int lda, const real *B, int ldb, real beta, real *C,
                        int ldc) {
    if (is_empty(M, N, K))
        return;
    if (is_narrow(K, N))
        product_kernel_here()->rows(&(Product){M, N, K, beta != 0, A, B, C, lda, ldb, ldc});
    else
        CBLAS_GEMM(CblasRowMajor, CblasNoTrans, CblasNoTrans, M, N, K, 1, A, lda, B, ldb, beta, C, ldc);
}

static void multiply_nt(int M, int N, int K, const real *A, int lda, const real *B, int ldb, real beta, real *C,
                        int ldc) {
    if (is_empty(M, N, K))
        return;
    if (!is_narrow(K, N)) {
        CBLAS_GEMM(CblasRowMajor, CblasNoTrans, CblasTrans, M, N, K, 1, A, lda, B, ldb, beta, C, ldc);
        return;
    }
    real T[NARROW * COPIED_COLUMNS];
    for (int n = 0, columns; n < N; n += columns) {
        columns = N - n < COPIED_COLUMNS ? N - n : COPIED_COLUMNS - PRODUCT_LEAST_COLUMNS;
        transpose(columns, K, B + (size_t)n * (size_t)ldb, ldb, T);
        product_kernel_here()->rows(&(Product){M, columns, K, beta != 0, A, T, C + n, lda, columns, ldc});
    }
}

static void multiply_tn(int M, int N, int K, const real *A, int lda, const real *B, int ldb, real beta, real *C,
                        int ldc) {
    if (is_empty(M, N, K))
        return;
    if (!is_narrow(M, N)) {
        CBLAS_GEMM(CblasRowMajor, CblasTrans, CblasNoTrans, M, N, K, 1, A, lda, B, ldb, beta, C, ldc);
        return;
    }
    const ProductKernel *kernel = product_kernel_here();
    for (int k = 0; k < K; k += PIECE_ROWS) {
        const real *a = A + (size_t)k * (size_t)lda, *b = B + (size_t)k * (size_t)ldb;
        int rows = K - k < PIECE_ROWS ? K - k : PIECE_ROWS;
        kernel->sums(&(Product){M, N, rows, k || beta != 0, a, b, C, lda, ldb, ldc});
    }
}

void gemm_nn(int M, int N, int K, const real *A, int lda, const real *B, int ldb, real beta, real *C, int ldc) {
    MeterKind before = meter_enter(METER_GEMM);
    multiply_nn(M, N, K, A, lda, B, ldb, beta, C, ldc);
    meter_enter(before);
}

void gemm_nt(int M, int N, int K, const real *A, int lda, const real *B, int ldb, real beta, real *C, int ldc) {
    MeterKind before = meter_enter(METER_GEMM);
    multiply_nt(M, N, K, A, lda, B, ldb, beta, C, ldc);
    meter_enter(before);
}

void gemm_tn(int M, int N, int K, const real *A, int lda, const real *B, int ldb, real beta, real *C, int ldc) {
    MeterKind before = meter_enter(METER_GEMM);
    multiply_tn(M, N, K, A, lda, B, ldb, beta, C, ldc);
    meter_enter(before);
}

void gemm_use_one_thread(void) {
    openblas_set_num_threads(1);
}

const char *gemm_kernels(char out[GEMM_KERNELS]) {
    snprintf(out, GEMM_KERNELS, "%s + %s", openblas_get_corename(), product_kernel_here()->name);
    return out;
}

typedef enum ProductKind { PRODUCT_NN, PRODUCT_NT, PRODUCT_TN } ProductKind;

typedef struct Shape {
    ProductKind kind;
    int M, N, K;
} Shape;

/* Forward, backward to the input, backward to the matrix; widths of both reference configurations, odd sizes too, and
 * what is left to OpenBLAS. */
static const Shape CHECKED[] = {
    {PRODUCT_NN, 203, 20, 20},  {PRODUCT_NT, 203, 20, 20},  {PRODUCT_TN, 20, 20, 203}, {PRODUCT_NN, 1001, 32, 20},
    {PRODUCT_NT, 1001, 20, 32}, {PRODUCT_TN, 20, 32, 1001}, {PRODUCT_NN, 517, 16, 32}, {PRODUCT_TN, 32, 16, 517},
    {PRODUCT_NN, 251, 40, 40},  {PRODUCT_NT, 251, 250, 40}, {PRODUCT_TN, 40, 80, 251}, {PRODUCT_NN, 10, 100, 200},
    {PRODUCT_NN, 1, 20, 20},    {PRODUCT_NN, 33, 1, 16},    {PRODUCT_TN, 10, 20, 3},   {PRODUCT_NN, 9, 200, 300},
    {PRODUCT_NT, 9, 200, 300},  {PRODUCT_TN, 300, 200, 9},
};

/* A cheap sequence in [-1,1): the check needs variety, not randomness. */
static void fill(real *x, int n, unsigned seed) {
    unsigned s = seed;
    for (int i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        x[i] = (real)((int)(s >> 8) - (1 << 23)) / (1 << 23);
    }
}

static Err wrong(const Shape *s) {
    bool is_ours = s->kind == PRODUCT_TN ? is_narrow(s->M, s->N) : is_narrow(s->K, s->N);
    if (is_ours)
        return err_fail(ERR_FAILED,
                        "this program's kernel %s multiplies (%d,%d) by (%d,%d) wrongly on this processor: build it "
                        "with another compiler or on this machine",
                        product_kernel_here()->name, s->M, s->K, s->K, s->N);
    return err_fail(ERR_FAILED,
                    "OpenBLAS multiplies (%d,%d) by (%d,%d) wrongly with its kernel %s on this processor: set "
                    "OPENBLAS_CORETYPE=Haswell, or install a newer OpenBLAS",
                    s->M, s->K, s->K, s->N, openblas_get_corename());
}

static bool shape_is_right(const Shape *s, const real *A, const real *B, real *C) {
    static void (*const CALL[])(int, int, int, const real *, int, const real *, int, real, real *,
                                int) = {[PRODUCT_NN] = gemm_nn, [PRODUCT_NT] = gemm_nt, [PRODUCT_TN] = gemm_tn};
    int lda = s->kind == PRODUCT_TN ? s->M : s->K, ldb = s->kind == PRODUCT_NT ? s->K : s->N;
    CALL[s->kind](s->M, s->N, s->K, A, lda, B, ldb, 0, C, s->N);
    for (int i = 0; i < s->M; i++) {
        for (int j = 0; j < s->N; j++) {
            double sum = 0, size = 0;
            for (int k = 0; k < s->K; k++) {
                double a = s->kind == PRODUCT_TN ? A[k * lda + i] : A[i * lda + k];
                double b = s->kind == PRODUCT_NT ? B[j * ldb + k] : B[k * ldb + j];
                sum += a * b;
                size += fabs(a * b);
            }
            /* the bound of a sum in any order, K eps sum|ab|, and one rounding of the result */
            if (!(fabs((double)C[i * s->N + j] - sum) <= (s->K + 1) * REAL_EPSILON * size))
                return false;
        }
    }
    return true;
}

Err gemm_self_check(void) {
    enum { MOST = 1001 * 40 + 251 * 250 };
    real *A = must_alloc(sizeof(real) * MOST), *B = must_alloc(sizeof(real) * MOST);
    real *C = must_alloc(sizeof(real) * MOST);
    Err err = OK;
    gemm_use_one_thread();
    fill(A, MOST, 1);
    fill(B, MOST, 2);
    for (size_t i = 0; i < sizeof CHECKED / sizeof *CHECKED && err == OK; i++) {
        const Shape *s = &CHECKED[i];
        if (!shape_is_right(s, A, B, C))
            err = wrong(s);
    }
    free(A);
    free(B);
    free(C);
    return err;
}
