/* Matrix products, row-major: the kernels of product.h where the matrices are narrow, else OpenBLAS. The only file that
 * knows cblas.
 *
 *   C (M,N) = beta C + op(A) op(B);   beta 0 overwrites, also what is not a number; 1 adds; there is no other
 *   ld* = reals from row to row;      M, N, K > 0, or nothing happens
 *
 * Narrow is decided by the sides of the small matrix, never by the number of rows: what a row becomes does not depend
 * on how many there are. */
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

/* What multiplies on this processor, OpenBLAS' kernel and ours: "Cooperlake + avx512", without commas. Returns out. */
enum { GEMM_KERNELS = 64 };
const char *gemm_kernels(char out[GEMM_KERNELS]);

/* Multiplies a few matrices of the models' shapes and compares with plain loops: builds of OpenBLAS older than a
 * processor have computed wrong results. ERR_FAILED with a sentence that names the kernel, ours or OpenBLAS', and the
 * way out. */
Err gemm_self_check(void) MUST_CHECK;

#endif
