/* The scheduler: runs that start from a snapshot. What servers are told, from where training goes on, and what does not
 * fit together. */
/* link: mg_server */
#include "tests/unit/scheduler_fixture.h"

static const char DIR[] = "/old/snapshots/epoch-0003-step-000005";

static const uint64_t ALL[] = {SERVER, SERVER + 1, WORKER, 0};

/* Epoch 3, of which servers have the first n chunks once they have loaded. */
static World *world_resuming(int n_servers, uint32_t n_chunks) {
    World *w = world_new(n_servers, 1);
    w->start = (SchedulerStart){.restore = RESTORE_RESUME,
                                .seed = 99,
                                .data = 0xab,
                                .cut = 40,
                                .epoch = 3,
                                .n_steps = {STEPS_A, STEPS_B},
                                .standing = {{0.6, 0.7}, {1, 2}, {1, 0}}};
    snprintf(w->start.dir, sizeof w->start.dir, "%s", DIR);
    w->config.train.epochs = 4;
    for (int i = 0; i < n_servers; i++) {
        FakeServer *f = &w->servers[i];
        f->epoch = 3;
        f->t[DOMAIN_A] = 2 * STEPS_A;
        f->t[DOMAIN_B] = 2 * STEPS_B;
        for (uint32_t chunk = 0; chunk < n_chunks; chunk++)
            push_chunk(w, SERVER + (uint64_t)i, chunk);
    }
    return w;
}

static void servers_load_first_and_then_say_what_they_have(void **state) {
    (void)state;
    World *w = world_resuming(2, 3);
    w->servers[1].is_mute = true;
    start(w);
    expect_none(w, MESSAGE_LEASE, 0);
    pass_ms(w, 60000, ALL); /* longer than an answer may take */
    Message m = expect(w, MESSAGE_VIEW, SERVER + 1);
    assert_int_equal(m.view.restore, RESTORE_RESUME);
    assert_string_equal(m.view.snapshot, DIR);
    expect_none(w, MESSAGE_VIEW, WORKER); /* it would dial a server that does not answer yet */
    expect_none(w, MESSAGE_REPORT_ASK, 0);
    w->servers[1].is_mute = false;
    serve(w);
    expect_sent(w, MESSAGE_VIEW, WORKER);
    expect_none(w, MESSAGE_EPOCH_OPEN, 0);
    message_free(&m);
    m = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(m.lease.epoch, 3);
    assert_int_equal(m.lease.chunk, 3); /* the only one that is lacking */
    work(w, WORKER, &m);
    message_free(&m);
    serve(w);
    assert_string_equal(w->committed_dir, "/run/snapshots/epoch-0003");
    assert_int_equal(w->committed_cut, 41);
    assert_int_equal(w->facts.seed, 99);
    assert_true(w->facts.standing.best_wauc[DOMAIN_B] == 0.7 && w->facts.standing.stale[DOMAIN_A] == 1);
    world_free(w);
}

static void sync_goes_on_from_the_step_that_all_have(void **state) {
    (void)state;
    World *w = world_resuming(2, 1);
    w->config.train.consistency = CONSISTENCY_SYNC;
    w->config.train.ranks = 1;
    start(w);
    Message m = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(m.lease.kind, LEASE_RANKS);
    assert_int_equal(m.lease.order, 6); /* a chunk's steps */
    message_free(&m);
    world_free(w);
}

static void a_complete_epoch_is_evaluated_not_saved_again(void **state) {
    (void)state;
    World *w = world_resuming(2, N_CHUNKS);
    w->wauc[DOMAIN_A] = 0.5, w->wauc[DOMAIN_B] = 0.8;
    start(w);
    Message m = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(m.lease.kind, LEASE_EVALUATION);
    assert_int_equal(m.lease.epoch, 3);
    work(w, WORKER, &m);
    message_free(&m);
    while (!w->n_results)
        work_next(w, WORKER);
    assert_int_equal(w->n_commits, 0);
    const EpochResult *r = &w->results[0];
    assert_int_equal(r->epoch, 3);
    assert_string_equal(w->result_dir, DIR);
    assert_true(!r->is_best[DOMAIN_A] && r->stale[DOMAIN_A] == 2 && r->best_epoch[DOMAIN_A] == 1);
    assert_true(r->is_best[DOMAIN_B] && r->stale[DOMAIN_B] == 0 && r->best_epoch[DOMAIN_B] == 3);
    world_free(w);
}

static void after_an_evaluated_epoch_comes_the_next(void **state) {
    (void)state;
    World *w = world_resuming(2, N_CHUNKS);
    w->start.is_evaluated = true;
    start(w);
    assert_int_equal(w->servers[0].epoch, 4);
    Message m = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(m.lease.kind, LEASE_PART);
    assert_int_equal(m.lease.epoch, 4);
    work(w, WORKER, &m);
    message_free(&m);
    run_until_idle(w);
    assert_int_equal(w->n_results, 1);
    assert_int_equal(w->results[0].epoch, 4);
    expect_end(w, OK);
    world_free(w);
}

/* A run that was never interrupted, and one that is resumed after its second epoch. */
static void patience_counts_across_the_interruption(void **state) {
    (void)state;
    World *w = world_resuming(1, N_CHUNKS);
    w->start.is_evaluated = true;
    w->start.standing = (Standing){{0.9, 0.9}, {1, 1}, {2, 2}};
    w->config.train.patience = 3;
    w->config.train.epochs = 50;
    w->wauc[DOMAIN_A] = w->wauc[DOMAIN_B] = 0.6;
    start(w);
    run_until_idle(w);
    assert_int_equal(w->n_results, 1);
    assert_int_equal(w->results[0].stale[DOMAIN_A], 3);
    expect_end(w, OK);
    assert_non_null(strstr(w->sentence, "no better validation WAUC"));
    world_free(w);
}

static void a_run_that_had_come_to_its_end_ends_at_once(void **state) {
    (void)state;
    static const char *const WORDS[] = {"of at most 3 (train.epochs)", "for 3 epochs (train.patience)"};
    for (int i = 0; i < 2; i++) {
        World *w = world_resuming(1, N_CHUNKS);
        w->start.is_evaluated = true;
        w->config.train.epochs = i ? 50 : 3;
        w->config.train.patience = 3;
        w->start.standing.stale[DOMAIN_A] = w->start.standing.stale[DOMAIN_B] = i ? 3 : 0;
        world_open(w);
        pass_ms(w, 100, NULL);
        assert_int_equal(w->n_finished, 1);
        assert_int_equal(w->code, OK);
        assert_non_null(strstr(w->sentence, "nothing is left to train"));
        assert_non_null(strstr(w->sentence, WORDS[i]));
        world_free(w);
    }
}

static void another_data_set_is_refused_and_both_are_named(void **state) {
    (void)state;
    World *w = world_resuming(1, 1);
    w->start.data = 0x1234;
    start(w);
    expect_finish(w, SERVER, ERR_DATA, "0000000000001234");
    expect_end(w, ERR_DATA);
    assert_non_null(strstr(w->sentence, "00000000000000ab"));
    assert_non_null(strstr(w->sentence, DIR));
    world_free(w);
}

static void another_number_of_steps_is_refused(void **state) {
    (void)state;
    World *w = world_resuming(1, 1);
    w->start.n_steps[DOMAIN_B] = 11;
    start(w);
    expect_finish(w, SERVER, ERR_DATA, "counts 11 steps of domain B in an epoch, this run 8");
    world_free(w);
}

static void an_evaluated_epoch_that_is_not_complete_is_damage(void **state) {
    (void)state;
    World *w = world_resuming(2, 3);
    w->start.is_evaluated = true;
    start(w);
    expect_finish(w, WORKER, ERR_CORRUPT, DIR);
    world_free(w);
}

static void a_server_that_never_loads_is_named(void **state) {
    (void)state;
    World *w = world_resuming(2, 1);
    w->servers[1].is_mute = true;
    start(w);
    for (int i = 0; i < 91 && !w->n_finished; i++) {
        pass_ms(w, 20000, ALL);
        forget(w, MESSAGE_HEARTBEAT);
        forget(w, MESSAGE_VIEW);
        forget(w, MESSAGE_BYE);
    }
    expect_finish(w, WORKER, ERR_TIMEOUT, "server-1");
    assert_non_null(strstr(w->sentence, "has not loaded its rows of"));
    world_free(w);
}

static void a_stop_before_any_step_names_the_snapshot_that_was_resumed(void **state) {
    (void)state;
    World *w = world_resuming(2, 1);
    start(w);
    Message lease = expect(w, MESSAGE_LEASE, WORKER);
    scheduler_on_stop(w->s, w->now_ms);
    give_back(w, WORKER, &lease);
    serve(w);
    assert_int_equal(w->n_commits, 0);
    expect_end(w, ERR_STOPPED);
    assert_non_null(strstr(w->sentence, DIR));
    world_free(w);
}

static void the_first_snapshot_of_a_resumed_run_is_full(void **state) {
    (void)state;
    World *w = world_resuming(1, 3);
    w->config.snapshot.full_every = 100;
    start(w);
    run_until_idle(w);
    assert_int_equal(w->n_commits, 2);
    assert_int_equal(w->facts.base_cut, 41);
    assert_string_equal(w->base_dir, "/run/snapshots/epoch-0003");
    world_free(w);
}

static void a_run_on_old_rows_begins_with_epoch_1(void **state) {
    (void)state;
    World *w = world_resuming(1, 0);
    w->start.restore = RESTORE_INIT_MOMENTS;
    w->start.data = w->start.n_steps[DOMAIN_A] = 77; /* of the older data set: of no concern */
    w->servers[0] = (FakeServer){0};
    w->n_workers = 1;
    world_open(w);
    join(w, SERVER, ROLE_SERVER);
    join(w, WORKER, ROLE_WORKER);
    ask(w, WORKER);
    Message m = expect(w, MESSAGE_VIEW, SERVER);
    assert_int_equal(m.view.restore, RESTORE_INIT_MOMENTS);
    assert_string_equal(m.view.snapshot, DIR);
    say_ready(w, SERVER, m.view.map);
    message_free(&m);
    serve(w);
    m = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(m.lease.epoch, 1);
    work(w, WORKER, &m);
    message_free(&m);
    train_and_cut(w);
    assert_int_equal(w->n_commits, 1);
    assert_int_equal(w->facts.seed, 99);
    assert_true(w->facts.standing.best_wauc[DOMAIN_A] == -1);
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(servers_load_first_and_then_say_what_they_have),
        cmocka_unit_test(sync_goes_on_from_the_step_that_all_have),
        cmocka_unit_test(a_complete_epoch_is_evaluated_not_saved_again),
        cmocka_unit_test(after_an_evaluated_epoch_comes_the_next),
        cmocka_unit_test(patience_counts_across_the_interruption),
        cmocka_unit_test(a_run_that_had_come_to_its_end_ends_at_once),
        cmocka_unit_test(another_data_set_is_refused_and_both_are_named),
        cmocka_unit_test(another_number_of_steps_is_refused),
        cmocka_unit_test(an_evaluated_epoch_that_is_not_complete_is_damage),
        cmocka_unit_test(a_server_that_never_loads_is_named),
        cmocka_unit_test(a_stop_before_any_step_names_the_snapshot_that_was_resumed),
        cmocka_unit_test(the_first_snapshot_of_a_resumed_run_is_full),
        cmocka_unit_test(a_run_on_old_rows_begins_with_epoch_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
