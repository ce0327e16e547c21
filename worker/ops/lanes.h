/* Vectors of 64 bytes and of 4 numbers, loaded from anywhere. The compiler splits what a processor does not have. It
 * does not add up lanes well (one by one, in order), so sums over lanes are halved here. All of it is inlined: no
 * vector is passed from function to function (else its ABI would depend on the processor; hence -Wno-psabi). */
#ifndef MANGROVE_WORKER_OPS_LANES_H
#define MANGROVE_WORKER_OPS_LANES_H

#include <stdint.h>

#include "common/real.h"
#include "worker/ops/simd.h"

enum { LANES = 64 / (int)sizeof(real) };
typedef real Wide __attribute__((vector_size(64), aligned(sizeof(real))));
typedef real Narrow __attribute__((vector_size(4 * sizeof(real)), aligned(sizeof(real))));

#ifdef MANGROVE_DOUBLE
typedef int64_t WideInt __attribute__((vector_size(64)));
typedef int64_t NarrowInt __attribute__((vector_size(32)));
static const WideInt LANE_NUMBERS = {0, 1, 2, 3, 4, 5, 6, 7};
#define FOLD_WIDE(v, op) op(__builtin_shufflevector(v, v, 0, 1, 2, 3), __builtin_shufflevector(v, v, 4, 5, 6, 7))
#else
typedef int32_t WideInt __attribute__((vector_size(64)));
typedef int32_t NarrowInt __attribute__((vector_size(16)));
static const WideInt LANE_NUMBERS = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#define FOLD_WIDE(v, op)                                                                                               \
    op(op(__builtin_shufflevector(v, v, 0, 1, 2, 3), __builtin_shufflevector(v, v, 4, 5, 6, 7)),                       \
       op(__builtin_shufflevector(v, v, 8, 9, 10, 11), __builtin_shufflevector(v, v, 12, 13, 14, 15)))
#endif

#define ADD_LANES(a, b) ((a) + (b))

ALWAYS_INLINE real narrow_sum(Narrow v) {
    v += __builtin_shufflevector(v, v, 2, 3, 0, 1);
    return v[0] + v[1];
}
ALWAYS_INLINE real wide_sum(Wide v) {
    return narrow_sum(FOLD_WIDE(v, ADD_LANES));
}
/* Lanes below n of v, then `other`. */
ALWAYS_INLINE Wide wide_first(Wide v, int n, Wide other) {
    WideInt mask = LANE_NUMBERS < n;
    return (Wide)((mask & (WideInt)v) | (~mask & (WideInt)other));
}
/* Where one is not a number: b. */
ALWAYS_INLINE Wide wide_max(Wide a, Wide b) {
    WideInt mask = a > b;
    return (Wide)((mask & (WideInt)a) | (~mask & (WideInt)b));
}
ALWAYS_INLINE Narrow narrow_max(Narrow a, Narrow b) {
    NarrowInt mask = a > b;
    return (Narrow)((mask & (NarrowInt)a) | (~mask & (NarrowInt)b));
}
ALWAYS_INLINE real wide_largest(Wide v) {
    Narrow n = FOLD_WIDE(v, narrow_max);
    n = narrow_max(n, __builtin_shufflevector(n, n, 2, 3, 0, 1));
    return n[0] > n[1] ? n[0] : n[1];
}

#endif
