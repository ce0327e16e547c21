/* The remote client when servers are silent, refuse, answer nonsense or are replaced.
 * link: mg_worker */
#include "tests/unit/remote_fixture.h"

static void a_silent_server_ends_the_client_after_its_deadline(void **state) {
    (void)state;
    Fixture f;
    open_connected(&f, 2, CREDIT, 16);
    f.now_ms += 10 * SILENT_MS; /* silence without a question is not silence */
    remote_on_tick(f.remote, f.now_ms);
    expect_failure(&f, OK, "");
    Exchange x = exchange_of(&f, &f.keys[3], 1);
    Message m[2];
    remote_pull(f.remote, &x);
    expect_message(&f, 0, MESSAGE_PULL, &m[0]);
    expect_message(&f, 1, MESSAGE_PULL, &m[1]);
    reply_values(&f, 0, &m[0], STATUS_OK, true);
    f.now_ms += SILENT_MS;
    remote_on_tick(f.remote, f.now_ms);
    expect_failure(&f, OK, "");
    f.now_ms += 1;
    remote_on_tick(f.remote, f.now_ms);
    expect_failure(&f, ERR_PEER, "server 1 at tcp://10.0.0.1:7001 has been silent");
    expect_pull_end(&f, ERR_PEER);
    message_free(&m[1]);
    close_remote(&f, &x);
}

static void values_of_another_wire_end_the_client(void **state) {
    (void)state;
    for (int wire = WIRE_FP32; wire <= WIRE_BF16; wire++) {
        Fixture f;
        open_remote_wire(&f, 1, false, (Wire)wire);
        connect_all(&f, CREDIT, 16);
        Exchange x = exchange_of(&f, &f.keys[3], 1);
        Message m;
        remote_pull(f.remote, &x);
        expect_message(&f, 0, MESSAGE_PULL, &m);
        assert_int_equal(m.pull.wire, wire);
        m.pull.wire = !wire;
        reply_values(&f, 0, &m, STATUS_OK, true);
        expect_failure(&f, ERR_PROTOCOL,
                       wire ? "it answers fp32 where bf16 was asked" : "it answers bf16 where fp32 was asked");
        close_remote(&f, &x);
    }
}

static void a_sync_pull_may_wait_for_other_workers_but_not_for_ever(void **state) {
    (void)state;
    Fixture f;
    open_remote(&f, 1, true);
    connect_all(&f, CREDIT, 16);
    Exchange x = exchange_of(&f, &f.keys[3], 1);
    Message m;
    remote_pull(f.remote, &x);
    expect_message(&f, 0, MESSAGE_PULL, &m);
    f.now_ms += REQUEST_MS;
    remote_on_tick(f.remote, f.now_ms);
    expect_failure(&f, OK, "");
    f.now_ms += 1;
    remote_on_tick(f.remote, f.now_ms);
    expect_failure(&f, ERR_PEER, "has not answered");
    message_free(&m);
    close_remote(&f, &x);
}

static void a_server_that_never_welcomes_is_named(void **state) {
    (void)state;
    Fixture f;
    open_remote(&f, 2, false);
    uint32_t server;
    int n_hellos = 0;
    for (; f.now_ms < SILENT_MS; f.now_ms += 100) {
        for (Message m; remote_next(f.remote, &server, &m, f.now_ms); n_hellos++)
            message_free(&m);
        if (f.now_ms == 0)
            welcome(&f, 0, CREDIT, 16);
        remote_on_tick(f.remote, f.now_ms);
    }
    assert_int_equal(n_hellos, 1 + 3); /* the second server is greeted again each second */
    assert_false(remote_is_connected(f.remote));
    remote_on_tick(f.remote, f.now_ms + 1);
    expect_failure(&f, ERR_PEER, "server 1");
    remote_close(&f.remote);
}

static void answers_that_nobody_asked_for_end_the_client(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        Fixture f;
        open_connected(&f, 1, CREDIT, 16);
        Exchange x = exchange_of(&f, &f.keys[3], 1);
        Message pull, m;
        remote_pull(f.remote, &x);
        expect_message(&f, 0, MESSAGE_PULL, &pull);
        static const MessageType TYPES[] = {MESSAGE_VALUES, MESSAGE_PUSHED, MESSAGE_VALUES, MESSAGE_LEASE};
        message_init(&m, TYPES[i]);
        m.sequence = i == 0 ? pull.sequence + 1 : pull.sequence; /* 2: the right one, with too few values */
        remote_on_message(f.remote, 0, &m, f.now_ms);
        expect_failure(&f, ERR_PROTOCOL, "server 0");
        message_free(&m);
        message_free(&pull);
        close_remote(&f, &x);
    }
}

static void a_refusal_ends_the_client_with_its_code_and_sentence(void **state) {
    (void)state;
    Fixture f;
    Message m;
    open_remote(&f, 1, false);
    message_init(&m, MESSAGE_REFUSE);
    m.refuse.code = (uint64_t)-ERR_DATA;
    strcpy(m.refuse.text, "another data set");
    remote_on_message(f.remote, 0, &m, f.now_ms);
    expect_failure(&f, ERR_DATA, "another data set");
    remote_close(&f.remote);
}

static void a_new_view_makes_what_was_under_way_stale(void **state) {
    (void)state;
    Fixture f;
    open_connected(&f, 2, CREDIT, 16);
    Exchange x = exchange_of(&f, &f.keys[3], 1);
    remote_pull(f.remote, &x);
    remote_push(f.remote, &x.work, &f.keys[3], 1, x.values);
    f.view.map = 8;
    remote_set_view(f.remote, &f.view, f.now_ms);
    expect_pull_end(&f, ERR_STALE);
    assert_true(remote_is_flushed(f.remote));
    assert_int_equal(remote_push_result(f.remote), ERR_STALE);
    connect_all(&f, CREDIT, 16);
    close_remote(&f, &x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_server_ends_the_client_after_its_deadline),
        cmocka_unit_test(values_of_another_wire_end_the_client),
        cmocka_unit_test(a_sync_pull_may_wait_for_other_workers_but_not_for_ever),
        cmocka_unit_test(a_server_that_never_welcomes_is_named),
        cmocka_unit_test(answers_that_nobody_asked_for_end_the_client),
        cmocka_unit_test(a_refusal_ends_the_client_with_its_code_and_sentence),
        cmocka_unit_test(a_new_view_makes_what_was_under_way_stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
