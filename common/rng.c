/* Random streams that have names, on Random123's Philox4x32-10. */
#include "common/rng.h"

#include <Random123/philox.h>
#include <assert.h>
#include <math.h>
#include <string.h>

Rng rng_stream(uint64_t seed, RngPurpose purpose, uint32_t epoch, uint64_t index) {
    return (Rng){
        .key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
        .counter = {(uint32_t)purpose << 24, epoch, (uint32_t)index, (uint32_t)(index >> 32)},
    };
}

uint32_t rng_u32(Rng *r) {
    if (r->left == 0) {
        philox4x32_key_t key = {{r->key[0], r->key[1]}};
        philox4x32_ctr_t counter = {{r->counter[0], r->counter[1], r->counter[2], r->counter[3]}};
        philox4x32_ctr_t out = philox4x32(counter, key);
        memcpy(r->block, out.v, sizeof r->block);
        r->counter[0]++;
        r->left = 4;
    }
    return r->block[4 - r->left--];
}

uint64_t rng_u64(Rng *r) {
    uint64_t low = rng_u32(r);
    return low | (uint64_t)rng_u32(r) << 32;
}

/* Lemire's multiply-shift with rejection (ACM TOMACS 29(1), 2019). */
uint32_t rng_below(Rng *r, uint32_t n) {
    assert(n > 0);
    uint64_t product = (uint64_t)rng_u32(r) * n;
    if ((uint32_t)product < n) {
        uint32_t floor = -n % n;
        while ((uint32_t)product < floor)
            product = (uint64_t)rng_u32(r) * n;
    }
    return (uint32_t)(product >> 32);
}

double rng_uniform(Rng *r) {
    return (double)(rng_u64(r) >> 11) * 0x1p-53;
}

double rng_normal(Rng *r) {
    double u = 1.0 - rng_uniform(r), v = rng_uniform(r);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

double rng_truncated_normal(Rng *r) {
    double x;
    do
        x = rng_normal(r);
    while (fabs(x) > 2.0);
    return x;
}

void rng_shuffle(Rng *r, uint32_t *items, uint32_t n) {
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = rng_below(r, i), kept = items[i - 1];
        items[i - 1] = items[j];
        items[j] = kept;
    }
}
