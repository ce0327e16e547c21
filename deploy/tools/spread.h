/* How numbers are spread: what people are shown of row norms and distances. */
#ifndef MANGROVE_DEPLOY_TOOLS_SPREAD_H
#define MANGROVE_DEPLOY_TOOLS_SPREAD_H

#include <jansson.h>
#include <stdint.h>

typedef struct Spread {
    uint64_t n; /* 0: all others are 0 */
    double min, median, mean, max;
} Spread;

/* x (n) finite; is sorted. The median of an even number is the lower of the two in the middle. */
Spread spread_of(double *x, uint64_t n);
json_t *spread_json(const Spread *s); /* null where n is 0 */

/* 2-norm of x, and of y - x; (n) each, summed in double. */
double norm_of(const float *x, uint32_t n);
double distance_of(const float *x, const float *y, uint32_t n);

#endif
