/* The scheduler: who takes part. Joining, refusals, silence, leaving, deadlines. */
/* link: mg_server */
#include "tests/unit/scheduler_fixture.h"

#include <jansson.h>

/* The REFUSE to this peer holds the words. */
static void expect_refusal(World *w, uint64_t peer, Err code, const char *words, const char *more_words) {
    Message m = expect(w, MESSAGE_REFUSE, peer);
    assert_int_equal((int)m.refuse.code, -code);
    if (!strstr(m.refuse.text, words) || !strstr(m.refuse.text, more_words))
        fail_msg("\"%s\" does not hold \"%s\" and \"%s\"", m.refuse.text, words, more_words);
    message_free(&m);
}

static void roles_may_come_in_any_order(void **state) {
    (void)state;
    static const uint64_t ORDERS[][4] = {{SERVER, SERVER + 1, WORKER, WORKER + 1},
                                         {WORKER, SERVER, WORKER + 1, SERVER + 1},
                                         {WORKER, WORKER + 1, SERVER + 1, SERVER},
                                         {SERVER + 1, WORKER + 1, SERVER, WORKER}};
    for (size_t o = 0; o < sizeof ORDERS / sizeof *ORDERS; o++) {
        World *w = world_new(2, 2);
        Message m;
        world_open(w);
        for (int i = 0; i < 4; i++) {
            expect_none(w, MESSAGE_VIEW, 0);
            join(w, ORDERS[o][i], ORDERS[o][i] < WORKER ? ROLE_SERVER : ROLE_WORKER);
            m = expect(w, MESSAGE_WELCOME, ORDERS[o][i]);
            assert_int_equal(m.welcome.config, config_fingerprint(&w->config));
            message_free(&m);
        }
        for (uint64_t i = 0; i < 2; i++) {
            expect_none(w, MESSAGE_VIEW, WORKER); /* before both servers are ready */
            m = expect(w, MESSAGE_VIEW, SERVER + i);
            assert_int_equal(m.view.n_servers, 2);
            assert_int_equal(m.view.restore, RESTORE_NONE);
            say_ready(w, SERVER + i, m.view.map);
            message_free(&m);
        }
        expect_sent(w, MESSAGE_VIEW, WORKER);
        expect_sent(w, MESSAGE_VIEW, WORKER + 1);
        world_free(w);
    }
}

static void a_view_deals_the_slots_evenly_and_names_servers_by_rank(void **state) {
    (void)state;
    World *w = world_new(3, 1);
    uint32_t n_slots[3] = {0};
    char want[256] = "", manifest[TOY_MANIFEST_BYTES];
    world_open(w);
    for (uint64_t i = 3; i-- > 0;)
        join(w, SERVER + i, ROLE_SERVER);
    for (uint64_t rank = 0; rank < 3; rank++)
        snprintf(want + strlen(want), sizeof want - strlen(want), "tcp://10.0.0.1:%d\n", (int)(SERVER + 2 - rank));
    join(w, WORKER, ROLE_WORKER);
    Message m = expect(w, MESSAGE_VIEW, SERVER + 1);
    assert_int_equal(m.frames[0].size_bytes, N_SLOTS * sizeof(uint16_t));
    for (int slot = 0; slot < N_SLOTS; slot++)
        n_slots[((const uint16_t *)m.frames[0].data)[slot]]++;
    for (int i = 0; i < 3; i++)
        assert_in_range(n_slots[i], N_SLOTS / 3, N_SLOTS / 3 + 1);
    assert_int_equal(m.frames[1].size_bytes, strlen(want));
    assert_memory_equal(m.frames[1].data, want, strlen(want));
    assert_int_equal(m.frames[2].size_bytes, toy_manifest(manifest, N_CHUNKS, COUNTS));
    message_free(&m);
    world_free(w);
}

static void hello_heard_twice_is_answered_twice_alike(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    world_open(w);
    for (int i = 0; i < 2; i++) {
        join(w, SERVER, ROLE_SERVER);
        join(w, WORKER, ROLE_WORKER);
    }
    Message first = expect(w, MESSAGE_WELCOME, SERVER), again = expect(w, MESSAGE_WELCOME, SERVER);
    assert_int_equal(first.welcome.id, again.welcome.id);
    assert_int_equal(first.welcome.rank, again.welcome.rank);
    expect_none(w, MESSAGE_VIEW, 0); /* the second server is still missing */
    message_free(&first);
    message_free(&again);
    world_free(w);
}

static void what_does_not_fit_is_refused_and_both_are_named(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    Message m;
    world_open(w);
    hello(w, WORKER, ROLE_WORKER, &m);
    snprintf(m.hello.version, sizeof m.hello.version, "9.9.9");
    say(w, WORKER, &m);
    expect_refusal(w, WORKER, ERR_PEER, "9.9.9", MANGROVE_VERSION);

    hello(w, WORKER, ROLE_WORKER, &m);
    m.hello.config = 0x1234;
    say(w, WORKER, &m);
    expect_refusal(w, WORKER, ERR_PEER, "0000000000001234", "configuration");

    hello(w, WORKER, ROLE_WORKER, &m);
    m.hello.data = 0xcd; /* its manifest says ab */
    say(w, WORKER, &m);
    expect_refusal(w, WORKER, ERR_PROTOCOL, "00000000000000ab", "00000000000000cd");

    join(w, WORKER, ROLE_WORKER);
    hello(w, WORKER + 1, ROLE_WORKER, &m);
    m.hello.data = 0xcd;
    say(w, WORKER + 1, &m);
    expect_refusal(w, WORKER + 1, ERR_DATA, "00000000000000ab", "00000000000000cd");

    join(w, SERVER, ROLE_SERVER);
    join(w, SERVER + 1, ROLE_SERVER);
    expect_refusal(w, SERVER + 1, ERR_PEER, "1 servers", "cluster.servers");

    hello(w, SERVER + 2, ROLE_SERVER, &m);
    m.hello.endpoint[0] = 0;
    say(w, SERVER + 2, &m);
    expect_refusal(w, SERVER + 2, ERR_PROTOCOL, "endpoint", "");

    hello(w, CONTROL, ROLE_CONTROL, &m);
    say(w, CONTROL, &m);
    expect_refusal(w, CONTROL, ERR_PROTOCOL, "role", "");
    world_free(w);
}

static void a_worker_with_a_broken_manifest_is_refused_and_the_next_one_is_not(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    Message m;
    world_open(w);
    message_init(&m, MESSAGE_HELLO);
    m.hello.role = ROLE_WORKER;
    snprintf(m.hello.version, sizeof m.hello.version, "%s", MANGROVE_VERSION);
    message_add_bytes(&m, "{\"format\":", 10);
    say(w, WORKER, &m);
    expect_refusal(w, WORKER, ERR_DATA, "manifest", "");
    join(w, WORKER + 1, ROLE_WORKER);
    expect_sent(w, MESSAGE_WELCOME, WORKER + 1);
    world_free(w);
}

static void waiting_for_roles_ends_and_says_for_whom(void **state) {
    (void)state;
    World *w = world_new(2, 3);
    static const uint64_t ALIVE[] = {SERVER, WORKER, 0};
    world_open(w);
    join(w, SERVER, ROLE_SERVER);
    join(w, WORKER, ROLE_WORKER);
    pass_ms(w, (uint64_t)w->config.cluster.join_s * 1000 - 200, ALIVE);
    expect_none(w, MESSAGE_FINISH, 0);
    pass_ms(w, 300, ALIVE);
    expect_finish(w, SERVER, ERR_TIMEOUT, "1 of 2 servers and 1 of 3 workers");
    pass_ms(w, 4000, ALIVE);
    assert_int_equal(w->code, ERR_TIMEOUT);
    world_free(w);
}

static void a_server_started_again_before_the_view_takes_its_old_place(void **state) {
    (void)state;
    World *w = world_new(2, 1);
    Message m;
    world_open(w);
    join(w, SERVER, ROLE_SERVER);
    forget(w, MESSAGE_WELCOME);
    hello(w, SERVER, ROLE_SERVER, &m); /* the endpoint of SERVER, from another incarnation */
    say(w, SERVER + 3, &m);
    m = expect(w, MESSAGE_WELCOME, SERVER + 3);
    assert_int_equal(m.welcome.rank, 0);
    message_free(&m);
    join(w, SERVER + 1, ROLE_SERVER);
    m = expect(w, MESSAGE_WELCOME, SERVER + 1);
    assert_int_equal(m.welcome.rank, 1);
    message_free(&m);
    world_free(w);
}

static void a_server_that_dies_before_the_view_is_replaced(void **state) {
    (void)state;
    World *w = world_new(1, 1);
    static const uint64_t ALIVE[] = {WORKER, 0};
    world_open(w);
    join(w, SERVER, ROLE_SERVER);
    forget(w, MESSAGE_WELCOME);
    pass_ms(w, (uint64_t)w->config.cluster.dead_ms + 200, NULL);
    join(w, WORKER, ROLE_WORKER);
    expect_none(w, MESSAGE_VIEW, 0);
    join(w, SERVER + 1, ROLE_SERVER);
    Message m = expect(w, MESSAGE_WELCOME, SERVER + 1);
    assert_int_equal(m.welcome.rank, 0);
    message_free(&m);
    expect_sent(w, MESSAGE_VIEW, SERVER + 1);
    assert_int_equal(w->n_finished, 0);
    pass_ms(w, 100, ALIVE);
    world_free(w);
}

static void a_worker_that_comes_later_is_shown_the_view_at_once(void **state) {
    (void)state;
    World *w = world_started(1, 1);
    join(w, WORKER + 1, ROLE_WORKER);
    expect_sent(w, MESSAGE_VIEW, WORKER + 1);
    ask(w, WORKER + 1);
    expect_sent(w, MESSAGE_LEASE, WORKER + 1);
    world_free(w);
}

static void a_process_of_another_run_is_told_so(void **state) {
    (void)state;
    World *w = world_started(1, 1);
    Message m;
    message_init(&m, MESSAGE_HEARTBEAT);
    m.job = 4711;
    say(w, WORKER, &m);
    expect_refusal(w, WORKER, ERR_PEER, "another run", "");
    ask(w, WORKER + 3);
    expect_refusal(w, WORKER + 3, ERR_PEER, "another run", "");
    world_free(w);
}

static void a_message_that_is_not_for_the_scheduler_drops_its_sender(void **state) {
    (void)state;
    World *w = world_started(1, 2);
    Message m, lease;
    lease = expect(w, MESSAGE_LEASE, WORKER);
    message_init(&m, MESSAGE_MARKED); /* from a worker */
    say(w, WORKER, &m);
    expect_refusal(w, WORKER, ERR_PROTOCOL, "MARKED", "worker-0");
    ask(w, WORKER); /* not heard any more */
    expect_none(w, MESSAGE_LEASE, WORKER);
    world_free(w);
    message_free(&lease);
}

static void a_dead_server_ends_the_run_and_is_named(void **state) {
    (void)state;
    World *w = world_started(2, 1);
    static const uint64_t ALIVE[] = {SERVER, WORKER, 0};
    pass_ms(w, (uint64_t)w->config.cluster.dead_ms + 200, ALIVE);
    Message m = expect(w, MESSAGE_FINISH, WORKER);
    assert_int_equal((int)m.finish.code, -ERR_PEER);
    assert_non_null(strstr(m.finish.text, "server-1"));
    assert_non_null(strstr(m.finish.text, "tcp://10.0.0.1:101"));
    message_free(&m);
    world_free(w);
}

static void a_server_that_leaves_ends_the_run_with_its_own_words(void **state) {
    (void)state;
    World *w = world_started(1, 1);
    Message m;
    message_init(&m, MESSAGE_BYE);
    m.bye.code = (uint64_t)-ERR_CONFIG;
    snprintf(m.bye.text, sizeof m.bye.text, "no such optimizer");
    say(w, SERVER, &m);
    expect_finish(w, WORKER, ERR_CONFIG, "no such optimizer");
    world_free(w);
}

static void a_run_without_workers_waits_for_another_and_then_ends(void **state) {
    (void)state;
    World *w = world_started(1, 1);
    static const uint64_t ALIVE[] = {SERVER, 0};
    Message m;
    message_init(&m, MESSAGE_BYE);
    snprintf(m.bye.text, sizeof m.bye.text, "the disk is gone");
    say(w, WORKER, &m);
    pass_ms(w, (uint64_t)w->config.cluster.join_s * 1000 - 200, ALIVE);
    expect_none(w, MESSAGE_FINISH, 0);
    pass_ms(w, 500, ALIVE);
    serve(w);
    expect_finish(w, SERVER, ERR_PEER, "the disk is gone"); /* the first cause */
    assert_int_equal(w->n_commits, 0);                      /* nothing was trained */
    world_free(w);
}

static void another_worker_in_time_saves_the_run(void **state) {
    (void)state;
    World *w = world_started(1, 1);
    static const uint64_t SERVERS[] = {SERVER, 0}, ALL[] = {SERVER, WORKER + 1, 0};
    pass_ms(w, (uint64_t)w->config.cluster.join_s * 1000 / 2, SERVERS); /* the worker dies in between */
    forget(w, MESSAGE_LEASE);
    join(w, WORKER + 1, ROLE_WORKER);
    ask(w, WORKER + 1);
    expect_sent(w, MESSAGE_LEASE, WORKER + 1);
    pass_ms(w, (uint64_t)w->config.cluster.lease_s * 1000 / 2, ALL);
    expect_none(w, MESSAGE_FINISH, 0);
    world_free(w);
}

static void a_scheduler_that_stood_still_blames_nobody(void **state) {
    (void)state;
    World *w = world_started(1, 1);
    w->now_ms += 3600 * 1000;
    scheduler_on_tick(w->s, w->now_ms);
    assert_int_equal(w->n_finished, 0);
    expect_none(w, MESSAGE_FINISH, 0);
    world_free(w);
}

static void everybody_hears_heartbeats(void **state) {
    (void)state;
    World *w = world_started(1, 1);
    static const uint64_t ALIVE[] = {SERVER, WORKER, 0};
    pass_ms(w, (uint64_t)w->config.cluster.heartbeat_ms * 4, ALIVE);
    for (int i = 0; i < 3; i++) {
        expect_sent(w, MESSAGE_HEARTBEAT, SERVER);
        expect_sent(w, MESSAGE_HEARTBEAT, WORKER);
    }
    world_free(w);
}

static void status_is_answered_without_hello(void **state) {
    (void)state;
    World *w = world_started(1, 2);
    Message m;
    message_init(&m, MESSAGE_STATUS_ASK);
    m.sequence = 5;
    say(w, CONTROL, &m);
    m = expect(w, MESSAGE_STATUS, CONTROL);
    assert_int_equal(m.sequence, 5);
    size_t size;
    const char *text = message_bytes(&m, 0, m.n_frames, &size);
    json_t *status = json_loadb(text, size, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(status, "phase")), "training");
    assert_int_equal(json_array_size(json_object_get(status, "members")), 3);
    assert_int_equal(json_integer_value(json_object_get(status, "steps_total")), STEPS_A + STEPS_B);
    json_decref(status);
    message_free(&m);
    world_free(w);
}

static void a_peer_that_the_link_dropped_takes_no_part_any_more(void **state) {
    (void)state;
    World *w = world_started(1, 2);
    forget(w, MESSAGE_LEASE);
    scheduler_on_fault(w->s, WORKER, "its bytes are no message", w->now_ms);
    ask(w, WORKER + 1); /* has a lease already: gets the same */
    forget(w, MESSAGE_LEASE);
    ask(w, WORKER);
    expect_none(w, MESSAGE_LEASE, WORKER);
    scheduler_on_fault(w->s, SERVER, "its bytes are no message", w->now_ms);
    Message m = expect(w, MESSAGE_FINISH, WORKER + 1);
    assert_non_null(strstr(m.finish.text, "server-0"));
    message_free(&m);
    world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roles_may_come_in_any_order),
        cmocka_unit_test(a_view_deals_the_slots_evenly_and_names_servers_by_rank),
        cmocka_unit_test(hello_heard_twice_is_answered_twice_alike),
        cmocka_unit_test(what_does_not_fit_is_refused_and_both_are_named),
        cmocka_unit_test(a_worker_with_a_broken_manifest_is_refused_and_the_next_one_is_not),
        cmocka_unit_test(waiting_for_roles_ends_and_says_for_whom),
        cmocka_unit_test(a_server_started_again_before_the_view_takes_its_old_place),
        cmocka_unit_test(a_server_that_dies_before_the_view_is_replaced),
        cmocka_unit_test(a_worker_that_comes_later_is_shown_the_view_at_once),
        cmocka_unit_test(a_process_of_another_run_is_told_so),
        cmocka_unit_test(a_message_that_is_not_for_the_scheduler_drops_its_sender),
        cmocka_unit_test(a_dead_server_ends_the_run_and_is_named),
        cmocka_unit_test(a_server_that_leaves_ends_the_run_with_its_own_words),
        cmocka_unit_test(a_run_without_workers_waits_for_another_and_then_ends),
        cmocka_unit_test(another_worker_in_time_saves_the_run),
        cmocka_unit_test(a_scheduler_that_stood_still_blames_nobody),
        cmocka_unit_test(everybody_hears_heartbeats),
        cmocka_unit_test(status_is_answered_without_hello),
        cmocka_unit_test(a_peer_that_the_link_dropped_takes_no_part_any_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
