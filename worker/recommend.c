#include "worker/recommend.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "worker/model/scorer.h"

/* Rows of (history position, candidate) that a block may have: what a block's widest layer leaves behind then stays in
 * a level-2 cache. */
enum { BLOCK_PAIRS = 4096, SMALLEST_BLOCK = 64 };

struct Recommender {
    const Dataset *data;
    uint32_t seq_len;
    int domain;
    Scorer *scorer;
    uint32_t n_candidates, *candidates;  /* ascending */
    uint8_t *is_candidate, *is_excluded; /* (n_items) */
};

/* ---- the best k of many ------------------------------------------------------------------------------------------ */

static bool is_better(Recommendation a, Recommendation b) {
    return a.score != b.score ? a.score > b.score : a.item < b.item;
}

static void swap(Recommendation *a, Recommendation *b) {
    Recommendation kept = *a;
    *a = *b;
    *b = kept;
}

/* A heap with the worst at its root: the one that the next better candidate replaces. */
static void sift_down(Recommendation *heap, uint32_t n, uint32_t i) {
    for (uint32_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && is_better(heap[child], heap[child + 1]))
            child++;
        if (!is_better(heap[i], heap[child]))
            return;
        swap(&heap[i], &heap[child]);
    }
}

static void sift_up(Recommendation *heap, uint32_t i) {
    for (uint32_t parent; i > 0 && is_better(heap[parent = (i - 1) / 2], heap[i]); i = parent)
        swap(&heap[i], &heap[parent]);
}

void top_offer(Top *t, uint32_t item, float score) {
    Recommendation offered = {item, score};
    if (t->n < t->k) {
        t->at[t->n] = offered;
        sift_up(t->at, t->n++);
    } else if (t->k && is_better(offered, t->at[0])) {
        t->at[0] = offered;
        sift_down(t->at, t->n, 0);
    }
}

void top_sort(Top *t) {
    for (uint32_t n = t->n; n > 1; n--) { /* the worst of the rest goes to its end */
        swap(&t->at[0], &t->at[n - 1]);
        sift_down(t->at, n - 1, 0);
    }
}

/* ---- opening and closing ----------------------------------------------------------------------------------------- */

static void find_candidates(Recommender *r) {
    uint32_t n_items = dataset_info(r->data)->n_items, n_events;
    const uint32_t *items = dataset_event_items(r->data, r->domain, &n_events);
    r->is_candidate = must_calloc(n_items, 1);
    r->is_excluded = must_calloc(n_items, 1);
    r->candidates = must_calloc(n_items, sizeof *r->candidates);
    for (uint32_t i = 0; i < n_events; i++)
        r->is_candidate[items[i]] = true;
    r->is_candidate[0] = false; /* padding and "unknown" */
    for (uint32_t item = 1; item < n_items; item++)
        if (r->is_candidate[item])
            r->candidates[r->n_candidates++] = item;
}

static Err pull(Recommender *r, const ParameterClient *client, uint32_t epoch) {
    Exchange x = {.work = {.epoch = epoch, .pass = 1, .domain = (uint8_t)r->domain, .split = SPLIT_TEST}};
    x.keys = scorer_keys(r->scorer, &x.n_keys, &x.n_values);
    x.values = scorer_values(r->scorer);
    Err err = client->pull_start(client->self, &x);
    return err ? err : client->pull_wait(client->self, &x);
}

Err recommender_open(Recommender **out, const Dataset *data, const Config *config, const Schema *schema, int domain,
                     const ParameterClient *client, uint32_t epoch) {
    *out = NULL;
    const Model *model = model_find(config->model.name);
    if (!model)
        return ERR_CONFIG;
    if (model->inputs)
        return err_fail(ERR_CONFIG,
                        "the model %s looks at more of a user than a history, which is all that can be given",
                        model->name);
    Recommender *r = *out = must_calloc(1, sizeof *r);
    r->data = data;
    r->seq_len = (uint32_t)config->model.seq_len;
    r->domain = domain;
    find_candidates(r);
    r->scorer = scorer_open(model, config, schema, domain);
    Err err = pull(r, client, epoch);
    if (err)
        recommender_close(out);
    return err;
}

void recommender_close(Recommender **r) {
    if (!*r)
        return;
    scorer_close(&(*r)->scorer);
    free((*r)->candidates);
    free((*r)->is_candidate);
    free((*r)->is_excluded);
    free(*r);
    *r = NULL;
}

uint32_t recommender_candidates(const Recommender *r) {
    return r->n_candidates;
}

bool recommender_is_candidate(const Recommender *r, uint32_t item) {
    return item < dataset_info(r->data)->n_items && r->is_candidate[item];
}

/* ---- for a history ----------------------------------------------------------------------------------------------- */

RecommendQuery recommender_user(const Recommender *r, uint32_t user, bool excludes_seen) {
    RecommendQuery q = {.user = user};
    for (int d = 0; d < N_DOMAINS; d++) {
        uint32_t first, n, n_events;
        const uint32_t *items = dataset_event_items(r->data, d, &n_events);
        dataset_user_events(r->data, d, user, &first, &n);
        if (d == r->domain) {
            q.hist = items + first;
            q.n_hist = n;
        }
        if (excludes_seen) {
            q.excluded[d] = items + first;
            q.n_excluded[d] = n;
        }
    }
    return q;
}

static void mark_excluded(Recommender *r, const RecommendQuery *q, bool is_excluded) {
    for (int d = 0; d < N_DOMAINS; d++)
        for (uint32_t i = 0; i < q->n_excluded[d]; i++)
            r->is_excluded[q->excluded[d][i]] = is_excluded;
}

static Err offer_block(const Recommender *r, const uint32_t *items, const real *scores, uint32_t n, Top *top) {
    for (uint32_t i = 0; i < n; i++) {
        if (!isfinite(scores[i]))
            return err_fail(ERR_FAILED, "the score of item %s is %g: the snapshot's training has diverged",
                            dataset_item_name(r->data, items[i]), (double)scores[i]);
        if (!r->is_excluded[items[i]])
            top_offer(top, items[i], (float)scores[i]);
    }
    return OK;
}

static Err score_all(Recommender *r, uint32_t block, Top *top) {
    Err err = OK;
    for (uint32_t at = 0; at < r->n_candidates && !err; at += block) {
        uint32_t n = r->n_candidates - at < block ? r->n_candidates - at : block;
        err = offer_block(r, r->candidates + at, scorer_score(r->scorer, r->candidates + at, (int)n), n, top);
    }
    return err;
}

Err recommender_run(Recommender *r, const RecommendQuery *query, Top *top) {
    uint32_t length = query->n_hist < r->seq_len ? query->n_hist : r->seq_len, offset[] = {0, length};
    uint32_t block = BLOCK_PAIRS / length;
    Batch batch = {.domain = r->domain,
                   .n_instances = 1,
                   .step_instances = 1,
                   .n_positions = (int)length,
                   .longest = (int)length,
                   .offset = offset,
                   .hist = query->hist + query->n_hist - length,
                   .user = &query->user};
    assert(length > 0 && top->n == 0);
    scorer_encode(r->scorer, &batch);
    mark_excluded(r, query, true);
    Err err = score_all(r, block < SMALLEST_BLOCK ? SMALLEST_BLOCK : block, top);
    mark_excluded(r, query, false);
    top_sort(top);
    return err;
}
