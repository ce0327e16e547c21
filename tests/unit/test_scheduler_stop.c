/* The scheduler in async: a run that is told to stop, and the end of any run. Rules are those of PROTOCOL.md; each has
 * a case that fails without it. */
/* link: mg_server */
#include "tests/unit/scheduler_fixture.h"

/* The run is told to stop, and the worker gives back the lease that it has. */
static void stop_and_give_back(World *w, uint64_t worker) {
    Message lease = expect(w, MESSAGE_LEASE, worker);
    scheduler_on_stop(w->s, w->now_ms);
    end_lease(w, worker, lease.lease.lease, false);
    message_free(&lease);
}

/* Rule 5. */
static void a_stop_leases_only_steps_that_some_servers_have_and_others_lack(void **state) {
    (void)state;
    World *w = world_started(2, 2);
    Message m, lease = expect(w, MESSAGE_LEASE, WORKER);
    m = expect(w, MESSAGE_LEASE, WORKER + 1);
    uint64_t other = m.lease.lease;
    message_free(&m);
    push(w, SERVER, DOMAIN_A, 3);
    push(w, SERVER + 1, DOMAIN_A, 3);
    push(w, SERVER, DOMAIN_B, 5); /* its worker dies before it reaches server 1 */
    scheduler_on_stop(w->s, w->now_ms);
    m = expect(w, MESSAGE_LEASE_REVOKE, WORKER);
    assert_int_equal(m.lease_revoke.lease, lease.lease.lease);
    message_free(&m);
    end_lease(w, WORKER, lease.lease.lease, false);
    ask(w, WORKER);
    expect_none(w, MESSAGE_REPORT_ASK, 0); /* a lease is still out */
    end_lease(w, WORKER + 1, other, false);
    serve(w);
    message_free(&lease);
    lease = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(lease.lease.kind, LEASE_STEPS);
    assert_int_equal(lease.frames[0].size_bytes, 2 * sizeof(uint32_t));
    assert_int_equal(((const uint32_t *)lease.frames[0].data)[0], DOMAIN_B);
    assert_int_equal(((const uint32_t *)lease.frames[0].data)[1], 5);
    expect_none(w, MESSAGE_LEASE, 0);
    work(w, WORKER, &lease);
    message_free(&lease);
    serve(w);
    assert_int_equal(w->n_commits, 1);
    assert_string_equal(w->committed_dir, "/run/snapshots/epoch-0001-step-000002");
    expect_finish(w, SERVER, ERR_STOPPED, "");
    expect_none(w, MESSAGE_LEASE, 0);
    expect_end(w, ERR_STOPPED);
    assert_int_equal(w->n_results, 0);
    world_free(w);
}

/* LEASE_ASK is repeated: one may cross the LEASE, whose worker is at work when the cut drains. */
static void a_question_that_crossed_its_lease_does_not_free_it(void **state) {
    (void)state;
    World *w = world_started(2, 1);
    Message m, lease = expect(w, MESSAGE_LEASE, WORKER);
    scheduler_on_stop(w->s, w->now_ms);
    ask(w, WORKER);
    expect_none(w, MESSAGE_REPORT_ASK, SERVER);
    m = expect(w, MESSAGE_LEASE, WORKER); /* in case the first was lost */
    assert_int_equal(m.lease.lease, lease.lease.lease);
    message_free(&m);
    pass_ms(w, 1100, (uint64_t[]){SERVER, SERVER + 1, WORKER, 0});
    forget(w, MESSAGE_LEASE_REVOKE);
    end_lease(w, WORKER, lease.lease.lease, false);
    expect_sent(w, MESSAGE_REPORT_ASK, SERVER);
    message_free(&lease);
    world_free(w);
}

static void a_stop_of_a_worker_that_has_died_is_repaired_by_another(void **state) {
    (void)state;
    World *w = world_started(2, 2);
    static const uint64_t ALIVE[] = {SERVER, SERVER + 1, WORKER, 0};
    push(w, SERVER + 1, DOMAIN_A, 0); /* worker 1's, whose last words these are */
    stop_and_give_back(w, WORKER);
    ask(w, WORKER);
    forget(w, MESSAGE_LEASE);
    pass_ms(w, (uint64_t)w->config.cluster.dead_ms + 200, ALIVE);
    run_until_idle(w);
    assert_int_equal(w->n_commits, 1);
    assert_true(bitmap_get(w->servers[0].bits[DOMAIN_A], 0));
    world_free(w);
}

static void a_stop_before_anything_was_trained_writes_nothing(void **state) {
    (void)state;
    World *w = world_started(1, 1);
    stop_and_give_back(w, WORKER);
    serve(w);
    expect_none(w, MESSAGE_MARK, 0);
    expect_end(w, ERR_STOPPED);
    world_free(w);
}

static void a_stop_in_the_cut_of_an_epoch_lets_it_end(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    w->holds_commit = true;
    start(w);
    train_and_cut(w);
    scheduler_on_stop(w->s, w->now_ms);
    assert_int_equal(w->n_finished, 0);
    scheduler_on_committed(w->s, OK, w->now_ms);
    expect_end(w, ERR_STOPPED);
    assert_string_equal(w->committed_dir, "/run/snapshots/epoch-0001");
    assert_non_null(strstr(w->sentence, "/run/snapshots/epoch-0001"));
    world_free(w);
}

static void a_stop_in_the_evaluation_ends_the_run(void **state) {
    (void)state;
    World *w = world_started(1, 1);
    train_and_cut(w);
    Message m = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(m.lease.kind, LEASE_EVALUATION);
    message_free(&m);
    scheduler_on_stop(w->s, w->now_ms);
    expect_end(w, ERR_STOPPED);
    assert_int_equal(w->n_commits, 1);
    world_free(w);
}

/* The end of epoch 1 could not be saved. */
static World *world_unsaved(void) {
    World *w = world_started(1, 1);
    w->servers[0].fails_to_write = true;
    train_and_cut(w);
    assert_int_equal(w->n_commits, 0);
    w->servers[0].fails_to_write = false;
    return w;
}

static void a_stop_in_the_evaluation_saves_an_epoch_that_could_not_be_saved(void **state) {
    (void)state;
    World *w = world_unsaved();
    Message lease = expect(w, MESSAGE_LEASE, WORKER);
    scheduler_on_stop(w->s, w->now_ms);
    end_lease(w, WORKER, lease.lease.lease, false);
    message_free(&lease);
    serve(w);
    expect_end(w, ERR_STOPPED);
    assert_int_equal(w->n_commits, 1);
    assert_string_equal(w->committed_dir, "/run/snapshots/epoch-0001");
    world_free(w);
}

static void a_stop_before_the_first_step_saves_an_epoch_that_could_not_be_saved(void **state) {
    (void)state;
    for (int is_open = 0; is_open < 2; is_open++) {
        World *w = world_unsaved();
        Message lease = {0};
        while (w->n_results == 0) {
            lease = expect(w, MESSAGE_LEASE, WORKER);
            work(w, WORKER, &lease);
            message_free(&lease);
        }
        if (is_open) {
            serve(w);
            lease = expect(w, MESSAGE_LEASE, WORKER);
        }
        scheduler_on_stop(w->s, w->now_ms);
        if (is_open)
            end_lease(w, WORKER, lease.lease.lease, false);
        message_free(&lease);
        serve(w);
        expect_end(w, ERR_STOPPED);
        assert_int_equal(w->n_commits, 1);
        assert_string_equal(w->committed_dir, "/run/snapshots/epoch-0002-step-000000");
        world_free(w);
    }
}

static void a_stop_while_joining_ends_the_run(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    world_open(w);
    scheduler_on_stop(w->s, w->now_ms);
    assert_int_equal(w->n_finished, 1);
    assert_int_equal(w->code, ERR_STOPPED);
    world_free(w);
}

static void a_second_stop_ends_at_once(void **state) {
    (void)state;
    World *w = world_started(1, 1);
    push(w, SERVER, DOMAIN_A, 0);
    scheduler_on_stop(w->s, w->now_ms);
    expect_none(w, MESSAGE_FINISH, 0);
    scheduler_on_stop(w->s, w->now_ms);
    expect_sent(w, MESSAGE_FINISH, WORKER);
    expect_end(w, ERR_STOPPED);
    assert_int_equal(w->n_commits, 0);
    world_free(w);
}

static void stop_asked_by_message_is_a_stop_however_often_it_is_heard(void **state) {
    (void)state;
    World *w = world_started(1, 1);
    Message m;
    for (int i = 0; i < 2; i++) {
        message_init(&m, MESSAGE_STOP_ASK);
        say(w, CONTROL, &m);
        expect_sent(w, MESSAGE_STATUS, CONTROL);
    }
    expect_sent(w, MESSAGE_LEASE_REVOKE, WORKER);
    expect_none(w, MESSAGE_FINISH, 0);
    world_free(w);
}

static void a_signal_after_a_message_still_writes_the_snapshot(void **state) {
    (void)state;
    World *w = world_started(1, 1);
    Message m, lease = expect(w, MESSAGE_LEASE, WORKER);
    push(w, SERVER, DOMAIN_A, 0);
    message_init(&m, MESSAGE_STOP_ASK);
    say(w, CONTROL, &m);
    scheduler_on_stop(w->s, w->now_ms);
    expect_none(w, MESSAGE_FINISH, 0);
    end_lease(w, WORKER, lease.lease.lease, false);
    message_free(&lease);
    serve(w);
    expect_end(w, ERR_STOPPED);
    assert_int_equal(w->n_commits, 1);
    world_free(w);
}

static void a_run_without_workers_saves_what_all_servers_have(void **state) {
    (void)state;
    static const uint64_t ALIVE[] = {SERVER, SERVER + 1, 0};
    for (int is_equal = 0; is_equal < 2; is_equal++) {
        World *w = world_started(2, 1);
        push(w, SERVER, DOMAIN_A, 3);
        if (is_equal)
            push(w, SERVER + 1, DOMAIN_A, 3);
        Message m;
        message_init(&m, MESSAGE_BYE);
        say(w, WORKER, &m);
        pass_ms(w, (uint64_t)w->config.cluster.join_s * 1000 + 300, ALIVE);
        serve(w);
        pass_ms(w, 300, ALIVE);
        assert_int_equal(w->n_commits, is_equal);
        expect_finish(w, SERVER, ERR_PEER, is_equal ? "/run/snapshots/epoch-0001-step-000001" : "no snapshot");
        world_free(w);
    }
}

static void a_snapshot_is_written_to_its_end_without_workers(void **state) {
    (void)state;
    World *w = world_started(1, 1);
    static const uint64_t ALIVE[] = {SERVER, 0};
    Message m;
    w->servers[0].holds_write = true;
    train_and_cut(w);
    message_init(&m, MESSAGE_BYE);
    say(w, WORKER, &m);
    pass_ms(w, (uint64_t)w->config.cluster.join_s * 2000, ALIVE);
    expect_none(w, MESSAGE_FINISH, 0);
    say_written(w, SERVER, 1, true);
    assert_int_equal(w->n_commits, 1);
    assert_string_equal(w->committed_dir, "/run/snapshots/epoch-0001");
    pass_ms(w, (uint64_t)w->config.cluster.join_s * 1000 - 200, ALIVE); /* the evaluation needs one */
    expect_none(w, MESSAGE_FINISH, 0);
    pass_ms(w, 300, ALIVE);
    expect_finish(w, SERVER, ERR_PEER, "/run/snapshots/epoch-0001");
    world_free(w);
}

static void the_end_waits_for_everybody_to_leave_but_not_for_ever(void **state) {
    (void)state;
    World *w = world_new(2, 2);
    Message m;
    w->config.train.epochs = 1;
    start(w);
    run_until_idle(w);
    for (uint64_t peer = SERVER; peer < SERVER + 2; peer++) {
        m = expect(w, MESSAGE_FINISH, peer);
        assert_int_equal(m.finish.code, 0);
        message_free(&m);
    }
    pass_ms(w, 2000, EVERYBODY);
    assert_int_equal(w->n_finished, 0);
    pass_ms(w, 2000, EVERYBODY);
    assert_int_equal(w->n_finished, 1);
    assert_int_equal(w->code, OK);
    world_free(w);
}

static void the_end_waits_for_an_effect_that_is_under_way(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    w->holds_commit = true;
    start(w);
    train_and_cut(w);
    Message m;
    message_init(&m, MESSAGE_BYE);
    say(w, SERVER, &m); /* ends the run while the manifest is being written */
    leave_all(w);
    pass_ms(w, 10000, NULL);
    assert_int_equal(w->n_finished, 0);
    scheduler_on_committed(w->s, OK, w->now_ms);
    assert_int_equal(w->n_finished, 1);
    assert_int_equal(w->code, ERR_PEER);
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stop_leases_only_steps_that_some_servers_have_and_others_lack),
        cmocka_unit_test(a_question_that_crossed_its_lease_does_not_free_it),
        cmocka_unit_test(a_stop_of_a_worker_that_has_died_is_repaired_by_another),
        cmocka_unit_test(a_stop_before_anything_was_trained_writes_nothing),
        cmocka_unit_test(a_stop_in_the_cut_of_an_epoch_lets_it_end),
        cmocka_unit_test(a_stop_in_the_evaluation_ends_the_run),
        cmocka_unit_test(a_stop_in_the_evaluation_saves_an_epoch_that_could_not_be_saved),
        cmocka_unit_test(a_stop_before_the_first_step_saves_an_epoch_that_could_not_be_saved),
        cmocka_unit_test(a_stop_while_joining_ends_the_run),
        cmocka_unit_test(a_second_stop_ends_at_once),
        cmocka_unit_test(stop_asked_by_message_is_a_stop_however_often_it_is_heard),
        cmocka_unit_test(a_signal_after_a_message_still_writes_the_snapshot),
        cmocka_unit_test(a_run_without_workers_saves_what_all_servers_have),
        cmocka_unit_test(a_snapshot_is_written_to_its_end_without_workers),
        cmocka_unit_test(the_end_waits_for_everybody_to_leave_but_not_for_ever),
        cmocka_unit_test(the_end_waits_for_an_effect_that_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
