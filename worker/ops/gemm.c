/* OpenBLAS behind gemm.h, and the check at start-up. */
#include "worker/ops/gemm.h"

#include <cblas.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/log.h"

#ifdef MANGROVE_DOUBLE
#define CBLAS_GEMM   cblas_dgemm
#define REAL_EPSILON DBL_EPSILON
#else
#define CBLAS_GEMM   cblas_sgemm
#define REAL_EPSILON FLT_EPSILON
#endif

/* OpenBLAS multiplies small matrices without packing them first, which for our tall and narrow ones is up to 1.5 times
 * as fast (measured: 1740x32x20 at 84 GFLOP/s in one piece, at 105 in pieces of 256 rows). So the long side is cut. */
enum { SMALL_PRODUCT = 200000 }; /* M N K */

static int piece_of(int long_side, int N, int K) {
    long piece = SMALL_PRODUCT / ((long)N * K + 1);
    piece = piece < 64 ? 64 : piece;
    return piece < long_side ? (int)piece : long_side;
}

/* The long side is M: rows of A and C. */
static void tall_product(CBLAS_TRANSPOSE op_b, int M, int N, int K, const real *A, int lda, const real *B, int ldb,
                         real beta, real *C, int ldc) {
    int piece = piece_of(M, N, K);
    for (int i = 0; i < M; i += piece)
        CBLAS_GEMM(CblasRowMajor, CblasNoTrans, op_b, M - i < piece ? M - i : piece, N, K, 1,
                   A + (size_t)i * (size_t)lda, lda, B, ldb, beta, C + (size_t)i * (size_t)ldc, ldc);
}

void gemm_nn(int M, int N, int K, const real *A, int lda, const real *B, int ldb, real beta, real *C, int ldc) {
    tall_product(CblasNoTrans, M, N, K, A, lda, B, ldb, beta, C, ldc);
}

void gemm_nt(int M, int N, int K, const real *A, int lda, const real *B, int ldb, real beta, real *C, int ldc) {
    tall_product(CblasTrans, M, N, K, A, lda, B, ldb, beta, C, ldc);
}

/* The long side is K, the rows that are summed over. */
void gemm_tn(int M, int N, int K, const real *A, int lda, const real *B, int ldb, real beta, real *C, int ldc) {
    int piece = piece_of(K, M, N);
    for (int k = 0; k < K; k += piece)
        CBLAS_GEMM(CblasRowMajor, CblasTrans, CblasNoTrans, M, N, K - k < piece ? K - k : piece, 1,
                   A + (size_t)k * (size_t)lda, lda, B + (size_t)k * (size_t)ldb, ldb, k ? 1 : beta, C, ldc);
}

void gemm_use_one_thread(void) {
    openblas_set_num_threads(1);
}

const char *gemm_kernel(void) {
    return openblas_get_corename();
}

typedef enum ProductKind { PRODUCT_NN, PRODUCT_NT, PRODUCT_TN } ProductKind;

typedef struct Shape {
    ProductKind kind;
    int M, N, K;
} Shape;

/* Forward, backward to the input, backward to the matrix; widths of both reference configurations, odd sizes too. */
static const Shape CHECKED[] = {
    {PRODUCT_NN, 203, 20, 20},  {PRODUCT_NT, 203, 20, 20},  {PRODUCT_TN, 20, 20, 203}, {PRODUCT_NN, 1001, 32, 20},
    {PRODUCT_NT, 1001, 20, 32}, {PRODUCT_TN, 20, 32, 1001}, {PRODUCT_NN, 517, 16, 32}, {PRODUCT_TN, 32, 16, 517},
    {PRODUCT_NN, 251, 40, 40},  {PRODUCT_NT, 251, 250, 40}, {PRODUCT_TN, 40, 80, 251}, {PRODUCT_NN, 10, 100, 200},
    {PRODUCT_NN, 1, 20, 20},    {PRODUCT_NN, 33, 1, 16},    {PRODUCT_TN, 10, 20, 3},
};

/* A cheap sequence in [-1,1): the check needs variety, not randomness. */
static void fill(real *x, int n, unsigned seed) {
    unsigned s = seed;
    for (int i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        x[i] = (real)((int)(s >> 8) - (1 << 23)) / (1 << 23);
    }
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
            err = err_fail(ERR_FAILED,
                           "OpenBLAS multiplies (%d,%d) by (%d,%d) wrongly with its kernel %s on this processor: set "
                           "OPENBLAS_CORETYPE=Haswell, or install a newer OpenBLAS",
                           s->M, s->K, s->K, s->N, gemm_kernel());
    }
    free(A);
    free(B);
    free(C);
    return err;
}
