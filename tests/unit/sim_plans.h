/* Which clusters are simulated, and by how many seeds. MANGROVE_SIM_SEEDS=5000 runs more of them, MANGROVE_SIM_FIRST=17
 * starts at a seed that failed. */
#ifndef MANGROVE_TESTS_SIM_PLANS_H
#define MANGROVE_TESTS_SIM_PLANS_H

#include "tests/unit/sim_run.h"

static inline uint64_t number(const char *variable, uint64_t fallback) {
    const char *text = getenv(variable);
    return text ? strtoull(text, NULL, 10) : fallback;
}

/* Seeds of a test case: from first, n of them; a case that takes a share of the whole says so. */
static inline uint64_t first_seed(void) {
    return number("MANGROVE_SIM_FIRST", 1);
}
static inline uint64_t last_seed(uint64_t share) {
    uint64_t n = number("MANGROVE_SIM_SEEDS", 400) / share;
    return first_seed() + (n ? n : 1);
}

static inline void expect(const SimOptions *o, const SimResult *r, Err code) {
    if (r->code != code)
        fail_msg("seed %llu, ranks %d, servers %d, workers %d: the run ended with %s, not %s: %s",
                 (unsigned long long)o->seed, o->ranks, o->servers, o->workers, err_name(r->code), err_name(code),
                 r->sentence);
}

/* Any cluster, with faults. */
static inline SimOptions any_cluster(uint64_t seed) {
    Rng r = rng_stream(seed, RNG_TEST, 2, 0);
    SimOptions o = {.seed = seed, .epochs = 2, .kills_node = -1};
    o.servers = 1 + (int)rng_below(&r, 3);
    o.workers = 1 + (int)rng_below(&r, 4);
    o.prefetch = (int)rng_below(&r, 2);
    o.has_snapshots = rng_below(&r, 4) != 0;
    o.n_kills = (int)rng_below(&r, 4);
    o.n_pauses = (int)rng_below(&r, 3);
    o.n_joins = (int)rng_below(&r, 3);
    return o;
}

#endif
