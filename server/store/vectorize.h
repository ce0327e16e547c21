/* VECTORIZE before a function: its plain loops become vector code for the machine at hand. Contraction stays off, so
 * that every machine computes the same bits. */
#ifndef MANGROVE_SERVER_STORE_VECTORIZE_H
#define MANGROVE_SERVER_STORE_VECTORIZE_H

#include <math.h>

#include "common/real.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(MANGROVE_SANITIZED)
#define VECTORIZE                                                                                                      \
    __attribute__((optimize("O3", "fp-contract=off"), target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VECTORIZE
#endif

#ifdef MANGROVE_DOUBLE
#define REAL_SQRT sqrt
#else
#define REAL_SQRT sqrtf
#endif

#endif
