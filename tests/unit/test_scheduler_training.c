/* The scheduler: leases, epochs and cuts in async. The rules of PROTOCOL.md each have a case that fails without it. */
/* link: mg_server */
#include "tests/unit/scheduler_fixture.h"

#include "common/work.h"

static const uint64_t ALL[] = {SERVER, SERVER + 1, WORKER, WORKER + 1, 0};

static void say_marked(World *w, uint64_t peer, uint64_t cut, bool is_ok) {
    Message m;
    message_init(&m, MESSAGE_MARKED);
    m.marked.cut = cut;
    m.marked.is_ok = is_ok;
    say(w, peer, &m);
}

static void say_written(World *w, uint64_t peer, uint64_t cut, bool is_ok) {
    Message m;
    message_init(&m, MESSAGE_WRITTEN);
    m.written.cut = cut;
    m.written.is_ok = is_ok;
    message_add_bytes(&m, "[]", 2);
    say(w, peer, &m);
}

/* ---- leases ----------------------------------------------------------------------------------------------------- */

static void chunks_are_leased_in_the_epochs_order_each_once(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    DataInfo info;
    Geometry g;
    char manifest[TOY_MANIFEST_BYTES];
    Part order[N_CHUNKS]; /* the chunks are small: a part each */
    assert_int_equal(datainfo_parse(&info, manifest, toy_manifest(manifest, N_CHUNKS, COUNTS)), OK);
    assert_int_equal(geometry_init(&g, info.counts[PROTOCOL_WARM], N_CHUNKS, 1, BATCH, EVAL_BATCH), OK);
    assert_int_equal(geometry_parts(&g), N_CHUNKS);
    start(w);
    for (uint32_t epoch = 1; epoch <= 2; epoch++) {
        geometry_part_order(&g, w->config.train.seed, epoch, order);
        for (int i = 0; i < N_CHUNKS; i++) {
            Message lease = expect(w, MESSAGE_LEASE, WORKER);
            assert_int_equal(lease.lease.kind, LEASE_PART);
            assert_int_equal(lease.lease.epoch, epoch);
            assert_int_equal(lease.lease.map, 1);
            assert_int_equal(lease.lease.chunk, order[i].chunk);
            expect_none(w, MESSAGE_LEASE, 0);
            work(w, WORKER, &lease);
            message_free(&lease);
        }
        w->config.train.epochs = 2;
        serve(w);
        while (w->n_results < (int)epoch) {
            Message lease = expect(w, MESSAGE_LEASE, WORKER);
            work(w, WORKER, &lease);
            message_free(&lease);
        }
        serve(w);
    }
    geometry_free(&g);
    datainfo_free(&info);
    world_free(w);
}

static void a_worker_without_work_is_answered_when_there_is_some(void **state) {
    (void)state;
    World *w = world_new(1, 2);
    w->config.cluster.workers = 5; /* more than chunks */
    start(w);
    expect_none(w, MESSAGE_LEASE, WORKER + 4);
    Message lease = expect(w, MESSAGE_LEASE, WORKER);
    end_lease(w, WORKER, lease.lease.lease, false);
    Message other = expect(w, MESSAGE_LEASE, WORKER + 4);
    assert_int_equal(other.lease.chunk, lease.lease.chunk);
    message_free(&lease);
    message_free(&other);
    world_free(w);
}

static void no_lease_is_granted_before_every_server_has_opened_the_epoch(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    Message m;
    w->servers[1].is_mute = true;
    start(w);
    expect_none(w, MESSAGE_LEASE, 0);
    w->servers[1].is_mute = false;
    pass_ms(w, 1500, ALL); /* until the question is repeated */
    serve(w);
    m = expect(w, MESSAGE_LEASE, WORKER);
    message_free(&m);
    world_free(w);
}

static void a_server_that_is_still_in_another_epoch_is_asked_again(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    Message m;
    static const uint64_t ALIVE[] = {SERVER, WORKER, 0};
    w->servers[0].is_mute = true;
    start(w);
    message_init(&m, MESSAGE_READY);
    m.ready.map = 1;
    say(w, SERVER, &m);
    m = expect(w, MESSAGE_EPOCH_OPEN, SERVER);
    assert_int_equal(m.epoch_open.steps_a, STEPS_A);
    assert_int_equal(m.epoch_open.steps_b, STEPS_B);
    message_free(&m);
    message_init(&m, MESSAGE_EPOCH_OPENED);
    m.epoch_opened.epoch = 0; /* it could not yet */
    say(w, SERVER, &m);
    expect_none(w, MESSAGE_LEASE, 0);
    forget(w, MESSAGE_EPOCH_OPEN);
    pass_ms(w, 1500, ALIVE);
    m = expect(w, MESSAGE_EPOCH_OPEN, SERVER);
    message_free(&m);
    world_free(w);
}

static void a_server_that_never_opens_the_epoch_ends_the_run(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    w->servers[1].is_mute = true;
    start(w);
    pass_ms(w, 61 * 1000, ALL);
    Message m = expect(w, MESSAGE_FINISH, WORKER);
    assert_int_equal((int)m.finish.code, -ERR_TIMEOUT);
    assert_non_null(strstr(m.finish.text, "server-1"));
    message_free(&m);
    world_free(w);
}

static void a_dead_workers_chunk_goes_to_another(void **state) {
    (void)state;
    World *w = world_new(1, 2);
    static const uint64_t ALIVE[] = {SERVER, WORKER, 0};
    start(w);
    Message first = expect(w, MESSAGE_LEASE, WORKER), dead = expect(w, MESSAGE_LEASE, WORKER + 1);
    pass_ms(w, (uint64_t)w->config.cluster.dead_ms + 200, ALIVE);
    end_lease(w, WORKER, first.lease.lease, true);
    ask(w, WORKER);
    Message again = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(again.lease.chunk, dead.lease.chunk);
    message_free(&first);
    message_free(&dead);
    message_free(&again);
    world_free(w);
}

static void a_worker_that_is_heard_again_takes_part_again(void **state) {
    (void)state;
    World *w = world_new(1, 2);
    static const uint64_t ALIVE[] = {SERVER, WORKER, 0};
    start(w);
    Message dead = expect(w, MESSAGE_LEASE, WORKER + 1);
    pass_ms(w, (uint64_t)w->config.cluster.dead_ms + 200, ALIVE);
    end_lease(w, WORKER + 1, dead.lease.lease, true); /* of a lease that it lost: proves and frees nothing */
    ask(w, WORKER + 1);
    Message again = expect(w, MESSAGE_LEASE, WORKER + 1);
    assert_true(again.lease.lease > dead.lease.lease);
    message_free(&dead);
    message_free(&again);
    world_free(w);
}

static void a_lease_without_progress_expires_and_one_with_progress_does_not(void **state) {
    (void)state;
    World *w = world_new(1, 2);
    Message slow, stuck, m;
    static const uint64_t SERVERS[] = {SERVER, 0};
    start(w);
    slow = expect(w, MESSAGE_LEASE, WORKER);
    stuck = expect(w, MESSAGE_LEASE, WORKER + 1);
    for (uint64_t s = 1; s <= (uint64_t)w->config.cluster.lease_s + 1; s++) {
        message_init(&m, MESSAGE_HEARTBEAT);
        m.heartbeat.lease = slow.lease.lease;
        m.heartbeat.n_steps = s;
        say(w, WORKER, &m);
        message_init(&m, MESSAGE_HEARTBEAT);
        m.heartbeat.lease = stuck.lease.lease;
        m.heartbeat.n_steps = 1;
        say(w, WORKER + 1, &m);
        pass_ms(w, 1000, SERVERS);
    }
    m = expect(w, MESSAGE_LEASE_REVOKE, WORKER + 1);
    assert_int_equal(m.lease_revoke.lease, stuck.lease.lease);
    message_free(&m);
    expect_none(w, MESSAGE_LEASE_REVOKE, WORKER);
    message_free(&slow);
    message_free(&stuck);
    world_free(w);
}

static void a_lease_that_was_lost_is_sent_again_when_asked(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    start(w);
    Message lost = expect(w, MESSAGE_LEASE, WORKER);
    ask(w, WORKER);
    Message again = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(again.lease.lease, lost.lease.lease);
    assert_int_equal(again.lease.chunk, lost.lease.chunk);
    message_free(&lost);
    message_free(&again);
    world_free(w);
}

/* ---- the end of an epoch ---------------------------------------------------------------------------------------- */

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
    World *w = world_new(2, 1);
    Message m, ask_1;
    start(w);
    w->servers[1].is_mute = true;
    train_epoch(w);
    serve(w);
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
    m = expect(w, MESSAGE_MARK, SERVER);
    message_free(&m);
    message_free(&ask_1);
    world_free(w);
}

/* Rule 8. */
static void evaluation_and_the_next_epoch_wait_for_the_commit(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    w->holds_commit = true;
    start(w);
    train_epoch(w);
    serve(w);
    assert_int_equal(w->n_commits, 1);
    assert_string_equal(w->committed_dir, "/run/snapshots/epoch-0001");
    pass_ms(w, 3000, ALL);
    serve(w);
    expect_none(w, MESSAGE_LEASE, 0);
    expect_none(w, MESSAGE_RESUME, 0);
    scheduler_on_committed(w->s, OK, w->now_ms);
    Message m = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(m.lease.kind, LEASE_EVALUATION);
    message_free(&m);
    m = expect(w, MESSAGE_RESUME, SERVER + 1);
    assert_int_equal(m.resume.cut, w->committed_cut);
    message_free(&m);
    world_free(w);
}

/* Rule 6. */
static void a_refused_mark_is_tried_again_with_a_new_number(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    Message first, again, m;
    start(w);
    w->servers[0].is_mute = w->servers[1].is_mute = true;
    train_epoch(w);
    for (uint64_t i = 0; i < 2; i++) {
        m = expect(w, MESSAGE_REPORT_ASK, SERVER + i);
        answer_report(w, SERVER + i, &m);
        message_free(&m);
    }
    first = expect(w, MESSAGE_MARK, SERVER);
    assert_int_equal(first.n_frames, N_DOMAINS);
    assert_memory_equal(first.frames[0].data, w->servers[0].bits[0], bitmap_bytes(STEPS_A));
    say_marked(w, SERVER, first.mark.cut, true);
    say_marked(w, SERVER + 1, first.mark.cut, false);
    pass_ms(w, 200, ALL);
    expect_none(w, MESSAGE_REPORT_ASK, 0); /* the other one is still writing */
    say_written(w, SERVER, first.mark.cut, true);
    assert_int_equal(w->n_commits, 0);
    for (uint64_t i = 0; i < 2; i++) {
        m = expect(w, MESSAGE_REPORT_ASK, SERVER + i);
        answer_report(w, SERVER + i, &m);
        message_free(&m);
    }
    again = expect(w, MESSAGE_MARK, SERVER + 1);
    message_free(&again);
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
    train_epoch(w);
    serve(w);
    m = expect(w, MESSAGE_REPORT_ASK, SERVER + 1);
    answer_report(w, SERVER + 1, &m);
    message_free(&m);
    serve(w); /* server 0 has written */
    m = expect(w, MESSAGE_MARK, SERVER + 1);
    cut = m.mark.cut;
    message_free(&m);
    hello(w, SERVER + 1, ROLE_SERVER, &m); /* its endpoint, another process */
    say(w, SERVER + 3, &m);
    say_written(w, SERVER + 1, cut, true);
    assert_int_equal(w->n_commits, 0);
    m = expect(w, MESSAGE_FINISH, WORKER);
    assert_int_equal((int)m.finish.code, -ERR_PEER);
    assert_non_null(strstr(m.finish.text, "server-1"));
    message_free(&m);
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
    leave_all(w);
    assert_int_equal(w->code, OK);
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
    World *w = world_new(2, 1);
    start(w);
    w->servers[1].t[DOMAIN_B] = 1; /* an update too many */
    train_epoch(w);
    serve(w);
    expect_none(w, MESSAGE_MARK, 0);
    Message m = expect(w, MESSAGE_FINISH, WORKER);
    assert_int_equal((int)m.finish.code, -ERR_PROTOCOL);
    assert_non_null(strstr(m.finish.text, "domain B"));
    message_free(&m);
    world_free(w);
}

static void a_report_that_does_not_fit_drops_the_server(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    Message m;
    start(w);
    message_init(&m, MESSAGE_REPORT);
    m.report = (MessageREPORT){.epoch = 1, .map = 1};
    for (int i = 0; i < 4; i++)
        message_add_frame(&m, 3);
    say(w, SERVER, &m);
    m = expect(w, MESSAGE_FINISH, WORKER);
    assert_int_equal((int)m.finish.code, -ERR_PROTOCOL);
    message_free(&m);
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

/* ---- stopping --------------------------------------------------------------------------------------------------- */

/* Rule 5. */
static void a_stop_leases_only_steps_that_some_servers_have_and_others_lack(void **state) {
    (void)state;
    World *w = world_new(2, 2);
    Message lease, m;
    start(w);
    lease = expect(w, MESSAGE_LEASE, WORKER);
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
    m = expect(w, MESSAGE_FINISH, SERVER);
    assert_int_equal((int)m.finish.code, -ERR_STOPPED);
    message_free(&m);
    expect_none(w, MESSAGE_LEASE, 0);
    leave_all(w);
    assert_int_equal(w->code, ERR_STOPPED);
    assert_int_equal(w->n_results, 0);
    world_free(w);
}

/* LEASE_ASK is repeated: one may cross the LEASE, whose worker is at work when the cut drains. */
static void a_question_that_crossed_its_lease_does_not_free_it(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    Message lease, m;
    start(w);
    lease = expect(w, MESSAGE_LEASE, WORKER);
    scheduler_on_stop(w->s, w->now_ms);
    ask(w, WORKER);
    expect_none(w, MESSAGE_REPORT_ASK, SERVER);
    m = expect(w, MESSAGE_LEASE, WORKER); /* in case the first was lost */
    assert_int_equal(m.lease.lease, lease.lease.lease);
    message_free(&m);
    pass_ms(w, 1100, (uint64_t[]){SERVER, SERVER + 1, WORKER, 0});
    forget(w, MESSAGE_LEASE_REVOKE);
    end_lease(w, WORKER, lease.lease.lease, false);
    m = expect(w, MESSAGE_REPORT_ASK, SERVER);
    message_free(&m);
    message_free(&lease);
    world_free(w);
}

static void a_stop_of_a_worker_that_has_died_is_repaired_by_another(void **state) {
    (void)state;
    World *w = world_new(2, 2);
    static const uint64_t ALIVE[] = {SERVER, SERVER + 1, WORKER, 0};
    Message m;
    start(w);
    m = expect(w, MESSAGE_LEASE, WORKER);
    push(w, SERVER + 1, DOMAIN_A, 0); /* worker 1's, whose last words these are */
    scheduler_on_stop(w->s, w->now_ms);
    end_lease(w, WORKER, m.lease.lease, false);
    message_free(&m);
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
    World *w = world_new(1, 1);
    Message m;
    start(w);
    m = expect(w, MESSAGE_LEASE, WORKER);
    scheduler_on_stop(w->s, w->now_ms);
    end_lease(w, WORKER, m.lease.lease, false);
    message_free(&m);
    serve(w);
    expect_none(w, MESSAGE_MARK, 0);
    leave_all(w);
    assert_int_equal(w->code, ERR_STOPPED);
    world_free(w);
}

static void a_stop_in_the_cut_of_an_epoch_lets_it_end(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    w->holds_commit = true;
    start(w);
    train_epoch(w);
    serve(w);
    scheduler_on_stop(w->s, w->now_ms);
    assert_int_equal(w->n_finished, 0);
    scheduler_on_committed(w->s, OK, w->now_ms);
    leave_all(w);
    assert_int_equal(w->code, ERR_STOPPED);
    assert_string_equal(w->committed_dir, "/run/snapshots/epoch-0001");
    assert_non_null(strstr(w->sentence, "/run/snapshots/epoch-0001"));
    world_free(w);
}

static void a_stop_in_the_evaluation_ends_the_run(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    start(w);
    train_epoch(w);
    serve(w);
    Message m = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(m.lease.kind, LEASE_EVALUATION);
    message_free(&m);
    scheduler_on_stop(w->s, w->now_ms);
    leave_all(w);
    assert_int_equal(w->code, ERR_STOPPED);
    assert_int_equal(w->n_commits, 1);
    world_free(w);
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
    World *w = world_new(1, 1);
    start(w);
    push(w, SERVER, DOMAIN_A, 0);
    scheduler_on_stop(w->s, w->now_ms);
    expect_none(w, MESSAGE_FINISH, 0);
    scheduler_on_stop(w->s, w->now_ms);
    Message m = expect(w, MESSAGE_FINISH, WORKER);
    message_free(&m);
    leave_all(w);
    assert_int_equal(w->code, ERR_STOPPED);
    assert_int_equal(w->n_commits, 0);
    world_free(w);
}

static void stop_asked_by_message_is_a_stop_however_often_it_is_heard(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    Message m;
    start(w);
    for (int i = 0; i < 2; i++) {
        message_init(&m, MESSAGE_STOP_ASK);
        say(w, CONTROL, &m);
        m = expect(w, MESSAGE_STATUS, CONTROL);
        message_free(&m);
    }
    m = expect(w, MESSAGE_LEASE_REVOKE, WORKER);
    message_free(&m);
    expect_none(w, MESSAGE_FINISH, 0);
    world_free(w);
}

/* ---- the end ---------------------------------------------------------------------------------------------------- */

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
    pass_ms(w, 2000, ALL);
    assert_int_equal(w->n_finished, 0);
    pass_ms(w, 2000, ALL);
    assert_int_equal(w->n_finished, 1);
    assert_int_equal(w->code, OK);
    world_free(w);
}

static void the_end_waits_for_an_effect_that_is_under_way(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    w->holds_commit = true;
    start(w);
    train_epoch(w);
    serve(w);
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

static void progress_tells_steps_and_loss_while_training(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    start(w);
    Message lease = expect(w, MESSAGE_LEASE, WORKER);
    work(w, WORKER, &lease);
    message_free(&lease);
    pass_ms(w, 2500, ALL);
    serve(w);
    pass_ms(w, 1100, ALL);
    assert_string_equal(w->progress.phase, "training");
    assert_int_equal(w->progress.steps_done, 6);
    assert_int_equal(w->progress.steps_total, STEPS_A + STEPS_B);
    assert_true(w->progress.loss[DOMAIN_A] == 2 && w->progress.loss[DOMAIN_B] == 4);
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_are_leased_in_the_epochs_order_each_once),
        cmocka_unit_test(a_worker_without_work_is_answered_when_there_is_some),
        cmocka_unit_test(no_lease_is_granted_before_every_server_has_opened_the_epoch),
        cmocka_unit_test(a_server_that_is_still_in_another_epoch_is_asked_again),
        cmocka_unit_test(a_server_that_never_opens_the_epoch_ends_the_run),
        cmocka_unit_test(a_dead_workers_chunk_goes_to_another),
        cmocka_unit_test(a_worker_that_is_heard_again_takes_part_again),
        cmocka_unit_test(a_lease_without_progress_expires_and_one_with_progress_does_not),
        cmocka_unit_test(a_lease_that_was_lost_is_sent_again_when_asked),
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
        cmocka_unit_test(a_stop_leases_only_steps_that_some_servers_have_and_others_lack),
        cmocka_unit_test(a_question_that_crossed_its_lease_does_not_free_it),
        cmocka_unit_test(a_stop_of_a_worker_that_has_died_is_repaired_by_another),
        cmocka_unit_test(a_stop_before_anything_was_trained_writes_nothing),
        cmocka_unit_test(a_stop_in_the_cut_of_an_epoch_lets_it_end),
        cmocka_unit_test(a_stop_in_the_evaluation_ends_the_run),
        cmocka_unit_test(a_stop_while_joining_ends_the_run),
        cmocka_unit_test(a_second_stop_ends_at_once),
        cmocka_unit_test(stop_asked_by_message_is_a_stop_however_often_it_is_heard),
        cmocka_unit_test(the_end_waits_for_everybody_to_leave_but_not_for_ever),
        cmocka_unit_test(the_end_waits_for_an_effect_that_is_under_way),
        cmocka_unit_test(progress_tells_steps_and_loss_while_training),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
