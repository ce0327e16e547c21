/* The order of heapsort against NumPy's own, and the ranks that follow from it. */
/* link: mg_common */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/heapsort.h"
#include "common/ranking.h"
#include "common/rng.h"

enum { N_VECTORS = 4000, LONGEST = 70 };

/* Reads n, x (n), order (n) again and again; fails at the first order that is not NumPy's. */
static const char COMPARE[] = "/usr/bin/python3 -c '\n"
                              "import sys, numpy\n"
                              "words, n_vectors = numpy.frombuffer(sys.stdin.buffer.read(), numpy.uint32), 0\n"
                              "while len(words):\n"
                              "    n = words[0]\n"
                              "    x, order, words = words[1:n+1], words[n+1:2*n+1], words[2*n+1:]\n"
                              "    want = numpy.argsort(x.view(numpy.float32), kind=\"heapsort\")\n"
                              "    assert (order == want).all(), (x.view(numpy.float32), order, want)\n"
                              "    n_vectors += 1\n"
                              "assert n_vectors == 4000, n_vectors\n"
                              "'";

static float draw(Rng *r, uint32_t levels) {
    uint32_t level = rng_below(r, levels);
    return level == 7 ? NAN : level == 8 ? -0.0f : level == 9 ? INFINITY : (float)level - 3;
}

static void order_is_that_of_numpy(void **state) {
    (void)state;
    FILE *numpy = popen(COMPARE, "w");
    assert_non_null(numpy);
    for (uint32_t i = 0; i < N_VECTORS; i++) {
        float x[LONGEST];
        uint32_t order[LONGEST];
        Rng r = rng_stream(1, RNG_TEST, 0, i);
        uint32_t n = i % 2 ? RANKING_CANDIDATES : rng_below(&r, LONGEST + 1), levels = 1 + rng_below(&r, 12);
        for (uint32_t k = 0; k < n; k++)
            x[k] = draw(&r, levels);
        heapsort_order(x, n, order);
        assert_int_equal(fwrite(&n, sizeof n, 1, numpy), 1);
        assert_int_equal(fwrite(x, sizeof *x, n, numpy), n);
        assert_int_equal(fwrite(order, sizeof *order, n, numpy), n);
    }
    assert_int_equal(pclose(numpy), 0);
}

static const int KS[] = {1, 5};

static double mrr_of(const float *scores, RankingTies ties) {
    const uint32_t user = 0;
    RankingMetrics m;
    ranking_metrics_tied(scores, &user, 1, RANKING_CANDIDATES, KS, 2, ties, &m);
    assert_true(m.hr[0] == (m.mrr == 1) || ties == TIES_EXPECTED);
    return m.mrr;
}

static void equal_scores_put_the_positive_first(void **state) {
    (void)state;
    const float scores[RANKING_CANDIDATES] = {0};
    assert_true(mrr_of(scores, TIES_HEAPSORT) == 1);
    assert_true(fabs(mrr_of(scores, TIES_EXPECTED) - 0.29289682539) < 1e-11); /* H(10)/10, to the digits written */
}

/* [4,2,4,...]: the positive ties with one other, none is higher; below a higher one its place is NumPy's to say. */
static void a_tie_at_the_top_is_won(void **state) {
    (void)state;
    for (int other = 1; other < RANKING_CANDIDATES; other++) {
        float scores[RANKING_CANDIDATES] = {4, 1, 2, 3, 1, 2, 3, 1, 2, 3};
        scores[other] = 4;
        assert_true(mrr_of(scores, TIES_HEAPSORT) == 1);
        assert_true(mrr_of(scores, TIES_EXPECTED) == 0.75);
    }
}

static void without_ties_the_rules_agree(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 200; i++) {
        float scores[RANKING_CANDIDATES];
        uint32_t order[RANKING_CANDIDATES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
        Rng r = rng_stream(2, RNG_TEST, 0, i);
        rng_shuffle(&r, order, RANKING_CANDIDATES);
        for (int k = 0; k < RANKING_CANDIDATES; k++)
            scores[k] = (float)order[k];
        assert_true(mrr_of(scores, TIES_HEAPSORT) == 1.0 / (RANKING_CANDIDATES - order[0]));
        assert_true(mrr_of(scores, TIES_EXPECTED) == mrr_of(scores, TIES_HEAPSORT));
    }
}

static void fair_mrr_is_the_expectation_under_either_rule(void **state) {
    (void)state;
    const float scores[RANKING_CANDIDATES] = {1, 1, 1, 2, 0, 0, 0, 0, 0, 0};
    const uint32_t user = 0;
    const double want = (1.0 / 2 + 1.0 / 3 + 1.0 / 4) / 3;
    for (int ties = TIES_EXPECTED; ties <= TIES_HEAPSORT; ties++) {
        RankingMetrics m;
        ranking_metrics_tied(scores, &user, 1, RANKING_CANDIDATES, KS, 2, (RankingTies)ties, &m);
        assert_true(fabs(m.fair_mrr - want) < 1e-15); /* three terms below 1, a rounding of 2^-54 each */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_is_that_of_numpy),
        cmocka_unit_test(equal_scores_put_the_positive_first),
        cmocka_unit_test(a_tie_at_the_top_is_won),
        cmocka_unit_test(without_ties_the_rules_agree),
        cmocka_unit_test(fair_mrr_is_the_expectation_under_either_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
