/* Whole clusters, simulated by the hundred seeds, that save their state in the middle of epochs while workers die,
 * sleep and join, messages of cuts are lost, and writes and commits fail; and runs that are resumed from what was
 * saved, on other servers and workers. Seeds as in sim_plans.h. */
/* link: mg_server mg_worker */
#include "tests/unit/sim_plans.h"

/* Any cluster, with faults and with snapshots of every kind. */
static SimOptions any_saving_cluster(uint64_t seed) {
    Rng r = rng_stream(seed, RNG_TEST, 3, 0);
    SimOptions o = any_cluster(seed);
    o.has_snapshots = true;
    o.every_steps = (int)rng_below(&r, 6);
    o.full_every = 1 + (int)rng_below(&r, 3);
    o.n_asks = (int)rng_below(&r, 4);
    o.fails = rng_below(&r, 3) == 0;
    o.loses = rng_below(&r, 3) == 0;
    return o;
}

static const SimSnapshot *any_snapshot(const SimArchive *a, uint64_t seed) {
    Rng r = rng_stream(seed, RNG_TEST, 4, 0);
    return a->n ? &a->list[rng_below(&r, (uint32_t)a->n)] : NULL;
}

static void add_figures(SimResult *sum, const SimResult *r) {
    sum->n_in_epochs += r->n_in_epochs;
    sum->n_incremental += r->n_incremental;
    sum->n_failed += r->n_failed;
    sum->n_lost += r->n_lost;
    sum->n_refused_marks += r->n_refused_marks;
}

/* A run, and another that goes on from any of its snapshots, and so on; the last one's result. Each is another cluster.
 */
static SimResult run_and_resume(uint64_t seed, int ranks, int dense_push, int n_runs, SimResult *sum) {
    SimArchive *before = NULL;
    SimResult r = {0};
    for (int i = 0; i < n_runs; i++) {
        SimArchive *archive = must_calloc(1, sizeof *archive);
        SimOptions o = any_saving_cluster(seed + 100000 * (uint64_t)i);
        const SimSnapshot *from = before ? any_snapshot(before, seed) : NULL;
        o.ranks = ranks;
        o.dense_push = dense_push;
        o.prefetch = ranks ? 0 : o.prefetch;
        o.stops = i + 1 < n_runs && seed % 2;
        o.epochs = 3;
        bool is_over = from && from->is_evaluated && from->epoch == 3;
        if (!is_over)
            r = sim_run_from(&o, from, archive);
        if (!is_over && (!o.stops || r.code != ERR_STOPPED))
            expect(&o, &r, OK);
        add_figures(sum, &r);
        if (before)
            sim_archive_free(before);
        before = archive;
    }
    sim_archive_free(before);
    return r;
}

static void expect_all_kinds(const SimResult *sum) {
    if (last_seed(1) - first_seed() < 400)
        return;
    assert_true(sum->n_in_epochs > 0 && sum->n_incremental > 0);
    assert_true(sum->n_failed > 0 && sum->n_lost > 0 && sum->n_refused_marks > 0);
}

/* The simulator checks that a snapshot holds the rows of its mark, and at the end full bits and t = steps. */
static void async_runs_end_with_every_step_applied_once_from_any_snapshot(void **state) {
    (void)state;
    SimResult sum = {0};
    for (uint64_t seed = first_seed(); seed < last_seed(2); seed++)
        run_and_resume(seed, 0, 0, 3, &sum);
    expect_all_kinds(&sum);
}

static void groups_of_dense_gradients_are_applied_once_from_any_snapshot(void **state) {
    (void)state;
    SimResult sum = {0};
    for (uint64_t seed = first_seed(); seed < last_seed(2); seed++)
        run_and_resume(seed, 0, 2 + (int)(seed % 5), 3, &sum);
    expect_all_kinds(&sum);
}

static void sync_ends_in_the_bits_of_the_run_that_was_never_interrupted(void **state) {
    (void)state;
    static const int RANKS[] = {1, 2, 4};
    SimResult sum = {0};
    for (size_t i = 0; i < 3; i++) {
        SimOptions alone = {.seed = 1, .ranks = RANKS[i], .servers = 1, .workers = 1, .epochs = 3, .kills_node = -1};
        SimResult want = sim_run(&alone);
        expect(&alone, &want, OK);
        for (uint64_t seed = first_seed(); seed < last_seed(4); seed++) {
            SimResult r = run_and_resume(seed, RANKS[i], 0, 3, &sum);
            if (r.rows != want.rows || r.metrics != want.metrics)
                fail_msg("seed %llu, ranks %d: other bits than those of a run that was not interrupted",
                         (unsigned long long)seed, RANKS[i]);
        }
    }
    assert_true(sum.n_in_epochs > 0);
}

/* One worker takes the steps in their order, also those that a snapshot has left over. */
static void async_with_one_worker_keeps_its_order_across_snapshots(void **state) {
    (void)state;
    SimOptions o = {.seed = 1, .servers = 2, .workers = 1, .epochs = 3, .kills_node = -1};
    SimResult want = sim_run(&o);
    expect(&o, &want, OK);
    for (uint64_t seed = first_seed(); seed < last_seed(10); seed++) {
        o = (SimOptions){.seed = seed, .servers = 1, .workers = 1, .epochs = 3, .kills_node = -1};
        o.has_snapshots = o.no_ghosts = true;
        o.every_steps = 2;
        o.n_asks = 3;
        SimResult r = sim_run(&o);
        expect(&o, &r, OK);
        assert_true(r.rows == want.rows && r.metrics == want.metrics);
    }
}

int main(void) {
    assert(log_open("simulation", LOG_ERROR, NULL) == OK);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(async_runs_end_with_every_step_applied_once_from_any_snapshot),
        cmocka_unit_test(groups_of_dense_gradients_are_applied_once_from_any_snapshot),
        cmocka_unit_test(sync_ends_in_the_bits_of_the_run_that_was_never_interrupted),
        cmocka_unit_test(async_with_one_worker_keeps_its_order_across_snapshots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
