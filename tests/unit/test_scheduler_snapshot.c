/* The scheduler: snapshots in the middle of an epoch. When they are taken, that training goes on meanwhile, and who
 * asks for them. */
/* link: mg_server */
#include "tests/unit/saving_fixture.h"

/* ---- while it is written ---------------------------------------------------------------------------------------- */

static void training_goes_on_as_soon_as_all_have_marked(void **state) {
    (void)state;
    Message lease;
    World *w = world_saving(&lease);
    hold_writes(w, true);
    w->servers[1].is_mute = true;
    cut(w, &lease, 3);
    answer_all_reports(w, SERVER + 1);
    serve(w);
    Message mark = expect(w, MESSAGE_MARK, SERVER + 1);
    assert_string_equal(mark.mark.dir, "/run/snapshots/epoch-0001-step-000003");
    expect_none(w, MESSAGE_RESUME, 0);
    expect_none(w, MESSAGE_LEASE, 0); /* server 1 has not marked */
    say_marked(w, SERVER + 1, mark.mark.cut, true);
    message_free(&mark);
    uint64_t number = marked_cut(w);
    expect_sent(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(w->n_commits, 0);
    say_all_written(w, number);
    assert_int_equal(w->n_commits, 1);
    assert_int_equal(w->committed_cut, number);
    assert_false(w->facts.is_epoch_end);
    world_free(w);
}

static void the_manifest_is_of_the_state_that_was_marked(void **state) {
    (void)state;
    Message lease;
    World *w = world_saving(&lease);
    hold_writes(w, true);
    cut(w, &lease, 3);
    uint64_t number = marked_cut(w);
    work_next(w, WORKER);
    pass_ms(w, 2500, EVERYBODY); /* reports are asked for */
    serve(w);
    pass_ms(w, 1100, EVERYBODY);
    assert_true(w->progress.steps_done > 3);
    say_all_written(w, number);
    assert_int_equal(w->n_committed_bits, 3);
    assert_int_equal(w->facts.t[DOMAIN_A], 3);
    assert_int_equal(w->facts.t[DOMAIN_B], 0);
    world_free(w);
}

static void a_part_in_hand_goes_on_with_the_steps_that_are_left(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    w->config.snapshot.every_s = 5;
    w->config.train.epochs = 1;
    start(w);
    Message lease = expect(w, MESSAGE_LEASE, WORKER);
    uint64_t chunk = lease.lease.chunk;
    cut(w, &lease, 3);
    Message m = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(m.lease.kind, LEASE_STEPS);
    assert_int_equal(m.frames[0].size_bytes, 3 * 2 * sizeof(uint32_t)); /* of 4 + 2 */
    for (int i = 0; i < 3; i++) {
        const uint32_t *pair = (const uint32_t *)m.frames[0].data + 2 * i;
        assert_int_equal(pair[1] / (pair[0] == DOMAIN_A ? 4 : 2), chunk);
        assert_false(bitmap_get(w->servers[0].bits[pair[0]], pair[1]));
    }
    work(w, WORKER, &m);
    message_free(&m);
    run_until_idle(w);
    assert_int_equal(w->servers[0].t[DOMAIN_A], STEPS_A);
    world_free(w);
}

static void an_epoch_that_ends_waits_for_the_snapshot_that_is_being_written(void **state) {
    (void)state;
    Message lease;
    World *w = world_saving(&lease);
    hold_writes(w, true);
    cut(w, &lease, 3);
    uint64_t number = marked_cut(w);
    hold_writes(w, false);
    forget(w, MESSAGE_MARK);
    for (int i = 0; i < N_CHUNKS; i++)
        work_next(w, WORKER);
    serve(w);
    expect_none(w, MESSAGE_MARK, 0);
    say_written(w, SERVER, number, true);
    expect_none(w, MESSAGE_MARK, 0);
    say_written(w, SERVER + 1, number, true);
    assert_string_equal(w->committed_dir, "/run/snapshots/epoch-0001-step-000003");
    serve(w);
    assert_int_equal(w->n_commits, 2);
    assert_string_equal(w->committed_dir, "/run/snapshots/epoch-0001");
    assert_true(w->facts.is_epoch_end && w->committed_cut > number);
    world_free(w);
}

static void a_stop_waits_for_the_snapshot_that_is_being_written_and_takes_it_if_it_is_the_same(void **state) {
    (void)state;
    for (uint32_t n_more = 0; n_more < 2; n_more++) {
        Message lease;
        World *w = world_saving(&lease);
        hold_writes(w, true);
        cut(w, &lease, 2);
        uint64_t number = marked_cut(w);
        lease = expect(w, MESSAGE_LEASE, WORKER);
        for (uint64_t i = 0; n_more && i < 2; i++)
            push(w, SERVER + i, DOMAIN_B, 0);
        hold_writes(w, false);
        scheduler_on_stop(w->s, w->now_ms);
        give_back(w, WORKER, &lease);
        serve(w);
        assert_int_equal(w->n_commits, 0);
        expect_none(w, MESSAGE_FINISH, 0);
        say_all_written(w, number);
        serve(w);
        assert_int_equal(w->n_commits, 1 + n_more);
        expect_end(w, ERR_STOPPED);
        assert_non_null(strstr(w->sentence, w->committed_dir));
        assert_string_equal(w->committed_dir,
                            n_more ? "/run/snapshots/epoch-0001-step-000003" : "/run/snapshots/epoch-0001-step-000002");
        world_free(w);
    }
}

/* ---- when ------------------------------------------------------------------------------------------------------- */

static void by_time_it_waits_for_the_one_before(void **state) {
    (void)state;
    Message lease;
    World *w = world_saving(&lease);
    hold_writes(w, true);
    cut(w, &lease, 2);
    uint64_t number = marked_cut(w);
    lease = expect(w, MESSAGE_LEASE, WORKER);
    push(w, SERVER, DOMAIN_B, 7), push(w, SERVER + 1, DOMAIN_B, 7);
    pass_ms(w, 9000, EVERYBODY);
    expect_none(w, MESSAGE_LEASE_REVOKE, 0);
    say_all_written(w, number);
    give_back(w, WORKER, &lease);
    serve(w);
    assert_true(marked_cut(w) > number);
    world_free(w);
}

static void by_steps_it_comes_when_so_many_are_reported(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    w->config.snapshot.every_steps = 3;
    start(w);
    Message lease = expect(w, MESSAGE_LEASE, WORKER);
    push_some(w, &lease, 2);
    push(w, SERVER, DOMAIN_B, 7); /* the other server has only two */
    for (int i = 0; i < 5; i++) {
        pass_ms(w, 200, EVERYBODY);
        serve(w);
    }
    expect_none(w, MESSAGE_LEASE_REVOKE, 0);
    push(w, SERVER + 1, DOMAIN_B, 7);
    pass_ms(w, 200, EVERYBODY);
    serve(w);
    give_back(w, WORKER, &lease);
    serve(w);
    assert_int_equal(w->n_commits, 1);
    assert_string_equal(w->committed_dir, "/run/snapshots/epoch-0001-step-000003");
    lease = expect(w, MESSAGE_LEASE, WORKER);
    for (int i = 0; i < 5; i++) {
        pass_ms(w, 200, EVERYBODY);
        serve(w);
    }
    expect_none(w, MESSAGE_LEASE_REVOKE, 0); /* those three do not count again */
    message_free(&lease);
    world_free(w);
}

static void what_is_on_disk_is_not_written_again(void **state) {
    (void)state;
    Message lease;
    World *w = world_saving(&lease);
    cut(w, &lease, 2);
    for (int i = 0; i < 2; i++) {
        lease = expect(w, MESSAGE_LEASE, WORKER);
        cut(w, &lease, 0);
    }
    assert_int_equal(w->n_commits, 1);
    lease = expect(w, MESSAGE_LEASE, WORKER);
    scheduler_on_stop(w->s, w->now_ms);
    give_back(w, WORKER, &lease);
    serve(w);
    assert_int_equal(w->n_commits, 1);
    expect_end(w, ERR_STOPPED);
    assert_non_null(strstr(w->sentence, "/run/snapshots/epoch-0001-step-000002"));
    world_free(w);
}

/* ---- on request ------------------------------------------------------------------------------------------------- */

static void who_asks_hears_how_its_request_stands(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    start(w);
    hold_writes(w, true);
    Message lease = expect(w, MESSAGE_LEASE, WORKER);
    push_some(w, &lease, 2);
    expect_request(w, MESSAGE_SNAPSHOT_ASK, CONTROL, "pending", "");
    expect_request(w, MESSAGE_SNAPSHOT_ASK, CONTROL, "pending", ""); /* repeated: the same */
    expect_request(w, MESSAGE_STATUS_ASK, CONTROL + 1, "", "");
    give_back(w, WORKER, &lease);
    serve(w);
    uint64_t number = marked_cut(w);
    expect_request(w, MESSAGE_SNAPSHOT_ASK, CONTROL, "writing", "");
    lease = expect(w, MESSAGE_LEASE, WORKER);
    push(w, SERVER, DOMAIN_B, 7), push(w, SERVER + 1, DOMAIN_B, 7);
    expect_request(w, MESSAGE_SNAPSHOT_ASK, CONTROL + 1, "pending", ""); /* later than the cut: wants another */
    say_all_written(w, number);
    expect_request(w, MESSAGE_STATUS_ASK, CONTROL, "committed", "/run/snapshots/epoch-0001-step-000002");
    give_back(w, WORKER, &lease);
    serve(w);
    number = marked_cut(w);
    say_all_written(w, number);
    expect_request(w, MESSAGE_STATUS_ASK, CONTROL, "committed", "/run/snapshots/epoch-0001-step-000002");
    expect_request(w, MESSAGE_STATUS_ASK, CONTROL + 1, "committed", "/run/snapshots/epoch-0001-step-000003");
    assert_int_equal(w->n_commits, 2);
    world_free(w);
}

static void a_request_without_a_step_since_gets_what_is_there(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    start(w);
    Message lease = expect(w, MESSAGE_LEASE, WORKER);
    expect_request(w, MESSAGE_SNAPSHOT_ASK, CONTROL, "pending", "");
    give_back(w, WORKER, &lease);
    serve(w);
    expect_request(w, MESSAGE_STATUS_ASK, CONTROL, "failed", "nothing has been trained");
    train_and_cut(w);
    lease = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(lease.lease.kind, LEASE_EVALUATION);
    expect_request(w, MESSAGE_SNAPSHOT_ASK, CONTROL + 1, "committed", "/run/snapshots/epoch-0001");
    work(w, WORKER, &lease);
    message_free(&lease);
    while (take(w, MESSAGE_LEASE, WORKER, &lease) && lease.lease.kind == LEASE_EVALUATION) {
        work(w, WORKER, &lease);
        message_free(&lease);
        serve(w);
    }
    assert_int_equal(lease.lease.epoch, 2);
    expect_request(w, MESSAGE_SNAPSHOT_ASK, CONTROL + 2, "pending", "");
    give_back(w, WORKER, &lease);
    serve(w);
    expect_request(w, MESSAGE_STATUS_ASK, CONTROL + 2, "committed", "/run/snapshots/epoch-0001");
    assert_int_equal(w->n_commits, 1);
    world_free(w);
}

static void a_request_is_refused_where_there_can_be_none(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    w->config.snapshot.enabled = false;
    start(w);
    expect_request(w, MESSAGE_SNAPSHOT_ASK, CONTROL, "failed", "snapshot.enabled");
    world_free(w);
    w = world_started(1, 1);
    expect_request(w, MESSAGE_SNAPSHOT_ASK, CONTROL, "pending", "");
    scheduler_on_stop(w->s, w->now_ms);
    scheduler_on_stop(w->s, w->now_ms);
    expect_request(w, MESSAGE_STATUS_ASK, CONTROL, "failed", "stopped at once");
    expect_request(w, MESSAGE_SNAPSHOT_ASK, CONTROL + 1, "failed", "ending");
    world_free(w);
}

static void a_list_of_requests_forgets_the_answered_ones_first(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    start(w);
    Message lease = expect(w, MESSAGE_LEASE, WORKER);
    push_some(w, &lease, 1);
    for (uint64_t i = 0; i < 16; i++)
        expect_request(w, MESSAGE_SNAPSHOT_ASK, CONTROL + i, "pending", "");
    expect_request(w, MESSAGE_SNAPSHOT_ASK, CONTROL + 16, "failed", "too many requests");
    expect_request(w, MESSAGE_STATUS_ASK, CONTROL + 16, "", "");
    give_back(w, WORKER, &lease);
    serve(w);
    expect_request(w, MESSAGE_SNAPSHOT_ASK, CONTROL + 16, "pending", "");
    expect_request(w, MESSAGE_STATUS_ASK, CONTROL, "", ""); /* the first has made room */
    expect_request(w, MESSAGE_STATUS_ASK, CONTROL + 1, "committed", "step-000001");
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_goes_on_as_soon_as_all_have_marked),
        cmocka_unit_test(the_manifest_is_of_the_state_that_was_marked),
        cmocka_unit_test(a_part_in_hand_goes_on_with_the_steps_that_are_left),
        cmocka_unit_test(an_epoch_that_ends_waits_for_the_snapshot_that_is_being_written),
        cmocka_unit_test(a_stop_waits_for_the_snapshot_that_is_being_written_and_takes_it_if_it_is_the_same),
        cmocka_unit_test(by_time_it_waits_for_the_one_before),
        cmocka_unit_test(by_steps_it_comes_when_so_many_are_reported),
        cmocka_unit_test(what_is_on_disk_is_not_written_again),
        cmocka_unit_test(who_asks_hears_how_its_request_stands),
        cmocka_unit_test(a_request_without_a_step_since_gets_what_is_there),
        cmocka_unit_test(a_request_is_refused_where_there_can_be_none),
        cmocka_unit_test(a_list_of_requests_forgets_the_answered_ones_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
