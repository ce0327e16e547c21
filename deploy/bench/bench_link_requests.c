/* Random rows, and gradients for them. */
#include <stdlib.h>

#include "common/log.h"
#include "deploy/bench/bench_link.h"

static uint64_t next_random(uint64_t *state) { /* splitmix64 */
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Distinct rows in random order: each is drawn from a stretch of the table of its own, then they are shuffled. */
static void draw_keys(uint64_t *keys, LinkShape shape, uint64_t *state) {
    uint64_t stretch = shape.table_rows / shape.n_rows;
    for (uint32_t i = 0; i < shape.n_rows; i++)
        keys[i] = i * stretch + next_random(state) % stretch;
    for (uint32_t i = shape.n_rows - 1; i > 0; i--) {
        uint32_t j = (uint32_t)(next_random(state) % (i + 1));
        uint64_t key = keys[i];
        keys[i] = keys[j];
        keys[j] = key;
    }
}

void link_requests_init(LinkRequests *r, LinkShape shape, uint64_t seed) {
    *r = (LinkRequests){.shape = shape};
    for (int k = 0; k < LINK_SETS; k++) {
        r->keys[k] = must_alloc(shape.n_rows * sizeof **r->keys);
        draw_keys(r->keys[k], shape, &seed);
    }
    size_t n_values = (size_t)shape.n_rows * shape.width;
    r->grads = must_alloc(n_values * sizeof *r->grads);
    for (size_t i = 0; i < n_values; i++)
        r->grads[i] = (float)(int64_t)next_random(&seed) * 0x1p-70f; /* within +- 1/128 */
}

void link_requests_free(LinkRequests *r) {
    for (int k = 0; k < LINK_SETS; k++)
        free(r->keys[k]);
    free(r->grads);
    *r = (LinkRequests){0};
}
