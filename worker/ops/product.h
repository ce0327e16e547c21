/* Products with a narrow right operand, which is what a model of this size is made of: in vector code for three
 * instruction sets. gemm.h is what the operations call.
 *
 * Each number of C is one sum over k in order, from 0, then added to what is there. So it does not depend on the other
 * rows and columns, and the kernels with fused multiply-add (avx512, avx2) give the same bits; the portable one rounds
 * each product, where the compiler has no fused multiply-add for it. */
#ifndef MANGROVE_WORKER_OPS_PRODUCT_H
#define MANGROVE_WORKER_OPS_PRODUCT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/real.h"

enum { PRODUCT_LEAST_COLUMNS = 8 };

/* C (M,N) = or += A B, row-major; M, K > 0, N >= PRODUCT_LEAST_COLUMNS; ld: reals from row to row. */
typedef struct Product {
    int M, N, K;
    bool adds; /* to C; else what is there does not matter */
    const real *A, *B;
    real *C;
    ptrdiff_t lda, ldb, ldc;
} Product;

typedef struct ProductKernel {
    const char *name;
    bool (*runs_here)(void);
    void (*rows)(const Product *p); /* A (M,K), B (K,N) */
    void (*sums)(const Product *p); /* A (K,M) transposed, B (K,N) */
} ProductKernel;

/* Best first; the last one runs everywhere. */
extern const ProductKernel PRODUCT_KERNELS[];
extern const int N_PRODUCT_KERNELS;

/* The best one of this processor. */
const ProductKernel *product_kernel_here(void);

#endif
