/* Evaluation sets: groups by length, protocol paper over a data set, and the unknown-item probe. */
/* link: mg_data */
#include "tests/unit/data_fixture.h"

#include <math.h>

#include "common/length_groups.h"
#include "common/log.h"
#include "common/options.h"
#include "worker/data/paper.h"
#include "worker/data/seen.h"
#include "worker/data/unknown_probe.h"

enum { N = RANKING_CANDIDATES };

/* ---- groups ------------------------------------------------------------------------------------------------- */

static void lengths_fall_into_the_groups_of_the_specification(void **state) {
    (void)state;
    static const struct {
        uint32_t length;
        const char *group;
    } CASES[] = {{1, "<=10"},   {10, "<=10"},  {11, "11-20"}, {20, "11-20"}, {21, "21-30"},      {30, "21-30"},
                 {31, "31-50"}, {50, "31-50"}, {51, ">50"},   {5000, ">50"}, {UINT32_MAX, ">50"}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        assert_string_equal(LENGTH_GROUP_NAMES[length_group(CASES[i].length)], CASES[i].group);
}

/* n instances, nothing of them unknown; the caller fills. */
static Evalset make_set(uint32_t n) {
    Evalset set = {.n = n,
                   .users = must_calloc(n, sizeof(uint32_t)),
                   .lengths = must_calloc(n, sizeof(uint32_t)),
                   .is_unknown = must_calloc((size_t)n * N, 1)};
    for (uint32_t i = 0; i < n; i++)
        set.users[i] = i % 7;
    return set;
}

static void groups_partition_the_set_in_its_order(void **state) {
    (void)state;
    enum { N_SET = 60 };
    Evalset set = make_set(N_SET);
    float scores[N_SET * N];
    for (uint32_t i = 0; i < N_SET; i++) {
        set.lengths[i] = i * 13 % N_SET;
        for (uint32_t k = 0; k < N; k++) {
            set.is_unknown[i * N + k] = (i + k) % 3 == 0;
            scores[i * N + k] = (float)(i * N + k);
        }
    }
    uint32_t n = 0;
    for (int g = 0; g < N_LENGTH_GROUPS; g++) {
        Evalset group;
        float *group_scores;
        evalset_pick_group(&group, &group_scores, &set, scores, g);
        for (uint32_t i = 0, last = 0; i < group.n; i++) {
            uint32_t from = (uint32_t)group_scores[(size_t)i * N] / N;
            assert_true(i == 0 || from > last);
            last = from;
            assert_int_equal(length_group(set.lengths[from]), g);
            assert_int_equal(group.lengths[i], set.lengths[from]);
            assert_int_equal(group.users[i], set.users[from]);
            assert_memory_equal(group.is_unknown + (size_t)i * N, set.is_unknown + (size_t)from * N, N);
            assert_memory_equal(group_scores + (size_t)i * N, scores + (size_t)from * N, N * sizeof *scores);
        }
        n += group.n;
        evalset_close(&group);
        free(group_scores);
    }
    assert_int_equal(n, N_SET);
    evalset_close(&set);
}

/* ---- protocol paper ----------------------------------------------------------------------------------------- */

/* Users of 30 events whose items come and go: later events are of items that training has not seen. */
static void write_drifting_ratings(const char *path) {
    FILE *f = fopen(path, "wb");
    Rng r = rng_stream(21, RNG_TEST, 0, 0);
    assert_non_null(f);
    for (uint32_t user = 0; user < 60; user++)
        for (uint32_t day = user % 5; day < 400; day += 13)
            fprintf(f, "u%u,B%09u,5.0,%u\n", user, day / 4 + rng_below(&r, 25), day * 86400);
    for (uint32_t i = 0; i < 20; i++) /* users who begin when training is over */
        for (uint32_t day = 380; day < 400; day += 2)
            fprintf(f, "late%u,B%09u,5.0,%u\n", i, day / 4 + rng_below(&r, 25), day * 86400);
    fclose(f);
}

typedef struct Fixture {
    Dataset *data;
    Config config;
    Geometry geometry;
    Seen seen;
} Fixture;

static void open_fixture(Fixture *f, const Scratch *s) {
    write_drifting_ratings(s->a);
    write_random_ratings(s->b, 2, 80, 90, 1500);
    PrepareOptions o = scratch_options(s);
    f->data = prepare_and_open(&o);
    config_defaults(&f->config);
    f->config.model.seq_len = 6;
    f->config.eval.protocol = PROTOCOL_ALL;
    f->config.eval.batch = 7;
    const DataInfo *info = dataset_info(f->data);
    assert_int_equal(geometry_init(&f->geometry, info->counts[PROTOCOL_ALL], info->n_chunks, 1, 20, 7), OK);
    assert_true(info->n_chunks > 1);
    seen_find(&f->seen, f->data);
}

static void close_fixture(Fixture *f) {
    seen_free(&f->seen);
    geometry_free(&f->geometry);
    dataset_close(&f->data);
}

static Evalset open_paper(const Fixture *f, uint64_t seed) {
    Evalset set;
    assert_int_equal(paper_open(&set, f->data, &f->geometry, &f->config, INPUT_OTHER, DOMAIN_A, SPLIT_TEST, seed), OK);
    return set;
}

/* What training saw, written as plainly as can be. */
static bool is_seen(const Dataset *data, uint32_t item) {
    for (int d = 0; d < N_DOMAINS; d++) {
        uint32_t n, n_events;
        const Instance *at = dataset_instances(data, d, SPLIT_TRAIN, PROTOCOL_WARM, &n);
        const uint32_t *items = dataset_event_items(data, d, &n_events);
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t e = at[i].first; e <= at[i].target; e++)
                if (items[e] == item)
                    return true;
    }
    return false;
}

static void seen_is_what_stands_in_a_training_instance(void **state) {
    Fixture f;
    open_fixture(&f, *state);
    const DataInfo *info = dataset_info(f.data);
    uint32_t n_seen = 0;
    for (uint32_t item = 1; item < info->n_items; item++) {
        assert_int_equal(seen_item(&f.seen, item), is_seen(f.data, item) ? item : 0);
        n_seen += is_seen(f.data, item);
    }
    assert_true(n_seen > 20 && n_seen + 5 < info->n_items);
    assert_int_equal(f.seen.items[0], 0);
    close_fixture(&f);
}

/* Walks all batches: instance i of the list is row `row` of batch b. */
typedef void (*Check)(const Fixture *f, const Instance *x, uint32_t i, const Batch *b, uint32_t row, void *ctx);
static void for_each_row(const Fixture *f, const Evalset *set, Check check, void *ctx) {
    uint32_t n, i = 0;
    const Instance *instances = dataset_instances(f->data, DOMAIN_A, SPLIT_TEST, PROTOCOL_ALL, &n);
    assert_int_equal(set->n, n);
    Arena arena;
    arena_init(&arena, 1 << 16);
    for (uint32_t batch = 0; batch < set->n_batches; batch++) {
        Batch b;
        arena_reset(&arena);
        set->make(set->self, batch, &arena, &b);
        assert_int_equal(b.n_candidates, N);
        for (uint32_t row = 0; row < (uint32_t)b.n_instances; row++, i++)
            check(f, &instances[i], i, &b, row, ctx);
    }
    assert_int_equal(i, n);
    arena_free(&arena);
}

static void check_row(const Fixture *f, const Instance *x, uint32_t i, const Batch *b, uint32_t row, void *ctx) {
    (void)i, (void)ctx;
    uint32_t n_events;
    const uint32_t *items = dataset_event_items(f->data, DOMAIN_A, &n_events), *cand = b->cand + (size_t)row * N;
    assert_int_equal(b->user[row], seen_user(&f->seen, x->user));
    assert_int_equal(cand[0], seen_item(&f->seen, items[x->target]));
    for (int k = 1; k < N; k++)
        for (int j = 0; j < k; j++)
            assert_true(cand[k] != cand[j] || cand[k] == 0);
    uint32_t length = b->offset[row + 1] - b->offset[row];
    for (uint32_t k = 0; k < length; k++)
        assert_int_equal(b->hist[b->offset[row] + k], seen_item(&f->seen, items[x->target - length + k]));
}

static void paper_shows_the_unseen_as_id_0_everywhere(void **state) {
    Fixture f;
    open_fixture(&f, *state);
    Evalset set = open_paper(&f, 1);
    uint32_t n_unknown[2] = {0}, n_users = 0;
    for_each_row(&f, &set, check_row, NULL);
    for (uint32_t i = 0; i < set.n; i++) {
        n_users += set.users[i] == 0;
        for (int k = 0; k < N; k++)
            n_unknown[k > 0] += set.is_unknown[(size_t)i * N + (size_t)k];
    }
    assert_true(n_users > 10); /* who came after training */
    assert_true(n_unknown[0] > 20);
    /* negatives are of every period, positives of the last: they are unseen far more often */
    assert_true(n_unknown[1] > 0 && (double)n_unknown[1] / (N - 1) < 0.7 * n_unknown[0]);
    evalset_close(&set);
    close_fixture(&f);
}

static void keep_row(const Fixture *f, const Instance *x, uint32_t i, const Batch *b, uint32_t row, void *ctx) {
    (void)f, (void)x;
    memcpy((uint32_t *)ctx + (size_t)i * N, b->cand + (size_t)row * N, N * sizeof(uint32_t));
}

/* All candidates of the set, which is closed. */
static uint32_t *candidates_of(const Fixture *f, uint64_t seed, size_t *bytes) {
    Evalset set = open_paper(f, seed);
    *bytes = (size_t)set.n * N * sizeof(uint32_t);
    uint32_t *candidates = must_alloc(*bytes);
    for_each_row(f, &set, keep_row, candidates);
    for (size_t i = 0; i < (size_t)set.n * N; i++)
        assert_int_equal(set.is_unknown[i], candidates[i] == 0);
    evalset_close(&set);
    return candidates;
}

static void paper_is_a_function_of_its_seed(void **state) {
    Fixture f;
    size_t bytes;
    open_fixture(&f, *state);
    uint32_t *a = candidates_of(&f, 1, &bytes), *b = candidates_of(&f, 1, &bytes), *c = candidates_of(&f, 2, &bytes);
    assert_memory_equal(a, b, bytes);
    assert_true(memcmp(a, c, bytes) != 0);
    free(a);
    free(b);
    free(c);
    close_fixture(&f);
}

/* ---- the unknown-item probe --------------------------------------------------------------------------------- */

static const EvalConfig EVAL = {.ks = {10, 1}, .n_ks = 2};

static void where_only_positives_are_unknown_the_rule_wins_all(void **state) {
    (void)state;
    Evalset set = make_set(50);
    UnknownProbe p[N_UNKNOWN_RULES];
    for (uint32_t i = 0; i < set.n; i++)
        set.is_unknown[(size_t)i * N] = 1;
    unknown_probe(&set, &EVAL, 1, 5, p);
    assert_true(p[UNKNOWN_FIRST].mean.auc == 1 && p[UNKNOWN_FIRST].mean.wauc == 1 && p[UNKNOWN_FIRST].mean.mrr == 1);
    assert_true(p[UNKNOWN_FIRST].sd.auc == 0 && p[UNKNOWN_FIRST].sd.mrr == 0);
    assert_true(p[UNKNOWN_LAST].mean.auc == 0 && fabs(p[UNKNOWN_LAST].mean.mrr - 0.1) < 1e-12);
    assert_int_equal(p[UNKNOWN_FIRST].mean.n, 50);
    evalset_close(&set);
}

static void unknown_items_tie_and_the_rule_for_ties_decides(void **state) {
    (void)state;
    Evalset set = make_set(50);
    UnknownProbe fair[N_UNKNOWN_RULES], published[N_UNKNOWN_RULES];
    memset(set.is_unknown, 1, (size_t)set.n * N);
    unknown_probe(&set, &EVAL, 1, 3, fair);
    set.ties = TIES_HEAPSORT;
    unknown_probe(&set, &EVAL, 1, 3, published);
    for (int rule = 0; rule < N_UNKNOWN_RULES; rule++) {
        assert_true(fair[rule].mean.auc == 0.5 && published[rule].mean.auc == 0.5);
        assert_true(fabs(fair[rule].mean.mrr - 0.2928968) < 1e-7); /* H(10)/10 */
        assert_true(published[rule].mean.mrr == 1);
        assert_true(fabs(published[rule].mean.fair_mrr - 0.2928968) < 1e-7);
    }
    evalset_close(&set);
}

/* Of two draws mean and deviation give both values back; with the mean of three comes the third, and its deviation. */
static void mean_and_deviation_are_those_of_the_draws(void **state) {
    (void)state;
    Evalset set = make_set(40);
    UnknownProbe two[N_UNKNOWN_RULES], three[N_UNKNOWN_RULES];
    for (uint32_t i = 0; i < set.n; i += 3)
        set.is_unknown[(size_t)i * N + i % N] = 1;
    unknown_probe(&set, &EVAL, 9, 2, two);
    unknown_probe(&set, &EVAL, 9, 3, three);
    double m2 = two[UNKNOWN_FIRST].mean.auc, m3 = three[UNKNOWN_FIRST].mean.auc;
    double half = two[UNKNOWN_FIRST].sd.auc / sqrt(2), third = 3 * m3 - 2 * m2;
    double squares = pow(m2 + half - m3, 2) + pow(m2 - half - m3, 2) + pow(third - m3, 2);
    assert_true(half > 0);
    /* values of size 1, a handful of roundings of 2^-53, of which differences of 1e-2 are taken */
    assert_true(fabs(three[UNKNOWN_FIRST].sd.auc - sqrt(squares / 2)) < 1e-12);
    evalset_close(&set);
}

static void what_is_not_unknown_comes_at_random(void **state) {
    (void)state;
    Evalset set = make_set(2000);
    UnknownProbe p[N_UNKNOWN_RULES];
    unknown_probe(&set, &EVAL, 3, 20, p);
    /* AUC of 2,000 positives against 18,000: sd about 1/sqrt(12 * 2000) * sqrt(10/9) = .0068, over 20 draws .0015 */
    assert_true(fabs(p[UNKNOWN_FIRST].mean.auc - 0.5) < 0.006);
    assert_true(p[UNKNOWN_FIRST].sd.auc > 0.003 && p[UNKNOWN_FIRST].sd.auc < 0.014);
    assert_true(fabs(p[UNKNOWN_FIRST].mean.hr[1] - 0.1) < 0.006);
    evalset_close(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_fall_into_the_groups_of_the_specification),
        cmocka_unit_test(groups_partition_the_set_in_its_order),
        SCRATCH_TEST(seen_is_what_stands_in_a_training_instance),
        SCRATCH_TEST(paper_shows_the_unseen_as_id_0_everywhere),
        SCRATCH_TEST(paper_is_a_function_of_its_seed),
        cmocka_unit_test(where_only_positives_are_unknown_the_rule_wins_all),
        cmocka_unit_test(unknown_items_tie_and_the_rule_for_ties_decides),
        cmocka_unit_test(mean_and_deviation_are_those_of_the_draws),
        cmocka_unit_test(what_is_not_unknown_comes_at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
