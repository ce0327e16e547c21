/* How the kernels reach the processor's vectors: a kernel marked MULTIVERSION is compiled for AVX-512, for AVX2 with
 * FMA and for any x86-64, and the loader picks one. Its loops say `#pragma omp simd` where the compiler may not reorder
 * a sum by itself. Elsewhere (other processors, clang, sanitizers, which cannot instrument the loader's choice) a
 * kernel is compiled once. */
#ifndef MANGROVE_WORKER_OPS_SIMD_H
#define MANGROVE_WORKER_OPS_SIMD_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(MANGROVE_SANITIZED)
#define MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MULTIVERSION
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Calls f(width, ...) with the usual widths as constants: the compiler then unrolls the inner loops of an always-inline
 * f. Same result for every width, only slower for unusual ones. */
#define WITH_WIDTH(width, f, ...)                                                                                      \
    do {                                                                                                               \
        switch (width) {                                                                                               \
        case 10:                                                                                                       \
            f(10, __VA_ARGS__);                                                                                        \
            break;                                                                                                     \
        case 16:                                                                                                       \
            f(16, __VA_ARGS__);                                                                                        \
            break;                                                                                                     \
        case 20:                                                                                                       \
            f(20, __VA_ARGS__);                                                                                        \
            break;                                                                                                     \
        case 32:                                                                                                       \
            f(32, __VA_ARGS__);                                                                                        \
            break;                                                                                                     \
        case 40:                                                                                                       \
            f(40, __VA_ARGS__);                                                                                        \
            break;                                                                                                     \
        case 64:                                                                                                       \
            f(64, __VA_ARGS__);                                                                                        \
            break;                                                                                                     \
        default:                                                                                                       \
            f(width, __VA_ARGS__);                                                                                     \
        }                                                                                                              \
    } while (0)

#endif
