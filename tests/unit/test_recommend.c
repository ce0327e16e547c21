/* link: mg_worker mg_store_f32 */
/* Recommendation: the best k and their order, and scores against the training model, asked for one candidate. */
#include <math.h>

#include "tests/unit/trainer_fixture.h"

#include "deploy/local_client.c" /* the program's own file: no library holds deploy/ */
#include "worker/model/scorer.h"
#include "worker/model/step.h"
#include "worker/recommend.h"

enum { K = 10 };

/* ---- the best k of many -------------------------------------------------------------------------------------- */

static void offer_all(Top *top, const float *scores, uint32_t n, uint32_t stride) {
    for (uint32_t i = 0; i < n; i++) { /* stride and n have no common divisor: every item once, in another order */
        uint32_t item = i * stride % n;
        top_offer(top, item, scores[item]);
    }
    top_sort(top);
}

/* The rank of an item by counting those before it, without any sorting. */
static uint32_t rank_of(const float *scores, uint32_t n, uint32_t item) {
    uint32_t rank = 0;
    for (uint32_t i = 0; i < n; i++)
        rank += scores[i] > scores[item] || (scores[i] == scores[item] && i < item);
    return rank;
}

static void the_best_k_come_in_order_of_score_then_item_in_whatever_order_they_are_offered(void **state) {
    (void)state;
    enum { N = 1009 };
    float scores[N];
    Recommendation best[N];
    Rng r = rng_stream(1, RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++)
        scores[i] = (float)rng_below(&r, 100) - 50; /* about ten items share a score */
    for (uint32_t k = 1; k <= N; k = 3 * k + 1)
        for (uint32_t stride = 1; stride < N; stride += 251) {
            Top top = {.k = k, .at = best};
            offer_all(&top, scores, N, stride);
            assert_int_equal(top.n, k);
            for (uint32_t i = 0; i < k; i++) {
                assert_int_equal(rank_of(scores, N, best[i].item), i);
                assert_true(best[i].score == scores[best[i].item]);
            }
        }
}

static void fewer_candidates_than_k_are_all_given(void **state) {
    (void)state;
    Recommendation best[8];
    Top top = {.k = 8, .at = best};
    top_offer(&top, 7, -1);
    top_offer(&top, 3, 2);
    top_offer(&top, 5, -1);
    top_sort(&top);
    assert_int_equal(top.n, 3);
    assert_int_equal(best[0].item, 3);
    assert_int_equal(best[1].item, 5);
    assert_int_equal(best[2].item, 7);
}

/* ---- a model ------------------------------------------------------------------------------------------------- */

/* A run with its trained store, and a recommender for each domain. */
typedef struct Trained {
    Dataset *data;
    Run *run;
    ParameterClient client;
    Recommender *recommenders[N_DOMAINS];
    Step *step;
} Trained;

static void open_recommenders(Trained *t, Dataset *data, Run *run) {
    *t = (Trained){.data = data, .run = run, .client = local_client(run->store)};
    for (int d = 0; d < N_DOMAINS; d++)
        assert_int_equal(recommender_open(&t->recommenders[d], data, &run->config, &run->schema, d, &t->client,
                                          store_epoch(run->store)),
                         OK);
    t->step = step_open(model_find("man"), &run->config, &run->schema);
}

static Trained open_trained(const Scratch *scratch, void (*change)(ModelConfig *)) {
    Dataset *data = random_dataset(scratch, SPLIT_BY_QUANTILE);
    Config config = small_config(CONSISTENCY_ASYNC, 1, 20);
    config.model.init_std = 0.3; /* so that every path has a signal */
    if (change)
        change(&config.model);
    Run *run = run_open(data, &config);
    run_open_epoch(run, 1);
    train_parts(run, 1);
    Trained t;
    open_recommenders(&t, data, run);
    return t;
}

static void close_trained(Trained *t) {
    step_close(&t->step);
    for (int d = 0; d < N_DOMAINS; d++)
        recommender_close(&t->recommenders[d]);
    run_close(t->run);
    dataset_close(&t->data);
}

/* The candidate's score in a step of its own, as a training's evaluation would compute it. */
static float score_alone(Trained *t, int domain, const RecommendQuery *q, uint32_t candidate) {
    uint32_t seq_len = (uint32_t)t->run->config.model.seq_len, length = q->n_hist < seq_len ? q->n_hist : seq_len;
    uint32_t offset[] = {0, length}, n_keys;
    size_t n_values;
    Batch batch = {.domain = domain,
                   .n_instances = 1,
                   .n_candidates = 1,
                   .step_instances = 1,
                   .n_positions = (int)length,
                   .longest = (int)length,
                   .offset = offset,
                   .hist = q->hist + q->n_hist - length,
                   .cand = &candidate,
                   .user = &q->user};
    step_reset(t->step);
    step_begin(t->step, &batch, false);
    const uint64_t *keys = step_pull_keys(t->step, &n_keys, &n_values);
    store_pull(t->run->store, keys, n_keys, step_values(t->step));
    return step_forward(t->step)[0];
}

static float score_in(const Recommendation *scored, uint32_t n, uint32_t item) {
    for (uint32_t i = 0; i < n; i++)
        if (scored[i].item == item)
            return scored[i].score;
    fail_msg("item %u was not scored", item);
    return 0;
}

/* The acceptance of the command: scores within 1e-5 (they are sums of a few hundred products of about 1, which a block
 * of candidates adds up in another order than one: some dozen roundings of 6e-8), and none of the top 10
 * below the tenth, asked for alone, by more than twice that. */
static double compare(Trained *t, int domain, const RecommendQuery *q) {
    uint32_t n = recommender_candidates(t->recommenders[domain]), n_found = 0;
    Recommendation *all = must_calloc(n, sizeof *all), best[K], *alone = must_calloc(n, sizeof *alone);
    Top ranked = {.k = n, .at = all}, top = {.k = K, .at = best}, sorted = {.k = n, .at = alone};
    double worst = 0;
    assert_int_equal(recommender_run(t->recommenders[domain], q, &ranked), OK);
    assert_int_equal(recommender_run(t->recommenders[domain], q, &top), OK);
    assert_int_equal(ranked.n, n);
    assert_memory_equal(best, all, sizeof best);
    for (uint32_t i = 0; i < n; i++) {
        float score = score_alone(t, domain, q, all[i].item);
        worst = fmax(worst, fabs((double)score - (double)all[i].score));
        top_offer(&sorted, all[i].item, score);
    }
    top_sort(&sorted);
    for (uint32_t i = 0; i < K; i++) {
        assert_true(score_in(alone, n, best[i].item) >= alone[K - 1].score - 2e-5f);
        n_found += alone[i].item == best[i].item;
    }
    assert_true(n_found > 0 && worst < 1e-5);
    assert_true(all[0].score > all[n - 1].score + 1e-3f); /* else nothing was ranked */
    free(all);
    free(alone);
    return worst;
}

static void compare_users(Trained *t, uint32_t every) {
    double worst = 0;
    uint32_t n_users = 0;
    for (int d = 0; d < N_DOMAINS; d++)
        for (uint32_t user = 1; user < dataset_info(t->data)->n_users; user += every) {
            RecommendQuery q = recommender_user(t->recommenders[d], user, false);
            if (!q.n_hist)
                continue;
            worst = fmax(worst, compare(t, d, &q));
            n_users++;
        }
    print_message("%u users, largest difference of a score %.3g\n", n_users, worst);
    assert_true(n_users > 1);
}

static void without_attentions(ModelConfig *c) {
    c->isa = c->sfa = c->gpa = false;
}
static void backbone_alone(ModelConfig *c) {
    c->backbone_only = true;
}
static void gru_without_norm(ModelConfig *c) {
    c->encoder = ENCODER_GRU4REC;
    c->norm = NORM_NONE;
}

static void every_score_is_that_of_the_training_model_asked_for_one_candidate(void **state) {
    static void (*const CHANGES[])(ModelConfig *) = {NULL, without_attentions, backbone_alone, gru_without_norm};
    for (size_t i = 0; i < sizeof CHANGES / sizeof *CHANGES; i++) {
        Trained t = open_trained(*state, CHANGES[i]);
        compare_users(&t, i ? 20 : 1);
        close_trained(&t);
    }
}

/* A block's size decides which products are made, and in which pieces; 1e-6 is a dozen roundings of scores below 1. */
static void blocks_of_any_size_give_the_same_scores(void **state) {
    Trained t = open_trained(*state, NULL);
    Scorer *s = scorer_open(model_find("man"), &t.run->config, &t.run->schema, DOMAIN_B);
    uint32_t n_keys, offset[] = {0, 5}, n_events, n = 0, cand[200];
    size_t n_values;
    float whole[200];
    const uint64_t *keys = scorer_keys(s, &n_keys, &n_values);
    store_pull(t.run->store, keys, n_keys, scorer_values(s));
    Batch batch = {.domain = DOMAIN_B, .n_instances = 1, .step_instances = 1, .n_positions = 5, .longest = 5};
    batch.offset = offset;
    batch.hist = dataset_event_items(t.data, DOMAIN_B, &n_events);
    for (uint32_t item = 1; item < dataset_info(t.data)->n_items && n < 200; item++)
        if (recommender_is_candidate(t.recommenders[DOMAIN_B], item))
            cand[n++] = item;
    assert_true(n > 64);
    scorer_encode(s, &batch);
    memcpy(whole, scorer_score(s, cand, (int)n), n * sizeof *whole);
    for (uint32_t block = 1; block < n; block = 2 * block + 1)
        for (uint32_t at = 0; at < n; at += block) {
            uint32_t size = n - at < block ? n - at : block;
            const real *scores = scorer_score(s, cand + at, (int)size);
            for (uint32_t i = 0; i < size; i++)
                assert_true(fabsf(scores[i] - whole[at + i]) < 1e-6f);
        }
    scorer_close(&s);
    close_trained(&t);
}

/* Real items and histories, a training of three hundred steps: the figure depends on how large numbers become. */
static void on_real_data_too(void **state) {
    const char *shared = getenv("MANGROVE_SHARED");
    char paths[2][PATH_MAX];
    if (!shared)
        skip();
    snprintf(paths[0], PATH_MAX, "%s/data/amazon_games_toys/ratings_Video_Games.csv.gz", shared);
    snprintf(paths[1], PATH_MAX, "%s/data/amazon_games_toys/ratings_Toys_and_Games.csv.gz", shared);
    if (access(paths[0], R_OK))
        skip();
    PrepareOptions o = scratch_options(*state);
    o.inputs[0] = paths[0];
    o.inputs[1] = paths[1];
    o.chunk = 8000;
    Dataset *data = prepare_and_open(&o);
    Config config;
    config_defaults(&config);
    config.model.init_std = 0.3;
    Run *run = run_open(data, &config);
    run_open_epoch(run, 1);
    run->stop_after = 300;
    TrainerResult result;
    Message m = lease_message(LEASE_PART, 1, NULL, 0);
    assert_int_equal(run_lease(run, &m, &result), OK);
    Trained t;
    open_recommenders(&t, data, run);
    compare_users(&t, 5000);
    close_trained(&t);
}

/* ---- what is asked ------------------------------------------------------------------------------------------- */

static bool occurs(const Dataset *data, int domain, uint32_t user, uint32_t item) {
    uint32_t first, n, n_events;
    const uint32_t *items = dataset_event_items(data, domain, &n_events);
    dataset_user_events(data, domain, user, &first, &n);
    for (uint32_t i = first; i < first + n; i++)
        if (items[i] == item)
            return true;
    return false;
}

static void seen_items_of_both_domains_are_left_out_and_nothing_else(void **state) {
    Trained t = open_trained(*state, NULL);
    const Recommender *r = t.recommenders[DOMAIN_A];
    uint32_t n = recommender_candidates(r), n_seen = 0;
    Recommendation *all = must_calloc(n, sizeof *all), *rest = must_calloc(n, sizeof *rest);
    for (uint32_t user = 1; user < dataset_info(t.data)->n_users; user++) {
        Top with = {.k = n, .at = all}, without = {.k = n, .at = rest};
        RecommendQuery q = recommender_user(r, user, false), unseen = recommender_user(r, user, true);
        if (!q.n_hist)
            continue;
        assert_int_equal(recommender_run(t.recommenders[DOMAIN_A], &unseen, &without), OK);
        assert_int_equal(recommender_run(t.recommenders[DOMAIN_A], &q, &with), OK); /* the marks are gone */
        uint32_t kept = 0;
        for (uint32_t i = 0; i < n; i++)
            if (occurs(t.data, DOMAIN_A, user, all[i].item) || occurs(t.data, DOMAIN_B, user, all[i].item))
                n_seen++;
            else
                assert_memory_equal(&rest[kept++], &all[i], sizeof *all);
        assert_int_equal(with.n, n);
        assert_int_equal(without.n, kept);
    }
    assert_true(n_seen > 0);
    free(all);
    free(rest);
    close_trained(&t);
}

static void candidates_are_the_items_of_the_domains_events(void **state) {
    Trained t = open_trained(*state, NULL);
    for (int d = 0; d < N_DOMAINS; d++) {
        uint32_t n_events, n = 0;
        const uint32_t *items = dataset_event_items(t.data, d, &n_events);
        for (uint32_t item = 0; item < dataset_info(t.data)->n_items; item++) {
            bool has_event = false;
            for (uint32_t i = 0; i < n_events; i++)
                has_event |= items[i] == item;
            assert_int_equal(recommender_is_candidate(t.recommenders[d], item), has_event && item > 0);
            n += has_event && item > 0;
        }
        assert_int_equal(recommender_candidates(t.recommenders[d]), n);
        assert_false(recommender_is_candidate(t.recommenders[d], UINT32_MAX));
    }
    close_trained(&t);
}

static void of_a_long_history_the_most_recent_items_count(void **state) {
    Trained t = open_trained(*state, NULL);
    uint32_t seq_len = (uint32_t)t.run->config.model.seq_len, n_events;
    const uint32_t *items = dataset_event_items(t.data, DOMAIN_A, &n_events);
    Recommendation best[3][K];
    for (uint32_t i = 0; i < 3; i++) { /* whole, its recent part, and one item less of that */
        RecommendQuery q = {.hist = items, .n_hist = seq_len + 5};
        q.hist += i ? 4 + i : 0;
        q.n_hist -= i ? 4 + i : 0;
        Top top = {.k = K, .at = best[i]};
        assert_int_equal(recommender_run(t.recommenders[DOMAIN_A], &q, &top), OK);
    }
    assert_memory_equal(best[0], best[1], sizeof best[0]);
    assert_memory_not_equal(best[1], best[2], sizeof best[0]);
    close_trained(&t);
}

static void a_score_that_is_no_number_is_an_error_that_names_the_item(void **state) {
    Trained t = open_trained(*state, NULL);
    Recommender *r;
    int table = schema_find_table(&t.run->schema, "A");
    uint32_t item = dataset_event_items(t.data, DOMAIN_A, &(uint32_t){0})[0];
    real *row = must_calloc(store_row_reals(t.run->store, table), sizeof *row);
    row[0] = NAN;
    store_put(t.run->store, key_of(table, item), row);
    assert_int_equal(recommender_open(&r, t.data, &t.run->config, &t.run->schema, DOMAIN_A, &t.client, 1), OK);
    RecommendQuery q = recommender_user(r, 1, false);
    Recommendation best[K];
    Top top = {.k = K, .at = best};
    assert_true(q.n_hist > 0);
    assert_int_equal(recommender_run(r, &q, &top), ERR_FAILED);
    assert_non_null(strstr(err_message(), "diverged"));
    recommender_close(&r);
    free(row);
    close_trained(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_k_come_in_order_of_score_then_item_in_whatever_order_they_are_offered),
        cmocka_unit_test(fewer_candidates_than_k_are_all_given),
        SCRATCH_TEST(every_score_is_that_of_the_training_model_asked_for_one_candidate),
        SCRATCH_TEST(blocks_of_any_size_give_the_same_scores),
        SCRATCH_TEST(on_real_data_too),
        SCRATCH_TEST(seen_items_of_both_domains_are_left_out_and_nothing_else),
        SCRATCH_TEST(candidates_are_the_items_of_the_domains_events),
        SCRATCH_TEST(of_a_long_history_the_most_recent_items_count),
        SCRATCH_TEST(a_score_that_is_no_number_is_an_error_that_names_the_item),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
