/* link: mg_worker mg_store_f32 */
/* The trainer against a store in this process: what is trained, in which order, and when a lease is given back. */
#include <math.h>

#include "tests/unit/trainer_fixture.h"

#include "deploy/local_client.c" /* the program's own file: no library holds deploy/ */

/* ---- consistency -------------------------------------------------------------------------------------------- */

static void async_with_one_worker_and_no_prefetch_ends_in_the_bits_of_sync_with_one_rank(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Config async_config = small_config(CONSISTENCY_ASYNC, 1, 20), sync_config = small_config(CONSISTENCY_SYNC, 1, 20);
    Run *a = run_open(data, &async_config), *s = run_open(data, &sync_config);
    for (uint32_t epoch = 1; epoch <= 2; epoch++) {
        run_open_epoch(a, epoch);
        run_open_epoch(s, epoch);
        train_parts(a, epoch);
        train_ranks(s, epoch, (uint32_t[]){0}, 1);
        assert_epoch_is_full(a);
        assert_epoch_is_full(s);
        assert_true(same_rows(a, s));
    }
    run_close(a);
    run_close(s);
    dataset_close(&data);
}

static void prefetched_steps_are_all_done_on_older_values(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Config config = small_config(CONSISTENCY_ASYNC, 1, 20);
    Run *plain = run_open(data, &config);
    config.train.prefetch = 1;
    Run *ahead = run_open(data, &config);
    run_open_epoch(plain, 1);
    run_open_epoch(ahead, 1);
    train_parts(plain, 1);
    train_parts(ahead, 1);
    assert_epoch_is_full(ahead);
    assert_int_equal(ahead->n_pushes, plain->n_pushes);
    assert_false(same_rows(plain, ahead)); /* else nothing was prefetched */
    run_close(plain);
    run_close(ahead);
    dataset_close(&data);
}

static void ranks_end_in_the_same_bits_in_every_order(void **state) {
    static const uint32_t ORDERS[][4] = {{0, 1, 2, 3}, {3, 1, 0, 2}};
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Config config = small_config(CONSISTENCY_SYNC, 4, 7);
    Run *runs[2];
    for (int i = 0; i < 2; i++) {
        runs[i] = run_open(data, &config);
        run_open_epoch(runs[i], 1);
        train_ranks(runs[i], 1, ORDERS[i], 4);
        assert_epoch_is_full(runs[i]);
    }
    assert_true(same_rows(runs[0], runs[1]));
    run_close(runs[0]);
    run_close(runs[1]);
    dataset_close(&data);
}

/* Largest difference of a value, relative where values are large. */
static double largest_difference(const Run *x, const Run *y) {
    Rows a = rows_of(x), b = rows_of(y);
    double worst = 0;
    assert_int_equal(a.n_values, b.n_values);
    assert_memory_equal(a.keys, b.keys, a.n_keys * sizeof *a.keys);
    for (size_t i = 0; i < a.n_values; i++) {
        double difference = fabs((double)a.values[i] - b.values[i]) / (1 + fabs((double)b.values[i]));
        worst = difference > worst ? difference : worst;
    }
    rows_free(&a);
    rows_free(&b);
    return worst;
}

static Run *train_epoch(const Dataset *data, int ranks, int batch, double lr) {
    static const uint32_t RANKS[] = {0, 1};
    Config config = small_config(CONSISTENCY_SYNC, ranks, batch);
    config.model.norm = NORM_NONE;
    config.model.init_std = 0.3; /* so that every path has a signal */
    config.optimizer.kind = OPTIMIZER_SGD;
    config.optimizer.lr = lr;
    Run *r = run_open(data, &config);
    run_open_epoch(r, 1);
    train_ranks(r, 1, RANKS, (size_t)ranks);
    return r;
}

/* In halves or in one, a step's sums differ by a few roundings of 2^-24 = 6e-8, and an epoch of steps carries them on:
 * 2e-5 allows some hundred of them. A learning rate wrong by 1 % (as any wrong weight of a slice would be) must lie
 * far above that, else the test would not see it. */
static void two_ranks_equal_one_of_twice_the_batch_within_rounding(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Run *two = train_epoch(data, 2, 20, 1), *one = train_epoch(data, 1, 40, 1), *wrong = train_epoch(data, 1, 40, 1.01);
    double rounding = largest_difference(two, one), mistake = largest_difference(wrong, one);
    print_message("rounding %.3g, a mistake of 1 %%: %.3g\n", rounding, mistake);
    assert_true(rounding < 2e-5);
    assert_true(mistake > 10 * 2e-5);
    run_close(two);
    run_close(one);
    run_close(wrong);
    dataset_close(&data);
}

/* ---- leases ------------------------------------------------------------------------------------------------- */

static void a_lease_taken_back_keeps_its_steps_and_the_next_holder_skips_them(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Config config = small_config(CONSISTENCY_ASYNC, 1, 20);
    Run *r = run_open(data, &config);
    TrainerResult first, second;
    run_open_epoch(r, 1);
    r->stop_after = 3;
    Message m = lease_message(LEASE_PART, 1, NULL, 0);
    assert_int_equal(run_lease(r, &m, &first), OK);
    assert_false(first.is_done);
    assert_int_equal(first.n_steps, 3);
    assert_int_equal(r->n_pushes, 3);
    assert_int_equal(store_applied_count(r->store), 3);
    r->stop_after = 0;
    m = lease_message(LEASE_PART, 1, NULL, 0);
    assert_int_equal(run_lease(r, &m, &second), OK);
    assert_true(second.is_done);
    const ChunkCounts *c = &r->geometry.counts[0];
    assert_int_equal(first.n_instances + second.n_instances, c->n[DOMAIN_A][SPLIT_TRAIN] + c->n[DOMAIN_B][SPLIT_TRAIN]);
    assert_int_equal(r->n_pushes, second.n_steps); /* no step was pushed twice */
    run_close(r);
    dataset_close(&data);
}

static void taken_back_on_its_last_step_a_lease_is_done(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Config config = small_config(CONSISTENCY_ASYNC, 1, 20);
    Run *r = run_open(data, &config);
    TrainerResult result;
    run_open_epoch(r, 1);
    r->stop_after = geometry_chunk_steps(&r->geometry, 0, DOMAIN_A, SPLIT_TRAIN) +
                    geometry_chunk_steps(&r->geometry, 0, DOMAIN_B, SPLIT_TRAIN);
    Message m = lease_message(LEASE_PART, 1, NULL, 0);
    assert_int_equal(run_lease(r, &m, &result), OK);
    assert_true(result.is_done);
    run_close(r);
    dataset_close(&data);
}

static void retry_gives_the_lease_back_after_the_step_in_hand(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    for (int prefetch = 0; prefetch < 2; prefetch++) {
        Config config = small_config(CONSISTENCY_ASYNC, 1, 20);
        config.train.prefetch = prefetch;
        Run *r = run_open(data, &config);
        TrainerResult result;
        run_open_epoch(r, 1);
        r->retry_at = 4;
        Message m = lease_message(LEASE_PART, 1, NULL, 0);
        assert_int_equal(run_lease(r, &m, &result), OK);
        assert_false(result.is_done);
        assert_int_equal(result.n_steps, 3);
        assert_int_equal(store_applied_count(r->store), 3);
        assert_int_equal(r->n_flushes, 1);
        run_close(r);
    }
    dataset_close(&data);
}

static void of_an_epoch_that_is_not_open_nothing_is_done(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Config config = small_config(CONSISTENCY_ASYNC, 1, 20);
    Run *r = run_open(data, &config);
    TrainerResult result;
    run_open_epoch(r, 2);
    Message later = lease_message(LEASE_PART, 3, NULL, 0), earlier = lease_message(LEASE_PART, 1, NULL, 0);
    assert_int_equal(run_lease(r, &later, &result), OK);
    assert_false(result.is_done);
    assert_int_equal(run_lease(r, &earlier, &result), OK); /* applied long ago: skipped */
    assert_true(result.is_done);
    assert_int_equal(result.n_instances, 0);
    assert_int_equal(r->n_pushes, 0);
    run_close(r);
    dataset_close(&data);
}

static void a_list_of_steps_trains_just_these(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Config config = small_config(CONSISTENCY_SYNC, 2, 10);
    Run *r = run_open(data, &config);
    TrainerResult result;
    run_open_epoch(r, 1);
    const uint32_t pairs[] = {DOMAIN_B, 2, DOMAIN_A, 5, DOMAIN_A, 0};
    Message m = lease_message(LEASE_STEPS, 1, pairs, 6);
    assert_int_equal(run_lease(r, &m, &result), OK);
    assert_true(result.is_done);
    assert_int_equal(r->n_pushes, 3 * 2); /* for each rank */
    assert_int_equal(store_applied_count(r->store), 3);
    uint32_t n;
    assert_true(bitmap_get(store_bitmap(r->store, DOMAIN_B, &n), 2));
    assert_true(bitmap_get(store_bitmap(r->store, DOMAIN_A, &n), 5));
    assert_true(bitmap_get(store_bitmap(r->store, DOMAIN_A, &n), 0));
    run_close(r);
    dataset_close(&data);
}

static void a_run_that_diverges_ends_and_names_domain_epoch_and_step(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Config config = small_config(CONSISTENCY_SYNC, 1, 20);
    config.optimizer.kind = OPTIMIZER_SGD;
    config.optimizer.lr = 1e30;
    Run *r = run_open(data, &config);
    TrainerResult result;
    run_open_epoch(r, 1);
    Message m = lease_message(LEASE_RANKS, 1, (uint32_t[]){0}, 1);
    Err err = run_lease(r, &m, &result);
    assert_int_equal(err, ERR_FAILED);
    assert_non_null(strstr(err_message(), " of domain "));
    assert_non_null(strstr(err_message(), "is not finite in epoch 1, step "));
    assert_non_null(strstr(err_message(), "optimizer.lr"));
    run_close(r);
    dataset_close(&data);
}

/* ---- evaluation --------------------------------------------------------------------------------------------- */

static void evaluation_scores_every_instance_once_in_order_and_changes_nothing(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Config config = small_config(CONSISTENCY_ASYNC, 1, 20);
    config.train.prefetch = 1;
    Run *r = run_open(data, &config);
    run_open_epoch(r, 1);
    train_parts(r, 1);
    Rows before = rows_of(r);
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t chunk = 0; chunk < r->geometry.n_chunks; chunk++) {
            Assignment a;
            TrainerResult result;
            evaluation_of(r, chunk, DOMAIN_B, SPLIT_VALID, &a);
            assert_int_equal(trainer_run(r->trainer, &a, &result), OK);
            assert_true(result.is_done);
            assignment_free(&a);
        }
    uint32_t n;
    const Instance *instances = dataset_instances(data, DOMAIN_B, SPLIT_VALID, config.eval.protocol, &n);
    assert_true(n > 50);
    assert_int_equal(r->n_scored, 2 * n);
    for (uint32_t i = 0; i < n; i++)
        assert_int_equal(r->users[i], instances[i].user);
    size_t half = (size_t)n * (DATASET_NEGATIVES + 1);
    assert_memory_equal(r->scores, r->scores + half, half * sizeof *r->scores);
    Rows after = rows_of(r);
    assert_int_equal(before.n_values, after.n_values);
    assert_memory_equal(before.values, after.values, before.n_values * sizeof *before.values);
    rows_free(&before);
    rows_free(&after);
    run_close(r);
    dataset_close(&data);
}

/* ---- what a scheduler may not say --------------------------------------------------------------------------- */

static void leases_that_make_no_sense_are_refused(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Config config = small_config(CONSISTENCY_SYNC, 2, 10);
    Run *r = run_open(data, &config);
    const uint32_t n_chunks = r->geometry.n_chunks, n_a = run_steps(r, DOMAIN_A);
    const struct {
        MessageLEASE lease;
        uint32_t words[4];
        size_t n_words;
        const char *sentence;
    } CASES[] = {
        {{.lease = 1, .kind = 0, .epoch = 1}, {0}, 0, "kind 0"},
        {{.lease = 1, .kind = 99, .epoch = 1}, {0}, 0, "kind 99"},
        {{.lease = 0, .kind = LEASE_PART, .epoch = 1}, {0}, 0, "number 0"},
        {{.lease = 1, .kind = LEASE_PART, .epoch = 0}, {0}, 0, "epoch 0"},
        {{.lease = 1, .kind = LEASE_PART, .epoch = 1, .chunk = n_chunks}, {0}, 0, "names chunk"},
        {{.lease = 1, .kind = LEASE_RANKS, .epoch = 1}, {0}, 0, "lists ranks in 0 bytes"},
        {{.lease = 1, .kind = LEASE_RANKS, .epoch = 1}, {0, 2}, 2, "names rank 2 of 2"},
        {{.lease = 1, .kind = LEASE_RANKS, .epoch = 1}, {0, 1, 0}, 3, "lists ranks in 12 bytes"},
        {{.lease = 1, .kind = LEASE_RANKS, .epoch = 1, .order = 1u << 30}, {0}, 1, "starts at step"},
        {{.lease = 1, .kind = LEASE_STEPS, .epoch = 1}, {0, 1, 0}, 3, "lists steps in 12 bytes"},
        {{.lease = 1, .kind = LEASE_STEPS, .epoch = 1}, {2, 0}, 2, "of domain 2"},
        {{.lease = 1, .kind = LEASE_STEPS, .epoch = 1}, {0, n_a}, 2, "names step"},
        {{.lease = 1, .kind = LEASE_EVALUATION, .epoch = 1, .pass = 0, .split = SPLIT_VALID}, {0}, 0, "evaluation"},
        {{.lease = 1, .kind = LEASE_EVALUATION, .epoch = 1, .pass = 1, .split = SPLIT_TRAIN}, {0}, 0, "evaluation"},
        {{.lease = 1, .kind = LEASE_EVALUATION, .epoch = 1, .pass = 1, .split = 3}, {0}, 0, "evaluation"},
        {{.lease = 1, .kind = LEASE_EVALUATION, .epoch = 1, .pass = 1, .split = 1, .domain = 2}, {0}, 0, "evaluation"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        Message m = lease_message(LEASE_PART, 1, CASES[i].words, CASES[i].n_words);
        Assignment a;
        m.lease = CASES[i].lease;
        assert_int_equal(assignment_decode(&a, &m, &r->geometry, &r->config), ERR_PROTOCOL);
        if (!strstr(err_message(), CASES[i].sentence))
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, err_message(), CASES[i].sentence);
        message_free(&m);
    }
    run_close(r);
    dataset_close(&data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(async_with_one_worker_and_no_prefetch_ends_in_the_bits_of_sync_with_one_rank),
        SCRATCH_TEST(prefetched_steps_are_all_done_on_older_values),
        SCRATCH_TEST(ranks_end_in_the_same_bits_in_every_order),
        SCRATCH_TEST(two_ranks_equal_one_of_twice_the_batch_within_rounding),
        SCRATCH_TEST(a_lease_taken_back_keeps_its_steps_and_the_next_holder_skips_them),
        SCRATCH_TEST(taken_back_on_its_last_step_a_lease_is_done),
        SCRATCH_TEST(retry_gives_the_lease_back_after_the_step_in_hand),
        SCRATCH_TEST(of_an_epoch_that_is_not_open_nothing_is_done),
        SCRATCH_TEST(a_list_of_steps_trains_just_these),
        SCRATCH_TEST(a_run_that_diverges_ends_and_names_domain_epoch_and_step),
        SCRATCH_TEST(evaluation_scores_every_instance_once_in_order_and_changes_nothing),
        SCRATCH_TEST(leases_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
