#include "worker/data/published_set.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "worker/data/published.h"
#include "worker/data/seen.h"

enum { N = RANKING_CANDIDATES };

typedef struct PublishedSet {
    Published file;
    int domain;
    uint32_t n, *picks; /* (n) positives of the file that are in the set */
    uint32_t *items;    /* (file.items.n) name -> id that the model knows, 0 = unknown */
    uint32_t *users;    /* (file.users.n) likewise */
    uint8_t *is_warm;   /* (file.items.n) */
    uint32_t seq_len, batch;
} PublishedSet;

/* ---- names -> ids ---- */

typedef const char *(*NameOf)(const Dataset *d, uint32_t id);

static void map_dataset(const Dataset *data, NameOf name_of, uint32_t n_ids, const Vocab *names, uint32_t *ids) {
    for (uint32_t id = 1; id < n_ids; id++) {
        const char *name = name_of(data, id);
        uint32_t found = vocab_find(names, name, strlen(name));
        if (found)
            ids[found] = id;
    }
}

static void map_to_data(PublishedSet *p, const Dataset *data, EvalProtocol protocol) {
    const DataInfo *info = dataset_info(data);
    Seen seen;
    map_dataset(data, dataset_item_name, info->n_items, &p->file.items, p->items);
    map_dataset(data, dataset_user_name, info->n_users, &p->file.users, p->users);
    seen_find(&seen, data);
    for (uint32_t i = 0; i < p->file.items.n; i++) {
        p->is_warm[i] = seen.items[p->items[i]] >> p->domain & 1;
        if (protocol == EVAL_PAPER)
            p->items[i] = seen_item(&seen, p->items[i]);
    }
    for (uint32_t i = 0; i < p->file.users.n && protocol == EVAL_PAPER; i++)
        p->users[i] = seen_user(&seen, p->users[i]);
    seen_free(&seen);
}

static Err map_to_vocabulary(PublishedSet *p, const char *dir) {
    Err err = published_map_items(dir, &p->file.items, p->items);
    if (!err)
        err = published_map_users(dir, &p->file.users, p->users);
    for (uint32_t i = 0; i < p->file.items.n; i++)
        p->is_warm[i] = p->items[i] != 0;
    return err;
}

static Err map_names(PublishedSet *p, const PublishedSource *source) {
    p->items = must_calloc(p->file.items.n, sizeof *p->items);
    p->users = must_calloc(p->file.users.n, sizeof *p->users);
    p->is_warm = must_calloc(p->file.items.n, 1);
    if (!source->data)
        return map_to_vocabulary(p, source->dir);
    map_to_data(p, source->data, source->protocol);
    return OK;
}

/* ---- the set ---- */

static const uint32_t *names_of(const PublishedSet *p, uint32_t pick) {
    return p->file.candidates + (size_t)pick * N;
}

static void pick_groups(PublishedSet *p, EvalProtocol protocol) {
    p->picks = must_alloc(p->file.n * sizeof *p->picks);
    for (uint32_t i = 0; i < p->file.n; i++) {
        int n_warm = 0;
        for (int k = 0; k < N; k++)
            n_warm += p->is_warm[names_of(p, i)[k]];
        if (protocol != EVAL_WARM || n_warm == N)
            p->picks[p->n++] = i;
    }
}

static void close_published(void *self) {
    PublishedSet *p = self;
    published_free(&p->file);
    free(p->picks);
    free(p->items);
    free(p->users);
    free(p->is_warm);
    free(p);
}

static void describe(Evalset *out, const PublishedSet *p, EvalProtocol protocol) {
    const Published *f = &p->file;
    *out = (Evalset){.n = p->n,
                     .users = must_alloc((p->n + (size_t)1) * sizeof *out->users),
                     .lengths = must_alloc((p->n + (size_t)1) * sizeof *out->lengths),
                     .is_unknown = must_alloc((size_t)p->n * N + 1),
                     .ties = protocol == EVAL_PAPER ? TIES_HEAPSORT : TIES_EXPECTED};
    for (uint32_t i = 0; i < p->n; i++) {
        uint32_t pick = p->picks[i];
        out->users[i] = protocol == EVAL_PAPER ? p->users[f->user[pick]] : f->user[pick];
        out->lengths[i] = (uint32_t)(f->start[pick + 1] - f->start[pick]);
        for (int k = 0; k < N; k++)
            out->is_unknown[(size_t)i * N + (size_t)k] = p->items[names_of(p, pick)[k]] == 0;
    }
}

/* ---- batches ---- */

static uint32_t smaller(uint64_t a, uint32_t b) {
    return a < b ? (uint32_t)a : b;
}

/* The most recent seq_len of every history. */
static void fill_histories(const PublishedSet *p, const uint32_t *picks, uint32_t n, Arena *arena, Batch *out) {
    const Published *f = &p->file;
    uint32_t *offset = arena_array(arena, uint32_t, n + 1);
    offset[0] = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t length = smaller(f->start[picks[i] + 1] - f->start[picks[i]], p->seq_len);
        offset[i + 1] = offset[i] + length;
        if ((int)length > out->longest)
            out->longest = (int)length;
    }
    uint32_t *hist = arena_array(arena, uint32_t, offset[n]);
    int64_t *times = arena_array(arena, int64_t, offset[n]);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t from = f->start[picks[i] + 1] - (offset[i + 1] - offset[i]);
        for (uint32_t at = offset[i]; at < offset[i + 1]; at++, from++) {
            hist[at] = p->items[f->history[from]];
            times[at] = f->history_time[from];
        }
    }
    out->offset = offset;
    out->hist = hist;
    out->hist_time = times;
    out->n_positions = (int)offset[n];
}

/* The published files tell nothing of the other domain. */
static void fill_other(uint32_t n, Arena *arena, Batch *out) {
    out->other_offset = arena_zeros(arena, uint32_t, n + 1);
    out->other = arena_array(arena, uint32_t, 1);
    out->other_time = arena_array(arena, int64_t, 1);
}

static void make(void *self, uint32_t batch, Arena *arena, Batch *out) {
    const PublishedSet *p = self;
    const Published *f = &p->file;
    uint32_t first = batch * p->batch, n = smaller(p->n - first, p->batch);
    const uint32_t *picks = p->picks + first;
    uint32_t *user = arena_array(arena, uint32_t, n), *cand = arena_array(arena, uint32_t, n * (size_t)N);
    int64_t *time = arena_array(arena, int64_t, n);
    *out = (Batch){.domain = p->domain, .n_instances = (int)n, .n_candidates = N, .step_instances = (int)n};
    for (uint32_t i = 0; i < n; i++) {
        user[i] = p->users[f->user[picks[i]]];
        time[i] = f->time[picks[i]];
        for (int k = 0; k < N; k++)
            cand[i * (size_t)N + (size_t)k] = p->items[names_of(p, picks[i])[k]];
    }
    out->user = user;
    out->target_time = time;
    out->cand = cand;
    fill_histories(p, picks, n, arena, out);
    fill_other(n, arena, out);
}

Err published_set_open(Evalset *out, const PublishedSource *source, int domain, bool *exists) {
    *out = (Evalset){0};
    PublishedSet *p = must_calloc(1, sizeof *p);
    p->domain = domain;
    Err err = published_read(&p->file, source->dir, domain, source->split, exists);
    if (!err && *exists)
        err = map_names(p, source);
    if (err || !*exists) {
        close_published(p);
        return err;
    }
    pick_groups(p, source->protocol);
    describe(out, p, source->protocol);
    out->self = p;
    out->close = close_published;
    if (source->data) {
        p->seq_len = (uint32_t)source->config->model.seq_len;
        p->batch = (uint32_t)source->config->eval.batch;
        out->n_batches = (p->n + p->batch - 1) / p->batch;
        out->make = make;
    }
    return OK;
}
