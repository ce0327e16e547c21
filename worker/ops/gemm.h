/* Matrix products, row-major: OpenBLAS under three names. The only file that knows cblas.
 *
 *   C (M,N) = beta C + op(A) op(B);   beta 0 overwrites, also what is not a number; ld* = reals from row to row
 *   M, N, K > 0, or nothing happens */
#ifndef MANGROVE_WORKER_OPS_GEMM_H
#define MANGROVE_WORKER_OPS_GEMM_H

#include "common/err.h"
#include "common/real.h"

/* A (M,K) B (K,N) */
void gemm_nn(int M, int N, int K, const real *A, int lda, const real *B, int ldb, real beta, real *C, int ldc);
/* A (M,K) B (N,K) transposed */
void gemm_nt(int M, int N, int K, const real *A, int lda, const real *B, int ldb, real beta, real *C, int ldc);
/* A (K,M) transposed, B (K,N) */
void gemm_tn(int M, int N, int K, const real *A, int lda, const real *B, int ldb, real beta, real *C, int ldc);

/* One BLAS thread in this process. */
void gemm_use_one_thread(void);

/* The kernel that OpenBLAS chose for this processor, "Cooperlake". */
const char *gemm_kernel(void);

/* Multiplies a few matrices of the models' shapes and compares with plain loops: builds of OpenBLAS older than a
 * processor have computed wrong results. ERR_FAILED with a sentence that names the kernel and the way out. */
Err gemm_self_check(void) MUST_CHECK;

#endif
