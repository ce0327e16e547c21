/* The scheduler in async: whom it gives which lease, and what it tells of the work. */
/* link: mg_server */
#include "tests/unit/scheduler_fixture.h"

#include "common/work.h"

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
        while (w->n_results < (int)epoch)
            work_next(w, WORKER);
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
    w->servers[1].is_mute = true;
    start(w);
    expect_none(w, MESSAGE_LEASE, 0);
    w->servers[1].is_mute = false;
    pass_ms(w, 1500, EVERYBODY); /* until the question is repeated */
    serve(w);
    expect_sent(w, MESSAGE_LEASE, WORKER);
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
    expect_sent(w, MESSAGE_EPOCH_OPEN, SERVER);
    world_free(w);
}

static void a_server_that_never_opens_the_epoch_ends_the_run(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    w->servers[1].is_mute = true;
    start(w);
    pass_ms(w, 61 * 1000, EVERYBODY);
    expect_finish(w, WORKER, ERR_TIMEOUT, "server-1");
    world_free(w);
}

static void a_dead_workers_chunk_goes_to_another(void **state) {
    (void)state;
    World *w = world_started(1, 2);
    static const uint64_t ALIVE[] = {SERVER, WORKER, 0};
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
    World *w = world_started(1, 2);
    static const uint64_t ALIVE[] = {SERVER, WORKER, 0};
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
    World *w = world_started(1, 2);
    Message slow, stuck, m;
    static const uint64_t SERVERS[] = {SERVER, 0};
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
    World *w = world_started(1, 1);
    Message lost = expect(w, MESSAGE_LEASE, WORKER);
    ask(w, WORKER);
    Message again = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(again.lease.lease, lost.lease.lease);
    assert_int_equal(again.lease.chunk, lost.lease.chunk);
    message_free(&lost);
    message_free(&again);
    world_free(w);
}

static void progress_tells_steps_and_loss_while_training(void **state) {
    (void)state;
    World *w = world_started(2, 1);
    work_next(w, WORKER);
    pass_ms(w, 2500, EVERYBODY);
    serve(w);
    pass_ms(w, 1100, EVERYBODY);
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
        cmocka_unit_test(progress_tells_steps_and_loss_while_training),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
