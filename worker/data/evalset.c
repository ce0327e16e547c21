#include "worker/data/evalset.h"

#include <stdlib.h>
#include <string.h>

#include "common/length_groups.h"
#include "common/log.h"

typedef struct ListSet {
    Batcher *batcher;
    int domain;
    Split split;
} ListSet;

static void make(void *self, uint32_t batch, Arena *arena, Batch *out) {
    const ListSet *p = self;
    const Work work = {.pass = 1, .domain = (uint8_t)p->domain, .split = (uint8_t)p->split, .step = batch};
    batcher_eval(p->batcher, &work, arena, out);
}

static void close_prepared(void *self) {
    ListSet *p = self;
    batcher_close(&p->batcher);
    free(p);
}

void evalset_open(Evalset *out, const Dataset *data, const Geometry *geometry, const Config *config, int inputs,
                  int domain, Split split) {
    uint32_t n;
    const Instance *instances = dataset_instances(data, domain, split, config->eval.protocol, &n);
    ListSet *p = must_alloc(sizeof *p);
    *p = (ListSet){.batcher = batcher_open(data, geometry, config, inputs), .domain = domain, .split = split};
    *out = (Evalset){.n = n,
                     .users = must_alloc((n + (size_t)1) * sizeof *out->users),
                     .lengths = must_alloc((n + (size_t)1) * sizeof *out->lengths),
                     .ties = TIES_EXPECTED,
                     .n_batches = geometry_steps(geometry, domain, split),
                     .make = make,
                     .self = p,
                     .close = close_prepared};
    for (uint32_t i = 0; i < n; i++) {
        out->users[i] = instances[i].user;
        out->lengths[i] = instances[i].target - instances[i].first;
    }
}

/* Row i of in, if there is one, becomes row `to` of out. */
static void copy_row(void *out, uint32_t to, const void *in, uint32_t i, size_t bytes) {
    if (in)
        memcpy((char *)out + to * bytes, (const char *)in + i * bytes, bytes);
}

void evalset_pick_group(Evalset *out, float **out_scores, const Evalset *set, const float *scores, int group) {
    enum { N = RANKING_CANDIDATES };
    size_t most = set->n + (size_t)1;
    *out_scores = scores ? must_alloc(most * N * sizeof *scores) : NULL;
    *out = (Evalset){.users = must_alloc(most * sizeof *out->users),
                     .lengths = must_alloc(most * sizeof *out->lengths),
                     .is_unknown = set->is_unknown ? must_alloc(most * N) : NULL,
                     .ties = set->ties};
    for (uint32_t i = 0; i < set->n; i++) {
        if (length_group(set->lengths[i]) != group)
            continue;
        copy_row(out->users, out->n, set->users, i, sizeof *set->users);
        copy_row(out->lengths, out->n, set->lengths, i, sizeof *set->lengths);
        copy_row(out->is_unknown, out->n, set->is_unknown, i, N);
        copy_row(*out_scores, out->n, scores, i, N * sizeof *scores);
        out->n++;
    }
}

void evalset_close(Evalset *set) {
    if (set->close)
        set->close(set->self);
    free(set->users);
    free(set->lengths);
    free(set->is_unknown);
    *set = (Evalset){0};
}
