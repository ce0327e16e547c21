/* Where the batches of a benchmark come from. */
#include "deploy/bench/bench_batches.h"

#include <math.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/rng.h"
#include "worker/data/dataset.h"

enum { MADE_UP_ITEMS = 20000, MADE_UP_STEPS = 1000 };

struct BenchBatches {
    const Config *config;
    double mean_history;
    Dataset *data; /* NULL: made up */
    Geometry geometry;
    Batcher *batcher;
    uint32_t epoch, done[N_DOMAINS];
};

static Err open_data(BenchBatches *b, const Model *model, const char *dir) {
    const Config *c = b->config;
    Err err = dataset_open(&b->data, dir);
    if (err)
        return err;
    const DataInfo *info = dataset_info(b->data);
    err = geometry_init(&b->geometry, info->counts[c->eval.protocol], info->n_chunks, 1, (uint32_t)c->train.batch,
                        (uint32_t)c->eval.batch);
    if (!err)
        b->batcher = batcher_open(b->data, &b->geometry, c, model->inputs);
    return err;
}

Err bench_batches_open(BenchBatches **out, const Config *config, const Model *model, const char *dir,
                       double mean_history) {
    BenchBatches *b = must_calloc(1, sizeof *b);
    b->config = config;
    b->mean_history = mean_history;
    b->epoch = 1;
    Err err = dir ? open_data(b, model, dir) : OK;
    if (err)
        bench_batches_close(&b);
    *out = b;
    return err;
}

void bench_batches_close(BenchBatches **b) {
    if (!*b)
        return;
    batcher_close(&(*b)->batcher);
    geometry_free(&(*b)->geometry);
    dataset_close(&(*b)->data);
    free(*b);
    *b = NULL;
}

uint32_t bench_batches_items(const BenchBatches *b) {
    return b->data ? dataset_info(b->data)->n_items : MADE_UP_ITEMS;
}

uint32_t bench_batches_users(const BenchBatches *b) {
    return b->data ? dataset_info(b->data)->n_users : 1;
}

uint32_t bench_batches_steps(const BenchBatches *b, int domain) {
    return b->data ? geometry_steps(&b->geometry, domain, SPLIT_TRAIN) : MADE_UP_STEPS;
}

Work bench_batches_next(BenchBatches *b) {
    uint64_t n[N_DOMAINS];
    for (int d = 0; d < N_DOMAINS; d++)
        n[d] = bench_batches_steps(b, d);
    if (b->done[DOMAIN_A] == n[DOMAIN_A] && b->done[DOMAIN_B] == n[DOMAIN_B]) {
        b->epoch++;
        b->done[DOMAIN_A] = b->done[DOMAIN_B] = 0;
    }
    int domain = b->done[DOMAIN_A] * n[DOMAIN_B] <= b->done[DOMAIN_B] * n[DOMAIN_A] ? DOMAIN_A : DOMAIN_B;
    if (b->done[domain] == n[domain])
        domain = 1 - domain;
    return (Work){.epoch = b->epoch, .domain = (uint8_t)domain, .split = SPLIT_TRAIN, .step = b->done[domain]++};
}

/* The cube pushes uniform numbers towards the low ids: the popular ones. */
static uint32_t draw_item(Rng *r) {
    double u = rng_uniform(r);
    return 1 + (uint32_t)(u * u * u * (MADE_UP_ITEMS - 1));
}

static uint32_t history_length(const BenchBatches *b, uint32_t T, Rng *r) {
    if (b->mean_history >= T)
        return T;
    double goes_on = b->mean_history > 1 ? 1 - 1 / b->mean_history : 0;
    uint32_t n = 1;
    while (n < T && rng_uniform(r) < goes_on)
        n++;
    return n;
}

static void make_up(const BenchBatches *b, const Work *work, Arena *arena, Batch *out) {
    uint32_t B = (uint32_t)b->config->train.batch, N = (uint32_t)b->config->train.negatives + 1, P = 0;
    uint32_t T = (uint32_t)b->config->model.seq_len;
    uint32_t *offset = arena_array(arena, uint32_t, B + 1), *hist = arena_array(arena, uint32_t, B * T);
    uint32_t *cand = arena_array(arena, uint32_t, B * N), longest = 0;
    Rng r = rng_stream(b->config->train.seed, RNG_TEST, work->epoch, (uint64_t)work->step * 2 + work->domain);
    for (uint32_t i = 0; i < B; i++) {
        uint32_t n = history_length(b, T, &r);
        offset[i] = P;
        longest = n > longest ? n : longest;
        for (uint32_t t = 0; t < n; t++)
            hist[P++] = draw_item(&r);
        for (uint32_t c = 0; c < N; c++)
            cand[i * N + c] = draw_item(&r);
    }
    offset[B] = P;
    *out = (Batch){.domain = work->domain,
                   .n_instances = (int)B,
                   .n_candidates = (int)N,
                   .n_positions = (int)P,
                   .longest = (int)longest,
                   .step_instances = (int)B,
                   .offset = offset,
                   .hist = hist,
                   .cand = cand,
                   .user = arena_zeros(arena, uint32_t, B)};
}

void bench_batches_make(BenchBatches *b, const Work *work, Arena *arena, Batch *out) {
    if (b->data)
        batcher_train(b->batcher, work, arena, out);
    else
        make_up(b, work, arena, out);
}
