#include "deploy/tools/spread.h"

#include <math.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

Spread spread_of(double *x, uint64_t n) {
    Spread s = {.n = n};
    double sum = 0;
    if (n == 0)
        return s;
    qsort(x, n, sizeof *x, ascending);
    for (uint64_t i = 0; i < n; i++)
        sum += x[i];
    s.min = x[0];
    s.median = x[(n - 1) / 2];
    s.mean = sum / (double)n;
    s.max = x[n - 1];
    return s;
}

json_t *spread_json(const Spread *s) {
    return s->n ? json_pack("{s:f, s:f, s:f, s:f}", "min", s->min, "median", s->median, "mean", s->mean, "max", s->max)
                : json_null();
}

double norm_of(const float *x, uint32_t n) {
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    return sqrt(sum);
}

double distance_of(const float *x, const float *y, uint32_t n) {
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        double d = (double)y[i] - x[i];
        sum += d * d;
    }
    return sqrt(sum);
}
