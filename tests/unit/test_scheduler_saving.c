/* The scheduler: what becomes of snapshots that fail, and which of them are full. */
/* link: mg_server */
#include "tests/unit/saving_fixture.h"

/* ---- failures --------------------------------------------------------------------------------------------------- */

static void a_failed_write_is_told_and_training_goes_on(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    start(w);
    w->servers[1].fails_to_write = true;
    Message lease = expect(w, MESSAGE_LEASE, WORKER);
    push_some(w, &lease, 2);
    expect_request(w, MESSAGE_SNAPSHOT_ASK, CONTROL, "pending", "");
    give_back(w, WORKER, &lease);
    serve(w);
    expect_request(w, MESSAGE_STATUS_ASK, CONTROL, "failed", "the disk is full");
    expect_request(w, MESSAGE_STATUS_ASK, CONTROL, "failed", "server-1");
    assert_int_equal(w->n_commits, 0);
    expect_sent(w, MESSAGE_LEASE, WORKER);
    world_free(w);
}

static void a_refused_mark_costs_the_try_not_the_request(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    start(w);
    hold_writes(w, true);
    w->servers[1].refuses_mark = true;
    Message lease = expect(w, MESSAGE_LEASE, WORKER);
    push_some(w, &lease, 2);
    expect_request(w, MESSAGE_SNAPSHOT_ASK, CONTROL, "pending", "");
    give_back(w, WORKER, &lease);
    serve(w);
    uint64_t number = marked_cut(w);
    lease = expect(w, MESSAGE_LEASE, WORKER); /* training goes on, while server 0 writes for nothing */
    pass_ms(w, 3000, EVERYBODY);
    expect_none(w, MESSAGE_LEASE_REVOKE, 0);
    hold_writes(w, false);
    w->servers[1].refuses_mark = false;
    say_written(w, SERVER, number, true);
    assert_int_equal(w->n_commits, 0);
    give_back(w, WORKER, &lease);
    serve(w);
    assert_true(w->committed_cut > number);
    expect_request(w, MESSAGE_STATUS_ASK, CONTROL, "committed", "step-000002");
    world_free(w);
}

static void mark_is_repeated_until_it_is_answered(void **state) {
    (void)state;
    Message lease;
    World *w = world_saving(&lease);
    hold_writes(w, true);
    w->servers[0].is_mute = true;
    cut(w, &lease, 2);
    answer_all_reports(w, SERVER);
    serve(w);
    Message first = expect(w, MESSAGE_MARK, SERVER);
    pass_ms(w, 1100, EVERYBODY);
    Message again = expect(w, MESSAGE_MARK, SERVER);
    expect_none(w, MESSAGE_MARK, SERVER + 1); /* it has marked */
    assert_int_equal(first.mark.cut, again.mark.cut);
    assert_memory_equal(first.frames[0].data, again.frames[0].data, bitmap_bytes(STEPS_A));
    say_marked(w, SERVER, first.mark.cut, true);
    uint64_t number = marked_cut(w);
    forget(w, MESSAGE_MARK);
    pass_ms(w, 9000, EVERYBODY);
    expect_none(w, MESSAGE_MARK, 0);
    pass_ms(w, 1500, EVERYBODY); /* WRITTEN of server 1 is lost: it is asked, with the bits of the cut */
    message_free(&again);
    again = expect(w, MESSAGE_MARK, SERVER + 1);
    assert_int_equal(again.mark.cut, number);
    assert_memory_equal(first.frames[0].data, again.frames[0].data, bitmap_bytes(STEPS_A));
    say_marked(w, SERVER + 1, number, true); /* answers that come twice change nothing */
    say_all_written(w, number);
    say_all_written(w, number);
    assert_int_equal(w->n_commits, 1);
    message_free(&first);
    message_free(&again);
    world_free(w);
}

/* Minutes in which servers and worker live, and nothing that is sent matters. */
static void pass_minutes(World *w, int n) {
    for (int i = 0; i < n * 3; i++) {
        pass_ms(w, 20000, EVERYBODY);
        for (int type = 0; type < MESSAGE_PULL; type++)
            if (type != MESSAGE_FINISH && type != MESSAGE_LEASE)
                forget(w, (MessageType)type);
    }
}

static void a_server_that_writes_too_long_costs_the_snapshot_and_holds_up_the_next(void **state) {
    (void)state;
    Message lease;
    World *w = world_saving(&lease);
    hold_writes(w, true);
    cut(w, &lease, 2);
    uint64_t number = marked_cut(w);
    say_written(w, SERVER, number, true);
    w->config.cluster.lease_s = 1 << 20;
    expect_sent(w, MESSAGE_LEASE, WORKER);
    expect_request(w, MESSAGE_SNAPSHOT_ASK, CONTROL, "pending", "");
    pass_minutes(w, 31);
    expect_none(w, MESSAGE_FINISH, 0);
    assert_int_equal(w->n_commits, 0);
    forget(w, MESSAGE_LEASE_REVOKE);
    pass_ms(w, 9000, EVERYBODY);
    expect_none(w, MESSAGE_MARK, SERVER);
    say_written(w, SERVER + 1, number, true);
    assert_int_equal(w->n_commits, 0); /* it was given up */
    hold_writes(w, false);
    ask(w, WORKER);
    forget(w, MESSAGE_LEASE);
    run_until_idle(w);
    assert_true(w->n_commits > 0 && w->committed_cut > number);
    world_free(w);
}

static void a_server_that_never_marks_ends_the_run_though_another_writes(void **state) {
    (void)state;
    for (uint64_t mute = SERVER; mute < SERVER + 2; mute++) {
        Message lease;
        World *w = world_saving(&lease);
        hold_writes(w, true);
        fake(w, mute)->is_mute = true;
        cut(w, &lease, 2);
        answer_all_reports(w, mute);
        serve(w);
        pass_minutes(w, 2);
        expect_finish(w, WORKER, ERR_TIMEOUT, mute == SERVER ? "server-0" : "server-1");
        world_free(w);
    }
}

static void a_refused_snapshot_that_fell_due_is_tried_again_but_not_for_ever(void **state) {
    (void)state;
    Message lease;
    World *w = world_saving(&lease);
    w->servers[1].refuses_mark = true;
    expect_request(w, MESSAGE_SNAPSHOT_ASK, CONTROL, "pending", "");
    push_some(w, &lease, 2);
    give_back(w, WORKER, &lease);
    serve(w);
    Message m;
    int n_tries = 0;
    while (take(w, MESSAGE_LEASE_REVOKE, WORKER, &m)) { /* no time passes: only what was refused is due */
        end_lease(w, WORKER, m.lease_revoke.lease, false);
        ask(w, WORKER);
        serve(w);
    }
    for (; take(w, MESSAGE_RESUME, SERVER, &m); message_free(&m))
        n_tries++;
    assert_int_equal(n_tries, 100);
    expect_none(w, MESSAGE_FINISH, 0);
    expect_request(w, MESSAGE_STATUS_ASK, CONTROL, "failed", "100 tries");
    world_free(w);
}

/* ---- full and incremental --------------------------------------------------------------------------------------- */

/* A snapshot after one more step; its base as the commit and the servers were told. */
static uint64_t next_snapshot(World *w, Message *lease, uint32_t n) {
    hold_writes(w, true);
    push_some(w, lease, n);
    pass_ms(w, 5100, EVERYBODY);
    give_back(w, WORKER, lease);
    w->servers[0].is_mute = true;
    serve(w);
    answer_all_reports(w, SERVER);
    Message m = expect(w, MESSAGE_MARK, SERVER);
    uint64_t base = m.mark.base, number = m.mark.cut;
    message_free(&m);
    say_marked(w, SERVER, number, true);
    w->servers[0].is_mute = false;
    serve(w);
    say_all_written(w, number);
    *lease = expect(w, MESSAGE_LEASE, WORKER);
    return base;
}

static void every_kth_is_full_and_those_between_go_on_from_it(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    w->config.snapshot.every_s = 5;
    w->config.snapshot.full_every = 3;
    start(w);
    Message lease = expect(w, MESSAGE_LEASE, WORKER), part = {.lease = lease.lease};
    uint64_t full = 0;
    for (uint32_t i = 0; i < 4; i++) {
        lease.lease.chunk = part.lease.chunk; /* of a list of steps it is not told */
        uint64_t base = next_snapshot(w, &lease, i + 1);
        assert_int_equal(w->n_commits, i + 1);
        assert_int_equal(base, i % 3 ? full : 0);
        assert_int_equal(w->facts.base_cut, base);
        assert_string_equal(w->base_dir, i % 3 ? "/run/snapshots/epoch-0001-step-000001" : "");
        full = i % 3 ? full : w->committed_cut;
    }
    message_free(&lease);
    world_free(w);
}

static void after_a_failure_the_next_one_is_full(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    w->config.snapshot.every_s = 5;
    w->config.snapshot.full_every = 10;
    start(w);
    Message lease = expect(w, MESSAGE_LEASE, WORKER), part = {.lease = lease.lease};
    for (uint32_t i = 0; i < 4; i++) {
        static const bool IS_FULL[] = {true, false, true, false};
        lease.lease.chunk = part.lease.chunk;
        w->commit_result = i == 1 ? ERR_IO : OK;
        assert_int_equal(next_snapshot(w, &lease, i + 1) == 0, IS_FULL[i]);
        assert_int_equal(w->n_commits, i + 1);
    }
    message_free(&lease);
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_write_is_told_and_training_goes_on),
        cmocka_unit_test(a_refused_mark_costs_the_try_not_the_request),
        cmocka_unit_test(mark_is_repeated_until_it_is_answered),
        cmocka_unit_test(a_server_that_writes_too_long_costs_the_snapshot_and_holds_up_the_next),
        cmocka_unit_test(a_server_that_never_marks_ends_the_run_though_another_writes),
        cmocka_unit_test(a_refused_snapshot_that_fell_due_is_tried_again_but_not_for_ever),
        cmocka_unit_test(every_kth_is_full_and_those_between_go_on_from_it),
        cmocka_unit_test(after_a_failure_the_next_one_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
