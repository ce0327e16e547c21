/* Ranking metrics, exact: AUC from integer counts of (positive, negative) pairs, ranks from counts within the group.
 *
 * Every row becomes one 64-bit entry, group << 32 | score as an ordered integer, where group is the user (WAUC) or 0
 * (AUC). Positives and negatives are sorted apart; merging them counts, per group, the pairs that are in order. */
#include "common/ranking.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/heapsort.h"
#include "common/log.h"

enum { RADIX_BITS = 8, RADIX = 1 << RADIX_BITS };

/* Orders as the floats do; -0 and +0 are equal. */
static uint32_t ordered_bits(float score) {
    uint32_t bits;
    score += 0.0f;
    memcpy(&bits, &score, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* Least significant digit first; a digit that all entries share costs one reading. scratch (n). */
static void radix_sort(uint64_t *entries, uint64_t *scratch, size_t n) {
    uint64_t *from = entries, *to = scratch;
    for (int shift = 0; shift < 64; shift += RADIX_BITS) {
        size_t count[RADIX] = {0}, start = 0;
        for (size_t i = 0; i < n; i++)
            count[from[i] >> shift & (RADIX - 1)]++;
        if (n == 0 || count[from[0] >> shift & (RADIX - 1)] == n)
            continue;
        for (int digit = 0; digit < RADIX; digit++) {
            size_t here = count[digit];
            count[digit] = start;
            start += here;
        }
        for (size_t i = 0; i < n; i++)
            to[count[from[i] >> shift & (RADIX - 1)]++] = from[i];
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != entries)
        memcpy(entries, from, n * sizeof *entries);
}

/* Twice the number of pairs in which the positive beats the negative, ties counting one. Both sorted. */
static uint64_t twice_wins(const uint64_t *positives, size_t n_positives, const uint64_t *negatives,
                           size_t n_negatives) {
    uint64_t twice = 0;
    size_t below = 0, up_to = 0; /* negatives < p, and <= p */
    for (size_t i = 0; i < n_positives; i++) {
        while (below < n_negatives && negatives[below] < positives[i])
            below++;
        while (up_to < n_negatives && negatives[up_to] <= positives[i])
            up_to++;
        twice += below + up_to;
    }
    return twice;
}

/* Sum over the groups of (positives of the group) * AUC of the group; every group has n_negatives per positive. */
static double weighted_auc(const uint64_t *positives, const uint64_t *negatives, size_t n, size_t n_negatives) {
    double sum = 0;
    for (size_t first = 0, end; first < n; first = end) {
        for (end = first + 1; end < n && positives[end] >> 32 == positives[first] >> 32;)
            end++;
        size_t n_here = end - first;
        uint64_t twice = twice_wins(positives + first, n_here, negatives + first * n_negatives, n_here * n_negatives);
        sum += (double)twice / (2.0 * (double)n_here * (double)n_negatives);
    }
    return sum;
}

/* Mean AUC over groups, weighted by their rows. groups (n), or NULL: all rows are one group. */
static double group_auc(const float *scores, const uint32_t *groups, size_t n, size_t n_candidates) {
    size_t n_negatives = n_candidates - 1;
    uint64_t *positives = must_alloc(sizeof *positives * n);
    uint64_t *negatives = must_alloc(sizeof *negatives * n * n_negatives);
    uint64_t *scratch = must_alloc(sizeof *scratch * n * n_negatives);
    for (size_t i = 0; i < n; i++) {
        uint64_t group = groups ? (uint64_t)groups[i] << 32 : 0;
        positives[i] = group | ordered_bits(scores[i * n_candidates]);
        for (size_t c = 0; c < n_negatives; c++)
            negatives[i * n_negatives + c] = group | ordered_bits(scores[i * n_candidates + 1 + c]);
    }
    radix_sort(positives, scratch, n);
    radix_sort(negatives, scratch, n * n_negatives);
    double auc = weighted_auc(positives, negatives, n, n_negatives) / (double)n;
    free(positives);
    free(negatives);
    free(scratch);
    return auc;
}

/* ---- rank of the positive ---- */

/* 1/rank, and 1/log2(rank+1) and 1 where rank <= k. */
static void add_rank(RankingMetrics *sums, uint32_t rank, double weight, const int *ks, int n_ks) {
    sums->mrr += weight / rank;
    for (int k = 0; k < n_ks; k++) {
        if (rank > (uint32_t)ks[k])
            continue;
        sums->ndcg[k] += weight / log2(rank + 1.0);
        sums->hr[k] += weight;
    }
}

/* The ranks that the positive may take among those tied with it. */
typedef struct Ranks {
    uint32_t first, last;
} Ranks;

static Ranks possible_ranks(const float *group, uint32_t n_candidates) {
    uint32_t higher = 0, equal = 0;
    for (uint32_t c = 1; c < n_candidates; c++) {
        higher += group[c] > group[0];
        equal += group[c] == group[0];
    }
    return (Ranks){.first = higher + 1, .last = higher + 1 + equal};
}

static double expected_mrr(const float *group, uint32_t n_candidates) {
    Ranks r = possible_ranks(group, n_candidates);
    double sum = 0;
    for (uint32_t rank = r.first; rank <= r.last; rank++)
        sum += 1.0 / (r.last - r.first + 1) / rank;
    return sum;
}

static void add_expected(RankingMetrics *sums, const float *group, uint32_t n_candidates, const int *ks, int n_ks) {
    Ranks r = possible_ranks(group, n_candidates);
    for (uint32_t rank = r.first; rank <= r.last; rank++)
        add_rank(sums, rank, 1.0 / (r.last - r.first + 1), ks, n_ks);
}

/* The rank that the positive has in the reversed order of heapsort. */
static void add_heapsorted(RankingMetrics *sums, const float *group, uint32_t n_candidates, const int *ks, int n_ks) {
    uint32_t order[RANKING_CANDIDATES], at = 0;
    assert(n_candidates <= RANKING_CANDIDATES);
    heapsort_order(group, n_candidates, order);
    while (order[at] != 0)
        at++;
    add_rank(sums, n_candidates - at, 1, ks, n_ks);
}

typedef void (*AddGroup)(RankingMetrics *sums, const float *group, uint32_t n_candidates, const int *ks, int n_ks);
static const AddGroup ADD_GROUP[] = {[TIES_EXPECTED] = add_expected, [TIES_HEAPSORT] = add_heapsorted};

/* ---- all ---- */

/* -log sigma(x) without overflow */
static double softplus_of_minus(double x) {
    return log1p(exp(-fabs(x))) + (x < 0 ? -x : 0);
}

static double group_logloss(const float *group, uint32_t n_candidates) {
    double loss = softplus_of_minus(group[0]);
    for (uint32_t c = 1; c < n_candidates; c++)
        loss += softplus_of_minus(-(double)group[c]);
    return loss;
}

bool ranking_are_finite(const float *scores, uint64_t n) {
    for (uint64_t i = 0; i < n; i++)
        if (!isfinite(scores[i]))
            return false;
    return true;
}

void ranking_metrics_tied(const float *scores, const uint32_t *users, uint64_t n, uint32_t n_candidates, const int *ks,
                          int n_ks, RankingTies ties, RankingMetrics *out) {
    assert(n > 0 && n_candidates > 1 && n_ks <= CONFIG_MAX_KS);
    assert(ranking_are_finite(scores, n * n_candidates));
    *out = (RankingMetrics){.n = n};
    for (uint64_t i = 0; i < n; i++) {
        ADD_GROUP[ties](out, scores + i * n_candidates, n_candidates, ks, n_ks);
        out->fair_mrr += expected_mrr(scores + i * n_candidates, n_candidates);
        out->logloss += group_logloss(scores + i * n_candidates, n_candidates);
    }
    out->mrr /= (double)n;
    out->fair_mrr /= (double)n;
    out->logloss /= (double)n * n_candidates;
    for (int k = 0; k < n_ks; k++) {
        out->ndcg[k] /= (double)n;
        out->hr[k] /= (double)n;
    }
    out->auc = group_auc(scores, NULL, n, n_candidates);
    out->wauc = group_auc(scores, users, n, n_candidates);
}

void ranking_metrics(const float *scores, const uint32_t *users, uint64_t n, uint32_t n_candidates, const int *ks,
                     int n_ks, RankingMetrics *out) {
    ranking_metrics_tied(scores, users, n, n_candidates, ks, n_ks, TIES_EXPECTED, out);
}

int ranking_named(const RankingMetrics *m, const EvalConfig *eval, NamedMetric out[RANKING_MAX_NAMED]) {
    int n = 0;
    out[n++] = (NamedMetric){.name = "wauc", .value = m->wauc};
    out[n++] = (NamedMetric){.name = "auc", .value = m->auc};
    out[n++] = (NamedMetric){.name = "mrr", .value = m->mrr};
    for (int i = 0; i < eval->n_ks; i++, n++) {
        out[n] = (NamedMetric){.value = m->ndcg[i], .is_implied = eval->ks[i] == 1};
        snprintf(out[n].name, sizeof out[n].name, "ndcg@%d", eval->ks[i]);
    }
    for (int i = 0; i < eval->n_ks; i++, n++) {
        out[n] = (NamedMetric){.value = m->hr[i], .is_implied = eval->ks[i] >= RANKING_CANDIDATES};
        snprintf(out[n].name, sizeof out[n].name, "hr@%d", eval->ks[i]);
    }
    out[n++] = (NamedMetric){.name = "logloss", .value = m->logloss};
    return n;
}

void ranking_print(const RankingMetrics *m, const EvalConfig *eval, int n_decimals) {
    static const RankingMetrics NONE;
    NamedMetric named[RANKING_MAX_NAMED];
    int n = ranking_named(m ? m : &NONE, eval, named);
    for (int i = 0; i < n; i++) {
        if (named[i].is_implied)
            continue;
        if (m && isnan(named[i].value))
            printf(" %8s", "-");
        else if (m)
            printf(" %8.*f", n_decimals, named[i].value);
        else
            printf(" %8s", named[i].name);
    }
}
