/* Batches from a data set. Everything random is keyed by what it is for, so whoever computes a batch gets the same. */
#include "worker/data/batch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/rng.h"

typedef struct ChunkOrder {
    uint32_t epoch, chunk; /* epoch 0: none yet */
    uint32_t *order;       /* (largest chunk) indexes within the chunk */
} ChunkOrder;

struct Batcher {
    const Dataset *data;
    const Geometry *geometry;
    const Config *config;
    int inputs;
    ChunkOrder orders[N_DOMAINS];
};

/* What a batch is made of, before it is. */
typedef struct Selection {
    int domain;
    Split split;
    uint32_t n;
    const Instance *instances; /* all of the list */
    const uint32_t *picks;     /* (n) indexes of instances */
} Selection;

Batcher *batcher_open(const Dataset *data, const Geometry *geometry, const Config *config, int inputs) {
    Batcher *b = must_calloc(1, sizeof *b);
    *b = (Batcher){.data = data, .geometry = geometry, .config = config, .inputs = inputs};
    for (int d = 0; d < N_DOMAINS; d++) {
        uint32_t largest = 1;
        for (uint32_t c = 0; c < geometry->n_chunks; c++)
            if (geometry->counts[c].n[d][SPLIT_TRAIN] > largest)
                largest = geometry->counts[c].n[d][SPLIT_TRAIN];
        b->orders[d].order = must_alloc(largest * sizeof(uint32_t));
    }
    return b;
}

void batcher_close(Batcher **b) {
    if (!*b)
        return;
    for (int d = 0; d < N_DOMAINS; d++)
        free((*b)->orders[d].order);
    free(*b);
    *b = NULL;
}

static uint32_t smaller(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

/* ---- histories ---- */

static uint32_t history_length(const Instance *x, uint32_t longest) {
    return smaller(x->target - x->first, longest);
}

static void fill_histories(const Batcher *b, const Selection *s, Arena *arena, Batch *out) {
    uint32_t seq_len = (uint32_t)b->config->model.seq_len, n_events, at = 0;
    const uint32_t *items = dataset_event_items(b->data, s->domain, &n_events);
    const int64_t *times = dataset_event_times(b->data, s->domain);
    uint32_t *offset = arena_array(arena, uint32_t, s->n + 1);
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t length = history_length(&s->instances[s->picks[i]], seq_len);
        offset[i] = at;
        at += length;
        if ((int)length > out->longest)
            out->longest = (int)length;
    }
    offset[s->n] = at;
    bool has_times = b->inputs & INPUT_TIMES;
    uint32_t *hist = arena_array(arena, uint32_t, at);
    int64_t *hist_time = has_times ? arena_array(arena, int64_t, at) : NULL;
    for (uint32_t i = 0; i < s->n; i++) {
        uint32_t length = offset[i + 1] - offset[i], first = s->instances[s->picks[i]].target - length;
        memcpy(hist + offset[i], items + first, length * sizeof *hist);
        if (has_times)
            memcpy(hist_time + offset[i], times + first, length * sizeof *hist_time);
    }
    out->offset = offset;
    out->hist = hist;
    out->hist_time = hist_time;
    out->n_positions = (int)at;
}

static void fill_targets(const Batcher *b, const Selection *s, Arena *arena, Batch *out) {
    const int64_t *times = dataset_event_times(b->data, s->domain);
    uint32_t *user = arena_array(arena, uint32_t, s->n);
    int64_t *target_time = b->inputs & INPUT_TIMES ? arena_array(arena, int64_t, s->n) : NULL;
    for (uint32_t i = 0; i < s->n; i++) {
        const Instance *x = &s->instances[s->picks[i]];
        user[i] = x->user;
        if (target_time)
            target_time[i] = times[x->target];
    }
    out->user = user;
    out->target_time = target_time;
}

/* ---- the other domain ---- */

/* The user's events of the other domain before `end`: [*first, *first + result), the most recent seq_len. */
static uint32_t other_range(const Batcher *b, int other, uint32_t user, int64_t end, uint32_t *first) {
    const int64_t *times = dataset_event_times(b->data, other);
    uint32_t n, low = 0;
    dataset_user_events(b->data, other, user, first, &n);
    for (uint32_t high = n; low < high;) {
        uint32_t middle = low + (high - low) / 2;
        if (times[*first + middle] < end)
            low = middle + 1;
        else
            high = middle;
    }
    uint32_t kept = smaller(low, (uint32_t)b->config->model.seq_len);
    *first += low - kept;
    return kept;
}

static void fill_other(const Batcher *b, const Selection *s, Arena *arena, Batch *out) {
    int other = DOMAIN_A + DOMAIN_B - s->domain;
    const int64_t *own_times = dataset_event_times(b->data, s->domain), *times = dataset_event_times(b->data, other);
    int64_t train_end = s->split == SPLIT_TRAIN ? dataset_train_end(b->data, other) : INT64_MAX;
    uint32_t n_events, at = 0;
    const uint32_t *items = dataset_event_items(b->data, other, &n_events);
    uint32_t *offset = arena_array(arena, uint32_t, s->n + 1), *first = arena_array(arena, uint32_t, s->n);
    for (uint32_t i = 0; i < s->n; i++) {
        const Instance *x = &s->instances[s->picks[i]];
        int64_t time = own_times[x->target];
        offset[i] = at;
        at += other_range(b, other, x->user, time < train_end ? time : train_end, &first[i]);
    }
    offset[s->n] = at;
    uint32_t *other_items = arena_array(arena, uint32_t, at);
    int64_t *other_times = arena_array(arena, int64_t, at);
    for (uint32_t i = 0; i < s->n; i++) {
        memcpy(other_items + offset[i], items + first[i], (offset[i + 1] - offset[i]) * sizeof *items);
        memcpy(other_times + offset[i], times + first[i], (offset[i + 1] - offset[i]) * sizeof *times);
    }
    out->other_offset = offset;
    out->other = other_items;
    out->other_time = other_times;
}

static void fill_inputs(const Batcher *b, const Selection *s, Arena *arena, Batch *out) {
    *out = (Batch){.domain = s->domain, .n_instances = (int)s->n};
    fill_histories(b, s, arena, out);
    fill_targets(b, s, arena, out);
    if (b->inputs & INPUT_OTHER)
        fill_other(b, s, arena, out);
}

/* ---- training ---- */

static const uint32_t *chunk_order(Batcher *b, int domain, uint32_t epoch, uint32_t chunk) {
    ChunkOrder *o = &b->orders[domain];
    if (o->epoch == epoch && o->chunk == chunk && epoch)
        return o->order;
    uint32_t n = b->geometry->counts[chunk].n[domain][SPLIT_TRAIN];
    for (uint32_t i = 0; i < n; i++)
        o->order[i] = i;
    RngPurpose purpose = domain == DOMAIN_A ? RNG_ORDER_A : RNG_ORDER_B;
    Rng r = rng_stream(b->config->train.seed, purpose, epoch, chunk);
    rng_shuffle(&r, o->order, n);
    o->epoch = epoch;
    o->chunk = chunk;
    return o->order;
}

/* Candidate 0 is the positive, the others come from the domain's targets, duplicates allowed, never the positive. */
static void draw_candidates(const Batcher *b, const Selection *s, uint32_t epoch, Arena *arena, Batch *out) {
    uint32_t n_targets, n_negatives = (uint32_t)b->config->train.negatives, width = n_negatives + 1;
    const uint32_t *targets = dataset_targets(b->data, s->domain, &n_targets);
    uint32_t *cand = arena_array(arena, uint32_t, s->n * (size_t)width);
    RngPurpose purpose = s->domain == DOMAIN_A ? RNG_NEGATIVES_A : RNG_NEGATIVES_B;
    for (uint32_t i = 0; i < s->n; i++) {
        Rng r = rng_stream(b->config->train.seed, purpose, epoch, s->picks[i]);
        uint32_t *row = cand + i * (size_t)width;
        row[0] = targets[s->picks[i]];
        for (uint32_t k = 1; k < width; k++)
            do
                row[k] = targets[rng_below(&r, n_targets)];
            while (row[k] == row[0]);
    }
    out->cand = cand;
    out->n_candidates = (int)width;
}

void batcher_train(Batcher *b, const Work *work, Arena *arena, Batch *out) {
    uint32_t chunk, first, count, n_all, rank_size = (uint32_t)b->config->train.batch;
    geometry_step_range(b->geometry, work->domain, SPLIT_TRAIN, work->step, &chunk, &first, &count);
    const uint32_t *order = chunk_order(b, work->domain, work->epoch, chunk);
    uint32_t start = smaller(work->rank * rank_size, count), end = smaller(start + rank_size, count);
    uint32_t chunk_start = dataset_chunk_start(b->data, chunk, work->domain, SPLIT_TRAIN, PROTOCOL_WARM);
    uint32_t *picks = arena_array(arena, uint32_t, end - start);
    for (uint32_t i = start; i < end; i++)
        picks[i - start] = chunk_start + order[first + i];
    Selection s = {.domain = work->domain, .split = SPLIT_TRAIN, .n = end - start, .picks = picks};
    s.instances = dataset_instances(b->data, work->domain, SPLIT_TRAIN, PROTOCOL_WARM, &n_all);
    fill_inputs(b, &s, arena, out);
    draw_candidates(b, &s, work->epoch, arena, out);
    out->step_instances = (int)count;
}

/* ---- evaluation ---- */

void batcher_eval(Batcher *b, const Work *work, Arena *arena, Batch *out) {
    Split split = (Split)work->split;
    Protocol protocol = b->config->eval.protocol;
    uint32_t chunk, first, count, n_all, n_events, width = DATASET_NEGATIVES + 1;
    geometry_step_range(b->geometry, work->domain, split, work->step, &chunk, &first, &count);
    first += dataset_chunk_start(b->data, chunk, work->domain, split, protocol);
    uint32_t *picks = arena_array(arena, uint32_t, count);
    for (uint32_t i = 0; i < count; i++)
        picks[i] = first + i;
    Selection s = {.domain = work->domain, .split = split, .n = count, .picks = picks};
    s.instances = dataset_instances(b->data, work->domain, split, protocol, &n_all);
    assert(first + count <= n_all);
    fill_inputs(b, &s, arena, out);
    const uint32_t *items = dataset_event_items(b->data, work->domain, &n_events);
    uint32_t *cand = arena_array(arena, uint32_t, count * (size_t)width);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t *negatives = dataset_negatives(b->data, work->domain, split, protocol, first + i);
        cand[i * width] = items[s.instances[first + i].target];
        memcpy(cand + i * width + 1, negatives, DATASET_NEGATIVES * sizeof *cand);
    }
    out->cand = cand;
    out->n_candidates = (int)width;
    out->step_instances = (int)count;
}
