/* Ranking metrics of the specification, exact, over groups of one positive and its negatives.
 *
 * Ties: AUC counts a half; MRR, NDCG and HR count the expectation over the orders of the tied candidates, or, as
 * published, the one order in which numpy's heapsort leaves them. */
#ifndef MANGROVE_COMMON_RANKING_H
#define MANGROVE_COMMON_RANKING_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"

enum { RANKING_CANDIDATES = 10 }; /* of an evaluation instance: the positive and nine negatives */

typedef struct RankingMetrics {
    uint64_t n;  /* positives */
    double auc;  /* over all rows pooled */
    double wauc; /* AUC per user, weighted by the user's number of rows */
    double mrr;
    double fair_mrr;            /* with the expectation over ties, whatever their rule */
    double ndcg[CONFIG_MAX_KS]; /* at eval.ks[i] */
    double hr[CONFIG_MAX_KS];
    double logloss; /* of sigma(score), mean over rows */
} RankingMetrics;

/* Those of a model that has diverged are not, and no metric may be made of them: whatever is compared with NaN is not
 * greater, so the positive would come first. */
bool ranking_are_finite(const float *scores, uint64_t n);

/* scores (n, n_candidates), finite, candidate 0 the positive; users (n). ks (n_ks). n > 0. O(n log n), allocates. The result
 * depends on the values alone, not on the order of the groups beyond rounding: groups are summed in their order. */
void ranking_metrics(const float *scores, const uint32_t *users, uint64_t n, uint32_t n_candidates, const int *ks,
                     int n_ks, RankingMetrics *out);

typedef enum RankingTies {
    TIES_EXPECTED,
    TIES_HEAPSORT, /* argsort(kind="heapsort"), reversed; n_candidates is at most RANKING_CANDIDATES */
} RankingTies;

/* The same under a rule for ties; ranking_metrics is that of TIES_EXPECTED. */
void ranking_metrics_tied(const float *scores, const uint32_t *users, uint64_t n, uint32_t n_candidates, const int *ks,
                          int n_ks, RankingTies ties, RankingMetrics *out);

typedef struct NamedMetric {
    char name[16];
    double value;
    bool is_implied; /* by the number of candidates (hr@10 of ten is 1) or another metric (ndcg@1 is hr@1): tables leave
                        it out */
} NamedMetric;

enum { RANKING_MAX_NAMED = 4 + 2 * CONFIG_MAX_KS };

/* All of them, in the order in which they are shown; returns their number. */
int ranking_named(const RankingMetrics *m, const EvalConfig *eval, NamedMetric out[RANKING_MAX_NAMED]);

/* Columns of a table on stdout, a blank before each: the values, - for NaN, or, of NULL, the names. Implied ones are
 * left out. */
void ranking_print(const RankingMetrics *m, const EvalConfig *eval, int n_decimals);

#endif
