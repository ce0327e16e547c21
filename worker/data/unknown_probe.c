#include "worker/data/unknown_probe.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/rng.h"

enum { N = RANKING_CANDIDATES, MAX_VALUES = 4 + 2 * CONFIG_MAX_KS };

const char *const UNKNOWN_RULE_NAMES[N_UNKNOWN_RULES] = {
    [UNKNOWN_FIRST] = "unknown first", [UNKNOWN_LAST] = "unknown last", [ALL_EQUAL] = "all equal"};

/* What is not random lies above or below [0, 1). */
static const float UNKNOWN_SCORES[] = {[UNKNOWN_FIRST] = 2, [UNKNOWN_LAST] = -1};

static void score(const Evalset *set, UnknownRule rule, Rng *r, float *scores) {
    size_t n = (size_t)set->n * N;
    for (size_t i = 0; i < n; i++)
        scores[i] = set->is_unknown[i] ? UNKNOWN_SCORES[rule] : (float)rng_uniform(r);
}

static int values_of(RankingMetrics *m, int n_ks, double *values[MAX_VALUES]) {
    int n = 0;
    values[n++] = &m->wauc;
    values[n++] = &m->auc;
    values[n++] = &m->mrr;
    values[n++] = &m->fair_mrr;
    for (int k = 0; k < n_ks; k++) {
        values[n++] = &m->ndcg[k];
        values[n++] = &m->hr[k];
    }
    return n;
}

/* Draw i enters mean and sum of squared deviations (Welford). */
static void add_draw(UnknownProbe *sums, RankingMetrics *drawn, int n_ks, int i) {
    double *mean[MAX_VALUES], *squares[MAX_VALUES], *value[MAX_VALUES];
    values_of(&sums->sd, n_ks, squares);
    values_of(drawn, n_ks, value);
    int n = values_of(&sums->mean, n_ks, mean);
    for (int v = 0; v < n; v++) {
        double before = *value[v] - *mean[v];
        *mean[v] += before / (i + 1);
        *squares[v] += before * (*value[v] - *mean[v]);
    }
}

static void probe_rule(const Evalset *set, const EvalConfig *eval, UnknownRule rule, uint64_t seed, int n_draws,
                       float *scores, UnknownProbe *out) {
    RankingMetrics drawn;
    double *sd[MAX_VALUES];
    *out = (UnknownProbe){.mean = {.n = set->n, .logloss = NAN}, .sd = {.n = set->n, .logloss = NAN}};
    for (int i = 0; i < n_draws; i++) {
        Rng r = rng_stream(seed, RNG_UNKNOWN_PROBE, 0, (uint64_t)i);
        score(set, rule, &r, scores);
        ranking_metrics_tied(scores, set->users, set->n, N, eval->ks, eval->n_ks, set->ties, &drawn);
        add_draw(out, &drawn, eval->n_ks, i);
    }
    for (int v = values_of(&out->sd, eval->n_ks, sd); v-- > 0;)
        *sd[v] = sqrt(*sd[v] / (n_draws - 1));
}

void unknown_probe(const Evalset *set, const EvalConfig *eval, uint64_t seed, int n_draws, UnknownProbe *out) {
    assert(set->is_unknown && set->n > 0 && n_draws > 1);
    float *scores = must_calloc((size_t)set->n * N, sizeof *scores);
    out[ALL_EQUAL] = (UnknownProbe){0};
    ranking_metrics_tied(scores, set->users, set->n, N, eval->ks, eval->n_ks, set->ties, &out[ALL_EQUAL].mean);
    out[ALL_EQUAL].mean.logloss = out[ALL_EQUAL].sd.logloss = NAN;
    for (int rule = 0; rule < ALL_EQUAL; rule++)
        probe_rule(set, eval, (UnknownRule)rule, seed, n_draws, scores, &out[rule]);
    free(scores);
}
