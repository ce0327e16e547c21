/* The root of a real, for functions that are vectorised. */
#ifndef MANGROVE_SERVER_STORE_VECTORIZE_H
#define MANGROVE_SERVER_STORE_VECTORIZE_H

#include <math.h>

#include "common/real.h"
#include "common/vector_code.h"

#ifdef MANGROVE_DOUBLE
#define REAL_SQRT sqrt
#else
#define REAL_SQRT sqrtf
#endif

#endif
