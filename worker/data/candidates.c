/* Evaluation candidates and probes. */
#include "worker/data/candidates.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/ranking.h"
#include "common/rng.h"

enum { N_CANDIDATES = DATASET_NEGATIVES + 1 };

static const char *const SPLIT_TEXT[N_SPLITS] = {"training", "validation", "test"};
static const char *const PROTOCOL_TEXT[N_PROTOCOLS] = {"warm", "all"};

static uint32_t *targets_of(const PreparedDomain *d, const InstanceList *list) {
    uint32_t *targets = must_alloc((list->n + (size_t)1) * sizeof *targets);
    for (uint32_t i = 0; i < list->n; i++)
        targets[i] = d->items[list->at[i].target];
    return targets;
}

/* Counts distinct targets, up to as many as are needed. */
static int count_distinct(const uint32_t *targets, uint32_t n) {
    uint32_t found[N_CANDIDATES];
    int n_found = 0;
    for (uint32_t i = 0; i < n && n_found < N_CANDIDATES; i++) {
        int k = 0;
        while (k < n_found && found[k] != targets[i])
            k++;
        if (k == n_found)
            found[n_found++] = targets[i];
    }
    return n_found;
}

static Err check_targets(int domain, Split split, Protocol protocol, const uint32_t *targets, uint32_t n) {
    int n_distinct = count_distinct(targets, n);
    if (n_distinct == N_CANDIDATES)
        return OK;
    return err_fail(ERR_DATA,
                    "domain %c has %d distinct target%s in its %s split%s%s, at least %d are needed: give more data, a "
                    "lower --k-core or another --split",
                    'A' + domain, n_distinct, n_distinct == 1 ? "" : "s", SPLIT_TEXT[split],
                    split == SPLIT_TRAIN ? "" : " under protocol ", split == SPLIT_TRAIN ? "" : PROTOCOL_TEXT[protocol],
                    N_CANDIDATES);
}

static bool contains(const uint32_t *items, int n, uint32_t item) {
    for (int i = 0; i < n; i++)
        if (items[i] == item)
            return true;
    return false;
}

static void draw_list(InstanceList *list, const uint32_t *targets, uint64_t seed, uint32_t stream) {
    list->negatives = must_alloc((size_t)list->n * DATASET_NEGATIVES * sizeof *list->negatives);
    for (uint32_t i = 0; i < list->n; i++) {
        uint32_t *negatives = list->negatives + (size_t)i * DATASET_NEGATIVES;
        Rng r = rng_stream(seed, RNG_CANDIDATES, stream, i);
        for (int k = 0; k < DATASET_NEGATIVES;) {
            uint32_t item = targets[rng_below(&r, list->n)];
            if (item != targets[i] && !contains(negatives, k, item))
                negatives[k++] = item;
        }
    }
}

static Err draw_domain(Prepared *p, int domain, Split split, Protocol protocol, uint64_t seed) {
    PreparedDomain *d = &p->domains[domain];
    InstanceList *list = &d->lists[list_index(split, protocol)];
    uint32_t *targets = targets_of(d, list);
    uint32_t stream = (uint32_t)protocol << 16 | (uint32_t)domain << 8 | (uint32_t)split;
    Err err = check_targets(domain, split, protocol, targets, list->n);
    if (!err && split != SPLIT_TRAIN)
        draw_list(list, targets, seed, stream);
    free(targets);
    return err;
}

Err candidates_draw(Prepared *p, uint64_t seed) {
    Err err = OK;
    for (int d = 0; d < N_DOMAINS && !err; d++) {
        err = draw_domain(p, d, SPLIT_TRAIN, PROTOCOL_ALL, seed);
        for (int protocol = 0; protocol < N_PROTOCOLS; protocol++)
            for (int split = SPLIT_VALID; split < N_SPLITS && !err; split++)
                err = draw_domain(p, d, (Split)split, (Protocol)protocol, seed);
    }
    return err;
}

/* ---- probes ---- */

typedef struct ItemFact {
    int64_t first_seen; /* in training; INT64_MAX if never */
    uint32_t item;
} ItemFact;

static int by_first_seen(const void *left, const void *right) {
    const ItemFact *a = left, *b = right;
    if (a->first_seen != b->first_seen)
        return a->first_seen < b->first_seen ? -1 : 1;
    return a->item < b->item ? -1 : a->item > b->item;
}

/* Walks the training events of a domain: every target, and the first event of each user. */
static void collect_facts(const PreparedDomain *d, ItemFact *facts, float *popular) {
    const InstanceList *train = &d->lists[list_index(SPLIT_TRAIN, PROTOCOL_ALL)];
    for (uint32_t i = 0; i < train->n; i++) {
        Instance x = train->at[i];
        for (uint32_t e = x.target == x.first + 1 ? x.first : x.target; e <= x.target; e++) {
            ItemFact *fact = &facts[d->items[e]];
            popular[d->items[e]]++;
            if (d->times[e] < fact->first_seen)
                fact->first_seen = d->times[e];
        }
    }
}

/* scores[rule] (n_items) of the three rules. Times become their ranks, which a float holds. */
static void score_items(const PreparedDomain *d, uint32_t n_items, float *scores[N_PROBES]) {
    ItemFact *facts = must_alloc(n_items * sizeof *facts);
    for (uint32_t i = 0; i < n_items; i++)
        facts[i] = (ItemFact){.first_seen = INT64_MAX, .item = i};
    float *newest = scores[0], *popular = scores[1], *cold = scores[2], rank = 0;
    memset(popular, 0, n_items * sizeof *popular);
    collect_facts(d, facts, popular);
    qsort(facts, n_items, sizeof *facts, by_first_seen);
    for (uint32_t i = 0; i < n_items; i++) {
        rank += i > 0 && facts[i].first_seen != facts[i - 1].first_seen;
        newest[facts[i].item] = rank;
        cold[facts[i].item] = -popular[facts[i].item];
    }
    free(facts);
}

static Probe probe_list(const PreparedDomain *d, const InstanceList *list, const float *item_scores) {
    float *scores = must_alloc((size_t)list->n * N_CANDIDATES * sizeof *scores);
    uint32_t *users = must_alloc(list->n * sizeof *users);
    for (uint32_t i = 0; i < list->n; i++) {
        float *row = scores + (size_t)i * N_CANDIDATES;
        users[i] = list->at[i].user;
        row[0] = item_scores[d->items[list->at[i].target]];
        for (int k = 0; k < DATASET_NEGATIVES; k++)
            row[k + 1] = item_scores[list->negatives[(size_t)i * DATASET_NEGATIVES + (size_t)k]];
    }
    RankingMetrics m;
    ranking_metrics(scores, users, list->n, N_CANDIDATES, NULL, 0, &m);
    free(scores);
    free(users);
    return (Probe){.auc = m.auc, .wauc = m.wauc, .mrr = m.mrr};
}

static void probe_domain(Prepared *p, int domain, float *scores[N_PROBES]) {
    const PreparedDomain *d = &p->domains[domain];
    score_items(d, p->n_items, scores);
    for (int protocol = 0; protocol < N_PROTOCOLS; protocol++)
        for (int split = SPLIT_VALID; split < N_SPLITS; split++)
            for (int rule = 0; rule < N_PROBES; rule++)
                p->probes[protocol][domain][split][rule] =
                    probe_list(d, &d->lists[list_index((Split)split, (Protocol)protocol)], scores[rule]);
}

void candidates_probe(Prepared *p) {
    float *scores[N_PROBES];
    for (int rule = 0; rule < N_PROBES; rule++)
        scores[rule] = must_alloc(p->n_items * sizeof *scores[rule]);
    for (int d = 0; d < N_DOMAINS; d++)
        probe_domain(p, d, scores);
    for (int rule = 0; rule < N_PROBES; rule++)
        free(scores[rule]);
}
