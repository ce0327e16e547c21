/* The scheduler: evaluation passes, metrics and early stopping. */
/* link: mg_server */
#include "tests/unit/scheduler_fixture.h"

#include <math.h>

/* Epoch 1 is trained and committed; the first evaluation leases lie in the list. */
static World *evaluating(int n_workers) {
    World *w = world_started(1, n_workers);
    train_and_cut(w);
    return w;
}

static void every_validation_piece_is_leased_once_and_no_test_piece(void **state) {
    (void)state;
    World *w = evaluating(1);
    bool seen[N_DOMAINS][N_CHUNKS] = {{false}};
    for (int i = 0; i < N_DOMAINS * N_CHUNKS; i++) {
        Message lease = expect(w, MESSAGE_LEASE, WORKER);
        assert_int_equal(lease.lease.kind, LEASE_EVALUATION);
        assert_int_equal(lease.lease.split, SPLIT_VALID);
        assert_int_equal(lease.lease.pass, 1);
        assert_false(seen[lease.lease.domain][lease.lease.chunk]);
        seen[lease.lease.domain][lease.lease.chunk] = true;
        if (i + 1 < N_DOMAINS * N_CHUNKS)
            work(w, WORKER, &lease);
        message_free(&lease);
    }
    world_free(w);
}

/* The metrics of the whole split, from scores put down in the order of the batches. */
static RankingMetrics plain_metrics(const World *w, int domain, Split split) {
    enum { MAX = N_CHUNKS * 20 };
    float scores[MAX * RANKING_CANDIDATES];
    uint32_t users[MAX], n = 0;
    RankingMetrics out;
    for (uint32_t chunk = 0; chunk < N_CHUNKS; chunk++) {
        Message lease, m;
        uint32_t first, n_steps;
        message_init(&lease, MESSAGE_LEASE);
        lease.lease.domain = (uint64_t)domain;
        lease.lease.split = split;
        lease.lease.chunk = chunk;
        n_steps = piece_steps(&lease, &first);
        for (uint32_t i = 0; i < n_steps; i++) {
            uint32_t k = batch_count(&lease, i);
            add_scores(&m, &lease, first + i, k);
            memcpy(users + n, m.frames[0].data, k * sizeof *users);
            memcpy(scores + (size_t)n * RANKING_CANDIDATES, m.frames[1].data, k * RANKING_CANDIDATES * sizeof *scores);
            n += k;
            message_free(&m);
        }
    }
    ranking_metrics(scores, users, n, RANKING_CANDIDATES, w->config.eval.ks, w->config.eval.n_ks, &out);
    return out;
}

static void metrics_do_not_depend_on_who_scored_or_in_which_order(void **state) {
    (void)state;
    for (int n_workers = 1; n_workers <= 3; n_workers++) {
        World *w = world_new(1, n_workers);
        w->config.train.epochs = 1;
        start(w);
        run_until_idle(w);
        assert_int_equal(w->n_results, 1);
        for (int d = 0; d < N_DOMAINS; d++)
            for (int split = SPLIT_VALID; split <= SPLIT_TEST; split++) {
                RankingMetrics want = plain_metrics(w, d, (Split)split);
                assert_true(w->results[0].is_scored[d][split]);
                assert_memory_equal(&w->results[0].metrics[d][split], &want, sizeof want); /* to the last bit */
            }
        assert_string_equal(w->result_dir, "/run/snapshots/epoch-0001");
        world_free(w);
    }
}

static void a_piece_is_done_when_its_scores_are_there_whatever_its_worker_says(void **state) {
    (void)state;
    World *w = evaluating(2);
    Message silent = expect(w, MESSAGE_LEASE, WORKER), honest = expect(w, MESSAGE_LEASE, WORKER + 1), again;
    end_lease(w, WORKER, silent.lease.lease, true); /* without a score */
    send_scores(w, WORKER + 1, &honest);
    end_lease(w, WORKER + 1, honest.lease.lease, false); /* although all are there */
    ask(w, WORKER);
    again = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(again.lease.domain, silent.lease.domain);
    assert_int_equal(again.lease.chunk, silent.lease.chunk);
    message_free(&again);
    ask(w, WORKER + 1);
    again = expect(w, MESSAGE_LEASE, WORKER + 1);
    assert_true(again.lease.chunk != honest.lease.chunk || again.lease.domain != honest.lease.domain);
    message_free(&again);
    message_free(&silent);
    message_free(&honest);
    world_free(w);
}

/* Rule 9: epoch and pass are part of a score's name. */
static void scores_of_another_pass_or_epoch_are_passed_over(void **state) {
    (void)state;
    for (int of_another_pass = 0; of_another_pass <= 1; of_another_pass++) {
        World *w = evaluating(1);
        Message lease = expect(w, MESSAGE_LEASE, WORKER), other = lease, m;
        if (of_another_pass)
            other.lease.pass++;
        else
            other.lease.epoch++;
        send_scores(w, WORKER, &other);
        expect_none(w, MESSAGE_REFUSE, 0);
        end_lease(w, WORKER, lease.lease.lease, true);
        ask(w, WORKER);
        m = expect(w, MESSAGE_LEASE, WORKER);
        assert_int_equal(m.lease.chunk, lease.lease.chunk); /* it is not scored yet */
        assert_int_equal(m.lease.domain, lease.lease.domain);
        message_free(&m);
        message_free(&lease);
        world_free(w);
    }
}

static void a_second_copy_of_scores_changes_nothing(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    Message lease, m;
    w->config.train.epochs = 1;
    start(w);
    train_and_cut(w);
    lease = expect(w, MESSAGE_LEASE, WORKER);
    for (int i = 0; i < 5; i++) {
        uint32_t first;
        piece_steps(&lease, &first);
        add_scores(&m, &lease, first, batch_count(&lease, 0));
        if (i) /* a copy that is not equal, which cannot be: the first one counts */
            ((float *)m.frames[1].data)[0] += 1;
        say(w, WORKER, &m);
    }
    send_scores(w, WORKER, &lease);
    work(w, WORKER, &lease);
    message_free(&lease);
    run_until_idle(w);
    RankingMetrics want = plain_metrics(w, DOMAIN_A, SPLIT_VALID);
    assert_memory_equal(&w->results[0].metrics[DOMAIN_A][SPLIT_VALID], &want, sizeof want);
    world_free(w);
}

typedef void (*Spoil)(Message *m);

static void spoil_step(Message *m) {
    m->scores.step = 1u << 20;
}
static void spoil_n(Message *m) {
    m->scores.n++;
}
static void spoil_candidates(Message *m) {
    m->scores.n_candidates = 1u << 30;
}
static void spoil_domain(Message *m) {
    m->scores.domain = 2;
}
static void spoil_split(Message *m) {
    m->scores.split = SPLIT_TRAIN;
}
static void spoil_user(Message *m) {
    *(uint32_t *)m->frames[0].data = TOY_USERS;
}
static void spoil_bytes(Message *m) {
    m->frames[1].size_bytes -= 4;
}
static void spoil_frames(Message *m) {
    m->n_frames = 1;
}

static void scores_that_do_not_fit_drop_their_worker(void **state) {
    (void)state;
    static const Spoil SPOILS[] = {spoil_step,  spoil_n,    spoil_candidates, spoil_domain,
                                   spoil_split, spoil_user, spoil_bytes,      spoil_frames};
    for (size_t i = 0; i < sizeof SPOILS / sizeof *SPOILS; i++) {
        World *w = evaluating(1);
        Message lease = expect(w, MESSAGE_LEASE, WORKER), m, dropped;
        uint32_t first;
        piece_steps(&lease, &first);
        add_scores(&m, &lease, first, batch_count(&lease, 0));
        Frame kept = m.frames[1];
        SPOILS[i](&m);
        scheduler_on_message(w->s, WORKER, &m, w->now_ms);
        m.frames[1] = kept;
        m.n_frames = 2;
        message_free(&m);
        dropped = expect(w, MESSAGE_REFUSE, WORKER);
        assert_int_equal((int)dropped.refuse.code, -ERR_PROTOCOL);
        message_free(&dropped);
        message_free(&lease);
        world_free(w);
    }
}

static void scores_that_are_not_finite_end_the_run(void **state) {
    (void)state;
    World *w = evaluating(1);
    Message lease = expect(w, MESSAGE_LEASE, WORKER), m;
    uint32_t first;
    piece_steps(&lease, &first);
    add_scores(&m, &lease, first, batch_count(&lease, 0));
    ((float *)m.frames[1].data)[7] = NAN;
    say(w, WORKER, &m);
    expect_finish(w, SERVER, ERR_FAILED, "diverged");
    message_free(&lease);
    world_free(w);
}

static void a_dead_workers_piece_is_scored_by_another(void **state) {
    (void)state;
    World *w = world_new(1, 2);
    static const uint64_t ALIVE[] = {SERVER, WORKER, 0};
    w->config.train.epochs = 1;
    start(w);
    train_and_cut(w);
    Message dead = expect(w, MESSAGE_LEASE, WORKER + 1);
    pass_ms(w, (uint64_t)w->config.cluster.dead_ms + 200, ALIVE);
    w->n_workers = 1;
    run_until_idle(w);
    assert_int_equal(w->n_results, 1);
    message_free(&dead);
    world_free(w);
}

/* ---- early stopping --------------------------------------------------------------------------------------------- */

/* Trains one epoch whose validation WAUC is a and b. */
static void epoch_with(World *w, double a, double b) {
    int n_before = w->n_results;
    w->wauc[DOMAIN_A] = a;
    w->wauc[DOMAIN_B] = b;
    while (w->n_results == n_before) {
        serve(w);
        work_next(w, WORKER);
        serve(w);
    }
}

static void the_test_split_is_scored_where_validation_has_improved_and_nowhere_else(void **state) {
    (void)state;
    World *w = world_started(1, 1);
    epoch_with(w, 0.6, 0.6);
    epoch_with(w, 0.7, 0.6); /* as good is not better */
    epoch_with(w, 0.5, 0.65);
    static const bool BEST[3][N_DOMAINS] = {{true, true}, {true, false}, {false, true}};
    for (int e = 0; e < 3; e++)
        for (int d = 0; d < N_DOMAINS; d++) {
            assert_int_equal(w->results[e].is_best[d], BEST[e][d]);
            assert_int_equal(w->results[e].is_scored[d][SPLIT_TEST], BEST[e][d]);
            assert_true(w->results[e].is_scored[d][SPLIT_VALID]);
        }
    assert_int_equal(w->results[2].best_epoch[DOMAIN_A], 2);
    assert_int_equal(w->results[2].best_epoch[DOMAIN_B], 3);
    assert_int_equal(w->results[2].stale[DOMAIN_A], 1);
    assert_int_equal(w->results[2].stale[DOMAIN_B], 0);
    world_free(w);
}

static void training_ends_when_both_domains_are_stale(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    w->config.train.patience = 2;
    start(w);
    epoch_with(w, 0.60, 0.60);
    epoch_with(w, 0.59, 0.59);
    epoch_with(w, 0.58, 0.61); /* A has been stale for 2 epochs, B has not */
    epoch_with(w, 0.57, 0.60);
    expect_none(w, MESSAGE_FINISH, 0);
    epoch_with(w, 0.56, 0.59);
    Message m = expect(w, MESSAGE_FINISH, WORKER);
    assert_int_equal(m.finish.code, 0);
    message_free(&m);
    assert_int_equal(w->n_results, 5);
    assert_int_equal(w->results[4].stale[DOMAIN_A], 4);
    assert_int_equal(w->results[4].stale[DOMAIN_B], 2);
    world_free(w);
}

static void training_ends_after_the_last_epoch_though_it_improves(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    w->config.train.epochs = 3;
    start(w);
    for (int e = 1; e <= 3; e++) {
        expect_none(w, MESSAGE_FINISH, 0);
        epoch_with(w, 0.5 + 0.1 * e, 0.5);
    }
    expect_sent(w, MESSAGE_FINISH, SERVER);
    world_free(w);
}

/* Rule 10. */
static void the_next_epoch_opens_after_the_evaluation_and_not_before(void **state) {
    (void)state;
    World *w = evaluating(1);
    for (int i = 0; i < N_DOMAINS * N_CHUNKS; i++) { /* all of validation, none of test */
        expect_none(w, MESSAGE_EPOCH_OPEN, 0);
        work_next(w, WORKER);
    }
    expect_none(w, MESSAGE_EPOCH_OPEN, 0);
    for (int i = 0; i < N_DOMAINS * N_CHUNKS; i++) {
        Message lease = expect(w, MESSAGE_LEASE, WORKER);
        assert_int_equal(lease.lease.split, SPLIT_TEST);
        work(w, WORKER, &lease);
        message_free(&lease);
    }
    Message m = expect(w, MESSAGE_EPOCH_OPEN, SERVER);
    assert_int_equal(m.epoch_open.epoch, 2);
    message_free(&m);
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_validation_piece_is_leased_once_and_no_test_piece),
        cmocka_unit_test(metrics_do_not_depend_on_who_scored_or_in_which_order),
        cmocka_unit_test(a_piece_is_done_when_its_scores_are_there_whatever_its_worker_says),
        cmocka_unit_test(scores_of_another_pass_or_epoch_are_passed_over),
        cmocka_unit_test(a_second_copy_of_scores_changes_nothing),
        cmocka_unit_test(scores_that_do_not_fit_drop_their_worker),
        cmocka_unit_test(scores_that_are_not_finite_end_the_run),
        cmocka_unit_test(a_dead_workers_piece_is_scored_by_another),
        cmocka_unit_test(the_test_split_is_scored_where_validation_has_improved_and_nowhere_else),
        cmocka_unit_test(training_ends_when_both_domains_are_stale),
        cmocka_unit_test(training_ends_after_the_last_epoch_though_it_improves),
        cmocka_unit_test(the_next_epoch_opens_after_the_evaluation_and_not_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
