/* The order that numpy.argsort(x, kind="heapsort") gives, ties included: published results rest on it. */
#ifndef MANGROVE_COMMON_HEAPSORT_H
#define MANGROVE_COMMON_HEAPSORT_H

#include <stdint.h>

/* order (n) out: indexes of x (n), ascending; NaN counts as larger than every number. O(n log n), allocates nothing. */
void heapsort_order(const float *x, uint32_t n, uint32_t *order);

#endif
