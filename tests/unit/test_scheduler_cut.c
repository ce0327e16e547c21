/* The scheduler in async: how an epoch ends, from reports over the cut to the commit. Rules are those of PROTOCOL.md;
 * each has a case that fails without it. */
/* link: mg_server */
#include "tests/unit/scheduler_fixture.h"

/* Rule 4. */
static void done_proves_nothing(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    Message lease;
    uint32_t unpushed = 0;
    start(w);
    for (int i = 0; i < N_CHUNKS; i++) {
        lease = expect(w, MESSAGE_LEASE, WORKER);
        if (i == 2) { /* says done, but one server has not got its pushes */
            unpushed = (uint32_t)lease.lease.chunk;
            push_chunk(w, SERVER, unpushed);
            end_lease(w, WORKER, lease.lease.lease, true);
            ask(w, WORKER);
        } else
            work(w, WORKER, &lease);
        message_free(&lease);
    }
    serve(w);
    expect_none(w, MESSAGE_MARK, 0);
    lease = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(lease.lease.kind, LEASE_PART);
    assert_int_equal(lease.lease.chunk, unpushed);
    expect_none(w, MESSAGE_LEASE, 0);
    work(w, WORKER, &lease);
    message_free(&lease);
    serve(w);
    assert_int_equal(w->n_commits, 1);
    world_free(w);
}

/* Rule 4, the other half. */
static void a_report_counts_only_from_a_server_of_the_run_and_for_the_question_asked(void **state) {
    (void)state;
    World *w = world_started(2, 1);
    Message m, ask_1;
    w->servers[1].is_mute = true;
    train_and_cut(w);
    ask_1 = expect(w, MESSAGE_REPORT_ASK, SERVER + 1);
    message_init(&m, MESSAGE_REPORT); /* a former incarnation's */
    m.sequence = ask_1.sequence;
    m.report = (MessageREPORT){.epoch = 1, .map = 1};
    for (int i = 0; i < 4; i++)
        message_add_frame(&m, i == 0 ? 2 : i == 1 ? 1 : 0);
    memset(m.frames[0].data, 0xff, 2);
    memset(m.frames[1].data, 0xff, 1);
    say(w, SERVER + 3, &m);
    expect_none(w, MESSAGE_MARK, 0);
    Message late = ask_1;
    late.sequence--; /* the answer to an earlier question */
    answer_report(w, SERVER + 1, &late);
    expect_none(w, MESSAGE_MARK, 0);
    answer_report(w, SERVER + 1, &ask_1);
    expect_sent(w, MESSAGE_MARK, SERVER);
    message_free(&ask_1);
    world_free(w);
}

/* Rule 8. */
static void evaluation_and_the_next_epoch_wait_for_the_commit(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    w->holds_commit = true;
    start(w);
    train_and_cut(w);
    assert_int_equal(w->n_commits, 1);
    assert_string_equal(w->committed_dir, "/run/snapshots/epoch-0001");
    pass_ms(w, 3000, EVERYBODY);
    serve(w);
    expect_none(w, MESSAGE_LEASE, 0);
    Message m = expect(w, MESSAGE_RESUME, SERVER + 1); /* all have marked */
    assert_int_equal(m.resume.cut, w->committed_cut);
    message_free(&m);
    scheduler_on_committed(w->s, OK, w->now_ms);
    m = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(m.lease.kind, LEASE_EVALUATION);
    message_free(&m);
    world_free(w);
}

/* Rule 6. */
static void a_refused_mark_is_tried_again_with_a_new_number(void **state) {
    (void)state;
    World *w = world_started(2, 1);
    Message first, again;
    w->servers[0].is_mute = w->servers[1].is_mute = true;
    train_epoch(w);
    for (uint64_t i = 0; i < 2; i++)
        answer_next_report(w, SERVER + i);
    first = expect(w, MESSAGE_MARK, SERVER);
    assert_int_equal(first.n_frames, N_DOMAINS);
    assert_memory_equal(first.frames[0].data, w->servers[0].bits[0], bitmap_bytes(STEPS_A));
    say_marked(w, SERVER, first.mark.cut, true);
    say_marked(w, SERVER + 1, first.mark.cut, false);
    pass_ms(w, 200, EVERYBODY);
    expect_none(w, MESSAGE_REPORT_ASK, 0); /* the other one is still writing */
    say_written(w, SERVER, first.mark.cut, true);
    assert_int_equal(w->n_commits, 0);
    for (uint64_t i = 0; i < 2; i++)
        answer_next_report(w, SERVER + i);
    expect_sent(w, MESSAGE_MARK, SERVER + 1);
    again = expect(w, MESSAGE_MARK, SERVER + 1);
    assert_true(again.mark.cut > first.mark.cut);
    say_written(w, SERVER, first.mark.cut, true); /* files of the first try, late */
    say_written(w, SERVER + 1, first.mark.cut, true);
    assert_int_equal(w->n_commits, 0);
    say_written(w, SERVER, again.mark.cut, true);
    say_written(w, SERVER + 1, again.mark.cut, true);
    assert_int_equal(w->n_commits, 1);
    assert_int_equal(w->committed_cut, again.mark.cut);
    message_free(&first);
    message_free(&again);
    world_free(w);
}

/* Rule 7. */
static void a_new_incarnation_before_the_commit_aborts_the_snapshot(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    Message m;
    uint64_t cut;
    start(w);
    w->servers[1].is_mute = true;
    train_and_cut(w);
    answer_next_report(w, SERVER + 1);
    serve(w); /* server 0 has written */
    m = expect(w, MESSAGE_MARK, SERVER + 1);
    cut = m.mark.cut;
    message_free(&m);
    hello(w, SERVER + 1, ROLE_SERVER, &m); /* its endpoint, another process */
    say(w, SERVER + 3, &m);
    say_written(w, SERVER + 1, cut, true);
    assert_int_equal(w->n_commits, 0);
    expect_finish(w, WORKER, ERR_PEER, "server-1");
    world_free(w);
}

static void a_snapshot_that_cannot_be_written_is_given_up_and_the_run_goes_on(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    w->config.train.epochs = 2;
    w->servers[1].fails_to_write = true;
    start(w);
    run_until_idle(w);
    assert_int_equal(w->n_commits, 0);
    assert_int_equal(w->n_results, 2);
    assert_string_equal(w->result_dir, "");
    expect_end(w, OK);
    world_free(w);
}

static void a_commit_that_fails_is_given_up_and_the_run_goes_on(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    w->config.train.epochs = 1;
    w->commit_result = ERR_IO;
    start(w);
    run_until_idle(w);
    assert_int_equal(w->n_commits, 1);
    assert_int_equal(w->n_results, 1);
    assert_string_equal(w->result_dir, "");
    world_free(w);
}

static void without_snapshots_an_epoch_completes_on_reports(void **state) {
    (void)state;
    World *w = world_new(2, 2);
    w->config.train.epochs = 1;
    w->config.snapshot.enabled = false;
    start(w);
    run_until_idle(w);
    expect_none(w, MESSAGE_MARK, 0);
    assert_int_equal(w->n_results, 1);
    world_free(w);
}

static void a_server_that_counted_otherwise_ends_the_run(void **state) {
    (void)state;
    World *w = world_started(2, 1);
    w->servers[1].t[DOMAIN_B] = 1; /* an update too many */
    train_and_cut(w);
    expect_none(w, MESSAGE_MARK, 0);
    expect_finish(w, WORKER, ERR_PROTOCOL, "domain B");
    world_free(w);
}

static void a_report_that_does_not_fit_drops_the_server(void **state) {
    (void)state;
    World *w = world_started(1, 1);
    Message m;
    message_init(&m, MESSAGE_REPORT);
    m.report = (MessageREPORT){.epoch = 1, .map = 1};
    for (int i = 0; i < 4; i++)
        message_add_frame(&m, 3);
    say(w, SERVER, &m);
    expect_finish(w, WORKER, ERR_PROTOCOL, "");
    world_free(w);
}

static void losses_are_the_means_of_what_servers_summed(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    w->config.train.epochs = 1;
    start(w);
    run_until_idle(w);
    const EpochResult *r = &w->results[0];
    assert_true(r->data_loss[DOMAIN_A] == 2 && r->data_loss[DOMAIN_B] == 4);
    assert_true(r->regulariser[DOMAIN_A] == 0.5 && r->regulariser[DOMAIN_B] == 1);
    assert_int_equal(r->n_steps[DOMAIN_A], STEPS_A);
    assert_int_equal(r->n_steps[DOMAIN_B], STEPS_B);
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(done_proves_nothing),
        cmocka_unit_test(a_report_counts_only_from_a_server_of_the_run_and_for_the_question_asked),
        cmocka_unit_test(evaluation_and_the_next_epoch_wait_for_the_commit),
        cmocka_unit_test(a_refused_mark_is_tried_again_with_a_new_number),
        cmocka_unit_test(a_new_incarnation_before_the_commit_aborts_the_snapshot),
        cmocka_unit_test(a_snapshot_that_cannot_be_written_is_given_up_and_the_run_goes_on),
        cmocka_unit_test(a_commit_that_fails_is_given_up_and_the_run_goes_on),
        cmocka_unit_test(without_snapshots_an_epoch_completes_on_reports),
        cmocka_unit_test(a_server_that_counted_otherwise_ends_the_run),
        cmocka_unit_test(a_report_that_does_not_fit_drops_the_server),
        cmocka_unit_test(losses_are_the_means_of_what_servers_summed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
