/* VECTORIZE before a function: its plain loops become vector code for the machine at hand. Contraction stays off, so
 * that every machine computes the same bits. */
#ifndef MANGROVE_COMMON_VECTOR_CODE_H
#define MANGROVE_COMMON_VECTOR_CODE_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(MANGROVE_SANITIZED)
#define VECTORIZE                                                                                                      \
    __attribute__((optimize("O3", "fp-contract=off"), target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VECTORIZE
#endif

#endif
