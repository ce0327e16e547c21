/* Whole clusters, simulated by the hundred seeds: the scheduler, the sessions with their stores and the workers' state
 * machines of the product, on a network that delays, with workers that die, sleep and join at any moment.
 * MANGROVE_SIM_SEEDS=5000 runs more of them, MANGROVE_SIM_FIRST=17 starts at a seed that failed. */
/* link: mg_server mg_worker */
#include "tests/unit/sim_plans.h"

static void async_runs_end_with_every_step_applied_once(void **state) {
    (void)state;
    uint64_t n_killed = 0;
    for (uint64_t seed = first_seed(); seed < last_seed(1); seed++) {
        SimOptions o = any_cluster(seed);
        SimResult r = sim_run(&o);
        expect(&o, &r, OK);
        n_killed += r.n_killed;
    }
    assert_true(n_killed > 0);
}

/* The probe is in the dense row: workers that die, or lose their lease, in the middle of a group neither lose nor
 * double a gradient of it, whether the run ends or is stopped. */
static void groups_of_dense_gradients_are_applied_once(void **state) {
    (void)state;
    uint64_t n_killed = 0, n_repairs = 0;
    for (uint64_t seed = first_seed(); seed < last_seed(1); seed++) {
        SimOptions o = any_cluster(seed);
        o.dense_push = 2 + (int)(seed % 5);
        o.stops = seed % 2;
        o.epochs = o.stops ? 4 : 2;
        SimResult r = sim_run(&o);
        if (!o.stops || r.code != OK)
            expect(&o, &r, o.stops ? ERR_STOPPED : OK);
        n_killed += r.n_killed;
        n_repairs += r.n_repairs;
    }
    if (last_seed(1) - first_seed() >= 400)
        assert_true(n_killed > 0 && n_repairs > 0);
}

/* R ranks on any servers and workers, with deaths or without: the same rows, losses and metrics. */
static void sync_ends_in_the_same_bits_whatever_the_cluster(void **state) {
    (void)state;
    static const int RANKS[] = {1, 2, 4};
    uint64_t n_undone = 0;
    for (size_t i = 0; i < 3; i++) {
        SimOptions alone = {.seed = 1, .ranks = RANKS[i], .servers = 1, .workers = 1, .epochs = 2, .kills_node = -1};
        SimResult want = sim_run(&alone);
        expect(&alone, &want, OK);
        for (uint64_t seed = first_seed(); seed < last_seed(3); seed++) {
            SimOptions o = any_cluster(seed);
            o.ranks = RANKS[i];
            o.prefetch = 0;
            SimResult r = sim_run(&o);
            expect(&o, &r, OK);
            if (r.rows != want.rows || r.metrics != want.metrics)
                fail_msg("seed %llu, ranks %d, servers %d, workers %d: other bits than one worker's",
                         (unsigned long long)seed, o.ranks, o.servers, o.workers);
            n_undone += r.n_undone;
        }
    }
    if (last_seed(1) - first_seed() >= 400)
        assert_true(n_undone > 0); /* rows were asked for as they had been before a step */
}

static void async_with_one_worker_ends_in_the_bits_of_sync_with_one_rank(void **state) {
    (void)state;
    SimOptions o = {.seed = 1, .ranks = 1, .servers = 2, .workers = 1, .epochs = 3, .kills_node = -1};
    SimResult sync = sim_run(&o);
    o.ranks = 0;
    SimResult async = sim_run(&o);
    expect(&o, &async, OK);
    assert_int_equal(async.rows, sync.rows);
    assert_int_equal(async.metrics, sync.metrics);
}

static void a_stop_ends_in_one_state_of_all_servers(void **state) {
    (void)state;
    uint64_t n_repairs = 0, n_refused = 0;
    for (uint64_t seed = first_seed(); seed < last_seed(2); seed++) {
        SimOptions o = any_cluster(seed);
        o.ranks = seed % 3 == 0 ? 4 : 0;
        o.prefetch = o.ranks ? 0 : o.prefetch;
        o.stops = true;
        o.epochs = 4;
        SimResult r = sim_run(&o);
        if (r.code != OK) /* it may have come too late */
            expect(&o, &r, ERR_STOPPED);
        n_repairs += r.n_repairs;
        n_refused += r.n_refused_marks;
    }
    if (last_seed(1) - first_seed() >= 400) {
        assert_true(n_repairs > 0); /* steps that only some servers had were done in a cut */
        assert_true(n_refused > 0); /* and a push came between a server's report and its mark */
    }
}

static void a_dead_server_or_scheduler_ends_everybody(void **state) {
    (void)state;
    for (uint64_t seed = first_seed(); seed < last_seed(8); seed++) {
        SimOptions o = any_cluster(seed);
        o.epochs = 20;
        o.kills_node = (int)(seed % (uint64_t)(o.servers + 1));
        SimResult r = sim_run(&o); /* its loop ends when the last process has */
        if (o.kills_node != SIM_SCHEDULER && r.code != ERR_PEER)
            expect(&o, &r, ERR_TIMEOUT); /* it died before it had joined */
    }
}

int main(void) {
    assert(log_open("simulation", LOG_ERROR, NULL) == OK);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(async_runs_end_with_every_step_applied_once),
        cmocka_unit_test(groups_of_dense_gradients_are_applied_once),
        cmocka_unit_test(sync_ends_in_the_same_bits_whatever_the_cluster),
        cmocka_unit_test(async_with_one_worker_ends_in_the_bits_of_sync_with_one_rank),
        cmocka_unit_test(a_stop_ends_in_one_state_of_all_servers),
        cmocka_unit_test(a_dead_server_or_scheduler_ends_everybody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
