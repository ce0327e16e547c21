/* Ranking metrics against their definitions, written as plainly as they can be: every pair, every order of the ties. */
/* link: mg_common */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/ranking.h"
#include "common/rng.h"

enum { N = 60, C = 10, N_KS = 3 };
static const int KS[N_KS] = {1, 3, 10};

/* Sums of at most N * C terms of size about 1 in another order: N * C * 2^-53 is 7e-14. */
static const double TOLERANCE = 1e-12;

static double pair_wins(float positive, float negative) {
    return positive > negative ? 1 : positive == negative ? 0.5 : 0;
}

/* Mean over all pairs of a positive and a negative of groups of this user (any user if user is NULL). */
static double plain_auc(const float *scores, const uint32_t *users, const uint32_t *user) {
    double wins = 0, pairs = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            for (int c = 1; c < C; c++)
                if (!user || (users[i] == *user && users[j] == *user)) {
                    wins += pair_wins(scores[i * C], scores[j * C + c]);
                    pairs++;
                }
    return wins / pairs;
}

/* Every group of a user carries the user's AUC: so each user counts by its rows. */
static double plain_wauc(const float *scores, const uint32_t *users) {
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += plain_auc(scores, users, &users[i]);
    return sum / N;
}

/* The positive is put before 0, 1, .. all of the candidates tied with it; each order is as likely. */
static double plain_rank_mean(const float *scores, double (*gain)(int rank, int k), int k) {
    double sum = 0;
    for (int i = 0; i < N; i++) {
        const float *group = scores + (ptrdiff_t)i * C;
        int higher = 0, equal = 0;
        for (int c = 1; c < C; c++) {
            higher += group[c] > group[0];
            equal += group[c] == group[0];
        }
        double mean = 0;
        for (int before = 0; before <= equal; before++)
            mean += gain(higher + before + 1, k);
        sum += mean / (equal + 1);
    }
    return sum / N;
}

static double gain_mrr(int rank, int k) {
    (void)k;
    return 1.0 / rank;
}
static double gain_ndcg(int rank, int k) {
    return rank <= k ? 1 / log2(rank + 1) : 0;
}
static double gain_hr(int rank, int k) {
    return rank <= k;
}

static double plain_logloss(const float *scores) {
    double sum = 0;
    for (int i = 0; i < N; i++)
        for (int c = 0; c < C; c++) {
            double p = 1 / (1 + exp(-(double)scores[i * C + c]));
            sum -= log(c == 0 ? p : 1 - p);
        }
    return sum / (N * C);
}

static void assert_near(double got, double want) {
    assert_true(fabs(got - want) <= TOLERANCE);
}

/* levels: number of distinct scores; few levels make many ties. */
static void draw(uint64_t seed, uint32_t levels, float *scores, uint32_t *users) {
    Rng rng = rng_stream(seed, RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++)
        users[i] = rng_below(&rng, 17);
    for (int i = 0; i < N * C; i++)
        scores[i] = ((float)rng_below(&rng, levels) - (float)levels / 2) * 8 / (float)levels;
}

static void metrics_equal_their_plain_definitions(void **state) {
    (void)state;
    const uint32_t levels[] = {1, 2, 3, 10, 1000, 1u << 20};
    for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
        float scores[N * C];
        uint32_t users[N];
        RankingMetrics got;
        draw(l, levels[l], scores, users);
        ranking_metrics(scores, users, N, C, KS, N_KS, &got);
        assert_int_equal(got.n, N);
        assert_near(got.auc, plain_auc(scores, users, NULL));
        assert_near(got.wauc, plain_wauc(scores, users));
        assert_near(got.mrr, plain_rank_mean(scores, gain_mrr, 0));
        assert_near(got.logloss, plain_logloss(scores));
        for (int k = 0; k < N_KS; k++) {
            assert_near(got.ndcg[k], plain_rank_mean(scores, gain_ndcg, KS[k]));
            assert_near(got.hr[k], plain_rank_mean(scores, gain_hr, KS[k]));
        }
    }
}

static void equal_scores_give_chance_level(void **state) {
    (void)state;
    float scores[N * C] = {0};
    uint32_t users[N] = {0};
    RankingMetrics got;
    ranking_metrics(scores, users, N, C, KS, N_KS, &got);
    assert_true(got.auc == 0.5);
    assert_true(got.wauc == 0.5);
    assert_near(got.hr[1], 3.0 / C);
    assert_near(got.logloss, log(2));
}

static void signs_of_zero_tie(void **state) {
    (void)state;
    const float scores[2] = {-0.0f, 0.0f};
    const uint32_t user = 0;
    RankingMetrics got;
    ranking_metrics(scores, &user, 1, 2, KS, N_KS, &got);
    assert_true(got.auc == 0.5);
    assert_true(got.mrr == 0.75);
}

static void negative_and_huge_scores_keep_their_order(void **state) {
    (void)state;
    const float scores[2][3] = {{-1, -2, -1e30f}, {1e30f, 3, -0.5f}};
    const uint32_t users[2] = {7, 4000000000u};
    RankingMetrics got;
    ranking_metrics(&scores[0][0], users, 2, 3, KS, N_KS, &got);
    assert_true(got.auc == 6.0 / 8); /* -1 beats two of the four negatives, 1e30 beats all four */
    assert_true(got.wauc == 1);
    assert_true(isfinite(got.logloss));
}

static void user_weight_is_the_number_of_rows(void **state) {
    (void)state;
    const float scores[4][2] = {{1, 0}, {1, 0}, {1, 0}, {0, 1}}; /* user 5 is always right, user 2 always wrong */
    const uint32_t users[4] = {5, 5, 5, 2};
    RankingMetrics got;
    ranking_metrics(&scores[0][0], users, 4, 2, KS, N_KS, &got);
    assert_true(got.wauc == 0.75);
}

static void order_of_the_groups_does_not_matter(void **state) {
    (void)state;
    float scores[N * C], other[N * C];
    uint32_t users[N], other_users[N], order[N];
    RankingMetrics got, want;
    draw(9, 50, scores, users);
    for (uint32_t i = 0; i < N; i++)
        order[i] = i;
    Rng rng = rng_stream(10, RNG_TEST, 0, 0);
    rng_shuffle(&rng, order, N);
    for (int i = 0; i < N; i++) {
        memcpy(other + (ptrdiff_t)i * C, scores + (ptrdiff_t)order[i] * C, sizeof(float) * C);
        other_users[i] = users[order[i]];
    }
    ranking_metrics(scores, users, N, C, KS, N_KS, &want);
    ranking_metrics(other, other_users, N, C, KS, N_KS, &got);
    assert_true(got.auc == want.auc); /* integer counts */
    assert_true(got.wauc == want.wauc);
    assert_near(got.mrr, want.mrr);
    assert_near(got.logloss, want.logloss);
}

static void tables_leave_out_what_follows_from_something_else(void **state) {
    (void)state;
    const EvalConfig eval = {.ks = {10, 1, 5}, .n_ks = 3};
    const RankingMetrics m = {.auc = 1, .wauc = 2, .mrr = 3, .ndcg = {4, 5, 6}, .hr = {7, 8, 9}, .logloss = 10};
    static const struct {
        const char *name;
        double value;
        bool is_implied;
    } WANT[] = {{"wauc", 2, false},  {"auc", 1, false},     {"mrr", 3, false},  {"ndcg@10", 4, false},
                {"ndcg@1", 5, true}, {"ndcg@5", 6, false},  {"hr@10", 7, true}, {"hr@1", 8, false},
                {"hr@5", 9, false},  {"logloss", 10, false}};
    NamedMetric got[RANKING_MAX_NAMED];
    assert_int_equal(ranking_named(&m, &eval, got), sizeof WANT / sizeof *WANT);
    for (size_t i = 0; i < sizeof WANT / sizeof *WANT; i++) {
        assert_string_equal(got[i].name, WANT[i].name);
        assert_true(got[i].value == WANT[i].value && got[i].is_implied == WANT[i].is_implied);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_equal_their_plain_definitions),
        cmocka_unit_test(equal_scores_give_chance_level),
        cmocka_unit_test(signs_of_zero_tie),
        cmocka_unit_test(negative_and_huge_scores_keep_their_order),
        cmocka_unit_test(user_weight_is_the_number_of_rows),
        cmocka_unit_test(order_of_the_groups_does_not_matter),
        cmocka_unit_test(tables_leave_out_what_follows_from_something_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
