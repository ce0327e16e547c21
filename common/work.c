/* Work has a name: numbers of steps, and the orders of an epoch. */
#include "common/work.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/rng.h"

static uint32_t batch_size(const Geometry *g, Split split) {
    return split == SPLIT_TRAIN ? g->step_size : g->eval_batch;
}

static uint32_t steps_of(const Geometry *g, uint32_t chunk, int domain, Split split) {
    uint32_t size = batch_size(g, split), n = g->counts[chunk].n[domain][split];
    return n / size + (n % size != 0);
}

static Err number_steps(Geometry *g, int domain, Split split) {
    uint64_t sum = 0;
    uint32_t *first = must_calloc(g->n_chunks + 1, sizeof *first);
    g->first_step[domain][split] = first;
    for (uint32_t c = 0; c < g->n_chunks; c++) {
        first[c] = (uint32_t)sum;
        sum += steps_of(g, c, domain, split);
        if (sum > UINT32_MAX / 2)
            return err_fail(ERR_DATA, "the data set has more than %u steps in an epoch: use a larger batch",
                            UINT32_MAX / 2);
    }
    first[g->n_chunks] = (uint32_t)sum;
    return OK;
}

Err geometry_init(Geometry *g, const ChunkCounts *counts, uint32_t n_chunks, uint32_t ranks, uint32_t batch,
                  uint32_t eval_batch) {
    *g = (Geometry){.n_chunks = n_chunks, .step_size = ranks * batch, .eval_batch = eval_batch};
    if (!ranks || !batch || !eval_batch || (uint64_t)ranks * batch > UINT32_MAX / 2)
        return err_fail(ERR_CONFIG, "%u ranks of %u instances make no step", ranks, batch);
    g->counts = must_calloc(n_chunks ? n_chunks : 1, sizeof *counts);
    memcpy(g->counts, counts, n_chunks * sizeof *counts);
    Err err = OK;
    for (int d = 0; d < N_DOMAINS && !err; d++)
        for (int split = 0; split < N_SPLITS && !err; split++)
            err = number_steps(g, d, split);
    if (!err && geometry_steps(g, DOMAIN_A, SPLIT_TRAIN) + geometry_steps(g, DOMAIN_B, SPLIT_TRAIN) == 0)
        err = err_fail(ERR_DATA, "the data set has no training instance");
    if (err)
        geometry_free(g);
    return err;
}

void geometry_free(Geometry *g) {
    free(g->counts);
    for (int d = 0; d < N_DOMAINS; d++)
        for (int split = 0; split < N_SPLITS; split++)
            free(g->first_step[d][split]);
    *g = (Geometry){0};
}

uint32_t geometry_steps(const Geometry *g, int domain, Split split) {
    return g->first_step[domain][split][g->n_chunks];
}

uint32_t geometry_chunk_steps(const Geometry *g, uint32_t chunk, int domain, Split split) {
    const uint32_t *first = g->first_step[domain][split];
    return first[chunk + 1] - first[chunk];
}

/* The last chunk whose first step is not after `step`, by bisection; empty chunks are skipped by that. */
static uint32_t chunk_of(const Geometry *g, int domain, Split split, uint32_t step) {
    const uint32_t *first = g->first_step[domain][split];
    uint32_t low = 0, high = g->n_chunks;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (first[middle] <= step)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void geometry_step_range(const Geometry *g, int domain, Split split, uint32_t step, uint32_t *chunk, uint32_t *first,
                         uint32_t *count) {
    assert(step < geometry_steps(g, domain, split));
    uint32_t c = chunk_of(g, domain, split, step);
    uint64_t n = g->counts[c].n[domain][split], n_steps = geometry_chunk_steps(g, c, domain, split);
    uint64_t i = step - g->first_step[domain][split][c];
    *chunk = c;
    *first = (uint32_t)(i * n / n_steps);
    *count = (uint32_t)((i + 1) * n / n_steps) - *first;
}

/* ---- parts ------------------------------------------------------------------------------------------------------ */

static uint32_t both_steps(const Geometry *g, uint32_t chunk) {
    return geometry_chunk_steps(g, chunk, DOMAIN_A, SPLIT_TRAIN) +
           geometry_chunk_steps(g, chunk, DOMAIN_B, SPLIT_TRAIN);
}

uint32_t geometry_part_size(const Geometry *g) {
    return g->step_size < PART_INSTANCES ? PART_INSTANCES / g->step_size : 1;
}

uint32_t geometry_chunk_parts(const Geometry *g, uint32_t chunk) {
    uint32_t size = geometry_part_size(g);
    return (both_steps(g, chunk) + size - 1) / size;
}

uint32_t geometry_parts(const Geometry *g) {
    uint32_t n = 0;
    for (uint32_t c = 0; c < g->n_chunks; c++)
        n += geometry_chunk_parts(g, c);
    return n;
}

void geometry_part_order(const Geometry *g, uint64_t seed, uint32_t epoch, Part *parts) {
    uint32_t n = 0;
    for (uint32_t c = 0; c < g->n_chunks; c++)
        for (uint32_t i = 0; i < geometry_chunk_parts(g, c); i++)
            parts[n++] = (Part){.chunk = c, .index = i};
    Rng r = rng_stream(seed, RNG_PART_ORDER, epoch, 0);
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = rng_below(&r, i);
        Part kept = parts[i - 1];
        parts[i - 1] = parts[j];
        parts[j] = kept;
    }
}

/* Which domain each place of the chunk's interleaved order belongs to. */
static uint8_t *interleave(const Geometry *g, uint64_t seed, uint32_t epoch, uint32_t chunk) {
    uint32_t n = both_steps(g, chunk), n_a = geometry_chunk_steps(g, chunk, DOMAIN_A, SPLIT_TRAIN);
    uint8_t *domains = must_alloc(n + 1);
    memset(domains, DOMAIN_A, n_a);
    memset(domains + n_a, DOMAIN_B, n - n_a);
    Rng r = rng_stream(seed, RNG_INTERLEAVE, epoch, chunk);
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = rng_below(&r, i);
        uint8_t kept = domains[i - 1];
        domains[i - 1] = domains[j];
        domains[j] = kept;
    }
    return domains;
}

/* Every step of the chunk, in the order in which it visits them. */
static void chunk_order(const Geometry *g, uint64_t seed, uint32_t epoch, uint32_t chunk, StepName *steps) {
    uint32_t n = both_steps(g, chunk), next[N_DOMAINS] = {g->first_step[DOMAIN_A][SPLIT_TRAIN][chunk],
                                                          g->first_step[DOMAIN_B][SPLIT_TRAIN][chunk]};
    uint8_t *domains = interleave(g, seed, epoch, chunk);
    for (uint32_t i = 0; i < n; i++)
        steps[i] = (StepName){.step = next[domains[i]]++, .domain = domains[i]};
    free(domains);
}

uint32_t geometry_part_length(const Geometry *g, Part part) {
    assert(part.chunk < g->n_chunks && part.index < geometry_chunk_parts(g, part.chunk));
    uint32_t size = geometry_part_size(g), left = both_steps(g, part.chunk) - part.index * size;
    return left < size ? left : size;
}

uint32_t geometry_part_steps(const Geometry *g, uint64_t seed, uint32_t epoch, Part part, StepName *steps) {
    uint32_t n = geometry_part_length(g, part);
    StepName *all = must_alloc((both_steps(g, part.chunk) + 1) * sizeof *all);
    chunk_order(g, seed, epoch, part.chunk, all);
    memcpy(steps, all + part.index * geometry_part_size(g), n * sizeof *steps);
    free(all);
    return n;
}

void geometry_epoch_order(const Geometry *g, uint64_t seed, uint32_t epoch, Part *parts, StepName *steps) {
    size_t n_all = (size_t)geometry_steps(g, DOMAIN_A, SPLIT_TRAIN) + geometry_steps(g, DOMAIN_B, SPLIT_TRAIN), n = 0;
    StepName *chunks = must_alloc((n_all + 1) * sizeof *chunks);
    size_t *first = must_alloc((g->n_chunks + 1) * sizeof *first);
    for (uint32_t c = 0; c < g->n_chunks; c++) {
        first[c] = n;
        chunk_order(g, seed, epoch, c, chunks + n);
        n += both_steps(g, c);
    }
    geometry_part_order(g, seed, epoch, parts);
    n = 0;
    for (uint32_t i = 0; i < geometry_parts(g); i++) {
        uint32_t length = geometry_part_length(g, parts[i]);
        memcpy(steps + n, chunks + first[parts[i].chunk] + (size_t)parts[i].index * geometry_part_size(g),
               length * sizeof *steps);
        n += length;
    }
    free(first);
    free(chunks);
}

uint32_t bitmap_count(const uint8_t *bits, uint32_t n_bits) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < bitmap_bytes(n_bits); i++)
        count += (uint32_t)__builtin_popcount(bits[i]);
    return count;
}
