/* The scheduler in sync: how ranks are dealt, and dealt again. */
/* link: mg_server */
#include "tests/unit/scheduler_fixture.h"

enum { RANKS = 4 };

static World *sync_world(int n_servers, int n_workers) {
    World *w = world_new(n_servers, n_workers);
    w->config.train.consistency = CONSISTENCY_SYNC;
    w->config.train.ranks = RANKS;
    w->config.train.batch = BATCH;
    return w;
}

/* The epoch's steps: 4 ranks of 5 make one step of A and one of B a chunk. */
enum { STEPS = 2 * N_CHUNKS };

/* Ranks of the lease, marked in seen. */
static uint32_t take_ranks(Message *lease, bool seen[RANKS]) {
    uint32_t n = (uint32_t)(lease->frames[0].size_bytes / sizeof(uint32_t));
    assert_int_equal(lease->lease.kind, LEASE_RANKS);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t rank = ((const uint32_t *)lease->frames[0].data)[i];
        assert_in_range(rank, 0, RANKS - 1);
        assert_false(seen[rank]);
        seen[rank] = true;
    }
    return n;
}

static void report(World *w, uint64_t peer, uint32_t n_a, uint32_t n_b, const Message *ask) {
    Message m;
    message_init(&m, MESSAGE_REPORT);
    m.sequence = ask->sequence;
    m.report = (MessageREPORT){.epoch = 1, .map = 1, .t_a = n_a, .t_b = n_b};
    *(uint8_t *)message_add_frame(&m, 1) = (uint8_t)((1u << n_a) - 1);
    *(uint8_t *)message_add_frame(&m, 1) = (uint8_t)((1u << n_b) - 1);
    message_add_frame(&m, 0);
    message_add_frame(&m, 0);
    say(w, peer, &m);
}

/* The server is asked, and says how many steps it has applied. */
static void answer(World *w, uint64_t peer, uint32_t n_a, uint32_t n_b) {
    Message ask_it = expect(w, MESSAGE_REPORT_ASK, peer);
    report(w, peer, n_a, n_b, &ask_it);
    message_free(&ask_it);
}

static void ranks_are_dealt_evenly_whatever_the_number_of_workers(void **state) {
    (void)state;
    for (int n_workers = 1; n_workers <= 6; n_workers++) {
        World *w = sync_world(1, n_workers);
        bool seen[RANKS] = {false};
        uint32_t total = 0;
        start(w);
        for (int i = 0; i < n_workers && i < RANKS; i++) {
            Message lease = expect(w, MESSAGE_LEASE, 0);
            uint32_t n = take_ranks(&lease, seen);
            assert_int_equal(lease.lease.order, 0);
            assert_in_range(n, RANKS / n_workers, (RANKS + n_workers - 1) / n_workers);
            total += n;
            message_free(&lease);
        }
        assert_int_equal(total, RANKS);
        expect_none(w, MESSAGE_LEASE, 0);
        expect_none(w, MESSAGE_LEASE_REVOKE, 0); /* those without ranks wait */
        world_free(w);
    }
}

static void the_first_deal_waits_a_moment_for_workers_that_have_not_asked(void **state) {
    (void)state;
    World *w = sync_world(1, 2);
    static const uint64_t ALIVE[] = {SERVER, WORKER, WORKER + 1, 0};
    w->config.cluster.workers = 1;
    start(w);
    expect_none(w, MESSAGE_LEASE_REVOKE, 0);
    forget(w, MESSAGE_LEASE);
    world_free(w);

    w = sync_world(1, 2);
    world_open(w);
    join(w, SERVER, ROLE_SERVER);
    join(w, WORKER, ROLE_WORKER);
    join(w, WORKER + 1, ROLE_WORKER);
    serve(w);
    ask(w, WORKER);
    expect_none(w, MESSAGE_LEASE, 0);
    pass_ms(w, 1200, ALIVE);
    Message lease = expect(w, MESSAGE_LEASE, WORKER);
    bool seen[RANKS] = {false};
    assert_int_equal(take_ranks(&lease, seen), RANKS);
    message_free(&lease);
    world_free(w);
}

static void a_dead_workers_ranks_are_dealt_anew_from_the_step_all_servers_have_reached(void **state) {
    (void)state;
    World *w = sync_world(2, 2);
    static const uint64_t ALIVE[] = {SERVER, SERVER + 1, WORKER, 0};
    bool seen[RANKS] = {false};
    start(w);
    Message mine = expect(w, MESSAGE_LEASE, WORKER), m;
    forget(w, MESSAGE_LEASE);
    w->servers[0].is_mute = w->servers[1].is_mute = true;
    pass_ms(w, (uint64_t)w->config.cluster.dead_ms + 200, ALIVE);
    m = expect(w, MESSAGE_LEASE_REVOKE, WORKER);
    assert_int_equal(m.lease_revoke.lease, mine.lease.lease);
    message_free(&m);
    forget(w, MESSAGE_REPORT_ASK); /* those for the progress line */
    end_lease(w, WORKER, mine.lease.lease, false);
    ask(w, WORKER);
    answer(w, SERVER, 2, 1); /* the dead worker's push has reached this server and not the next */
    expect_none(w, MESSAGE_LEASE, 0);
    answer(w, SERVER + 1, 1, 1);
    m = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(m.lease.order, 2);
    assert_int_equal(take_ranks(&m, seen), RANKS);
    message_free(&m);
    message_free(&mine);
    world_free(w);
}

static void a_worker_that_comes_later_gets_its_share(void **state) {
    (void)state;
    World *w = sync_world(1, 1);
    bool seen[RANKS] = {false};
    start(w);
    Message all = expect(w, MESSAGE_LEASE, WORKER), m;
    w->servers[0].is_mute = true;
    join(w, WORKER + 1, ROLE_WORKER);
    ask(w, WORKER + 1);
    expect_sent(w, MESSAGE_LEASE_REVOKE, WORKER);
    end_lease(w, WORKER, all.lease.lease, false);
    ask(w, WORKER);
    answer(w, SERVER, 3, 2);
    for (uint64_t i = 0; i < 2; i++) {
        m = expect(w, MESSAGE_LEASE, WORKER + i);
        assert_int_equal(m.lease.order, 5);
        assert_int_equal(take_ranks(&m, seen), RANKS / 2);
        message_free(&m);
    }
    message_free(&all);
    world_free(w);
}

static void nobody_is_disturbed_once_a_rank_is_through_its_epoch(void **state) {
    (void)state;
    World *w = sync_world(1, 2);
    start(w);
    Message first = expect(w, MESSAGE_LEASE, WORKER), second = expect(w, MESSAGE_LEASE, WORKER + 1);
    end_lease(w, WORKER, first.lease.lease, true);
    ask(w, WORKER);
    expect_none(w, MESSAGE_LEASE_REVOKE, 0);
    expect_none(w, MESSAGE_LEASE, 0);
    end_lease(w, WORKER + 1, second.lease.lease, true);
    Message m = expect(w, MESSAGE_REPORT_ASK, SERVER); /* all ranks are through: the cut */
    message_free(&m);
    message_free(&first);
    message_free(&second);
    world_free(w);
}

static void done_proves_nothing_in_sync_either(void **state) {
    (void)state;
    World *w = sync_world(1, 1);
    start(w);
    Message lease = expect(w, MESSAGE_LEASE, WORKER), m;
    w->servers[0].is_mute = true;
    end_lease(w, WORKER, lease.lease.lease, true);
    ask(w, WORKER);
    answer(w, SERVER, N_CHUNKS, N_CHUNKS - 1);
    expect_none(w, MESSAGE_MARK, 0);
    m = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(m.lease.order, STEPS - 1);
    message_free(&m);
    message_free(&lease);
    world_free(w);
}

static void a_deal_that_finds_the_epoch_full_ends_it(void **state) {
    (void)state;
    World *w = sync_world(1, 1);
    start(w);
    Message lease = expect(w, MESSAGE_LEASE, WORKER), m;
    w->servers[0].is_mute = true;
    end_lease(w, WORKER, lease.lease.lease, false); /* met RETRY after the last step */
    ask(w, WORKER);
    answer(w, SERVER, N_CHUNKS, N_CHUNKS);
    m = expect(w, MESSAGE_MARK, SERVER);
    assert_string_equal(m.mark.dir, "/run/snapshots/epoch-0001");
    message_free(&m);
    message_free(&lease);
    world_free(w);
}

static void a_stop_repairs_the_one_step_that_servers_differ_by(void **state) {
    (void)state;
    World *w = sync_world(2, 1);
    start(w);
    Message lease = expect(w, MESSAGE_LEASE, WORKER), m;
    w->servers[0].is_mute = w->servers[1].is_mute = true;
    scheduler_on_stop(w->s, w->now_ms);
    end_lease(w, WORKER, lease.lease.lease, false);
    ask(w, WORKER);
    answer(w, SERVER, 1, 1);
    answer(w, SERVER + 1, 1, 0);
    m = expect(w, MESSAGE_LEASE, WORKER);
    assert_int_equal(m.lease.kind, LEASE_STEPS);
    assert_int_equal(m.frames[0].size_bytes, 8);
    assert_int_equal(((const uint32_t *)m.frames[0].data)[0], DOMAIN_B);
    assert_int_equal(((const uint32_t *)m.frames[0].data)[1], 0);
    end_lease(w, WORKER, m.lease.lease, true);
    answer(w, SERVER, 1, 1);
    answer(w, SERVER + 1, 1, 1);
    message_free(&m);
    m = expect(w, MESSAGE_MARK, SERVER + 1);
    assert_string_equal(m.mark.dir, "/run/snapshots/epoch-0001-step-000002");
    message_free(&m);
    message_free(&lease);
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_are_dealt_evenly_whatever_the_number_of_workers),
        cmocka_unit_test(the_first_deal_waits_a_moment_for_workers_that_have_not_asked),
        cmocka_unit_test(a_dead_workers_ranks_are_dealt_anew_from_the_step_all_servers_have_reached),
        cmocka_unit_test(a_worker_that_comes_later_gets_its_share),
        cmocka_unit_test(nobody_is_disturbed_once_a_rank_is_through_its_epoch),
        cmocka_unit_test(done_proves_nothing_in_sync_either),
        cmocka_unit_test(a_deal_that_finds_the_epoch_full_ends_it),
        cmocka_unit_test(a_stop_repairs_the_one_step_that_servers_differ_by),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
