/* The scheduler: snapshots in the middle of an epoch. When they are taken, that training goes on meanwhile, what is
 * full and what is not, and what becomes of those that fail. */
/* link: mg_server */
#include "tests/unit/scheduler_fixture.h"

#include <jansson.h>

/* A cluster of two servers and one worker that holds a lease. */
static World *world_saving(Message *lease) {
    World *w = world_new(2, 1);
    w->config.snapshot.every_s = 5;
    start(w);
    *lease = expect(w, MESSAGE_LEASE, WORKER);
    return w;
}

/* n more steps of the lease are done, a snapshot falls due and all servers mark. */
static void cut(World *w, Message *lease, uint32_t n) {
    push_some(w, lease, n);
    pass_ms(w, 5100, EVERYBODY);
    give_back(w, WORKER, lease);
    serve(w);
}

static void hold_writes(World *w, bool holds) {
    w->servers[0].holds_write = w->servers[1].holds_write = holds;
}

static void say_all_written(World *w, uint64_t cut_number) {
    say_written(w, SERVER, cut_number, true);
    say_written(w, SERVER + 1, cut_number, true);
}

static uint64_t marked_cut(World *w) {
    Message m = expect(w, MESSAGE_RESUME, SERVER);
    uint64_t number = m.resume.cut;
    message_free(&m);
    expect_sent(w, MESSAGE_RESUME, SERVER + 1);
    return number;
}

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

/* What the scheduler answers to this peer: {state, text} of its request; "" where it has none. */
static const char *request_state(World *w, MessageType question, uint64_t peer, char *text, size_t size) {
    static const char *const STATES[] = {"pending", "writing", "committed", "failed"};
    const char *found = "";
    Message m;
    size_t n;
    message_init(&m, question);
    say(w, peer, &m);
    m = expect(w, MESSAGE_STATUS, peer);
    const char *bytes = message_bytes(&m, 0, m.n_frames, &n);
    json_t *status = json_loadb(bytes, n, 0, NULL);
    const json_t *request = json_object_get(json_object_get(status, "snapshot"), "request");
    snprintf(text, size, "%s", request ? json_string_value(json_object_get(request, "text")) : "");
    for (int i = 0; request && i < 4; i++)
        if (!strcmp(json_string_value(json_object_get(request, "state")), STATES[i]))
            found = STATES[i];
    json_decref(status);
    message_free(&m);
    return found;
}

static void expect_request(World *w, MessageType question, uint64_t peer, const char *want, const char *words) {
    char text[MESSAGE_TEXT];
    const char *found = request_state(w, question, peer, text, sizeof text);
    assert_string_equal(found, want);
    if (!strstr(text, words))
        fail_msg("\"%s\" does not hold \"%s\"", text, words);
}

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
