#include "worker/data/paper.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/rng.h"
#include "worker/data/seen.h"

enum { N = RANKING_CANDIDATES };

typedef struct Paper {
    const Dataset *data;
    const Geometry *geometry;
    int domain;
    Split split;
    Seen seen;
    uint32_t *candidates; /* (n, N), 0 where training has not seen them */
    Evalset list;         /* the data set's own: histories, users and times */
} Paper;

/* ---- candidates ---- */

static bool contains(const uint32_t *items, int n, uint32_t item) {
    for (int i = 0; i < n; i++)
        if (items[i] == item)
            return true;
    return false;
}

/* Ten different ones, else the draw would not end. */
static Err check_items(const uint32_t *items, uint32_t n, int domain) {
    uint32_t found[N];
    int n_found = 0;
    for (uint32_t i = 0; i < n && n_found < N; i++)
        if (!contains(found, n_found, items[i]))
            found[n_found++] = items[i];
    if (n_found == N)
        return OK;
    return err_fail(ERR_DATA, "domain %c has %d items; protocol paper needs %d to draw from", "AB"[domain], n_found, N);
}

static void draw(uint32_t *row, const uint32_t *items, uint32_t n, Rng *r) {
    for (int k = 1; k < N;) {
        uint32_t item = items[rng_below(r, n)];
        if (!contains(row, k, item))
            row[k++] = item;
    }
}

static Err draw_all(Paper *p, uint64_t seed) {
    uint32_t n, n_events, stream = (uint32_t)EVAL_PAPER << 16 | (uint32_t)p->domain << 8 | (uint32_t)p->split;
    const Instance *instances = dataset_instances(p->data, p->domain, p->split, PROTOCOL_ALL, &n);
    const uint32_t *items = dataset_event_items(p->data, p->domain, &n_events);
    Err err = check_items(items, n_events, p->domain);
    if (err)
        return err;
    p->candidates = must_alloc(((size_t)n * N + 1) * sizeof *p->candidates);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t *row = p->candidates + (size_t)i * N;
        Rng r = rng_stream(seed, RNG_CANDIDATES, stream, i);
        row[0] = items[instances[i].target];
        draw(row, items, n_events, &r);
        for (int k = 0; k < N; k++)
            row[k] = seen_item(&p->seen, row[k]);
    }
    return OK;
}

/* ---- batches ---- */

static const uint32_t *mapped(const Seen *s, const uint32_t *ids, size_t n, Arena *arena) {
    uint32_t *out = arena_array(arena, uint32_t, n);
    for (size_t i = 0; i < n; i++)
        out[i] = seen_item(s, ids[i]);
    return out;
}

/* The data set's batch, in which every id is replaced by what training knows of it. */
static void make(void *self, uint32_t batch, Arena *arena, Batch *out) {
    Paper *p = self;
    uint32_t chunk, first, count;
    geometry_step_range(p->geometry, p->domain, p->split, batch, &chunk, &first, &count);
    first += dataset_chunk_start(p->data, chunk, p->domain, p->split, PROTOCOL_ALL);
    p->list.make(p->list.self, batch, arena, out);
    uint32_t *users = arena_array(arena, uint32_t, count);
    for (uint32_t i = 0; i < count; i++)
        users[i] = seen_user(&p->seen, out->user[i]);
    out->user = users;
    out->hist = mapped(&p->seen, out->hist, (size_t)out->n_positions, arena);
    if (out->other)
        out->other = mapped(&p->seen, out->other, out->other_offset[count], arena);
    out->cand = p->candidates + (size_t)first * N;
}

/* ---- life ---- */

static void close_paper(void *self) {
    Paper *p = self;
    evalset_close(&p->list);
    seen_free(&p->seen);
    free(p->candidates);
    free(p);
}

/* Takes the list's lengths and its users, mapped. */
static void describe(Evalset *out, Paper *p) {
    Evalset *list = &p->list;
    size_t n_rows = (size_t)list->n * N;
    *out = (Evalset){.n = list->n,
                     .users = list->users,
                     .lengths = list->lengths,
                     .is_unknown = must_alloc(n_rows + 1),
                     .ties = TIES_HEAPSORT,
                     .n_batches = list->n_batches,
                     .make = make,
                     .self = p,
                     .close = close_paper};
    list->users = list->lengths = NULL;
    for (uint32_t i = 0; i < out->n; i++)
        out->users[i] = seen_user(&p->seen, out->users[i]);
    for (size_t i = 0; i < n_rows; i++)
        out->is_unknown[i] = p->candidates[i] == 0;
}

Err paper_open(Evalset *out, const Dataset *data, const Geometry *geometry, const Config *config, int inputs,
               int domain, Split split, uint64_t seed) {
    assert(config->eval.protocol == PROTOCOL_ALL);
    Paper *p = must_calloc(1, sizeof *p);
    *p = (Paper){.data = data, .geometry = geometry, .domain = domain, .split = split};
    seen_find(&p->seen, data);
    evalset_open(&p->list, data, geometry, config, inputs, domain, split);
    Err err = draw_all(p, seed);
    if (err)
        close_paper(p);
    else
        describe(out, p);
    return err;
}
