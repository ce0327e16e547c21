/* The number type of ops, models, tables and optimizers: float in the product, double in the build of the proofs. */
#ifndef MANGROVE_COMMON_REAL_H
#define MANGROVE_COMMON_REAL_H

#ifdef MANGROVE_DOUBLE
typedef double real;
#define REAL_DTYPE "F64"
#else
typedef float real;
#define REAL_DTYPE "F32"
#endif

#endif
