/* The rules of PROTOCOL.md as a server must keep them, each as a script that fails without it. */
/* link: mg_server */
#include "tests/unit/session_fixture.h"

enum { WORKER = 1001, OTHER = 1002 };

/* Reports and returns t of domain A. */
static uint64_t reported_t(Fixture *f) {
    Message m;
    message_init(&m, MESSAGE_REPORT_ASK);
    from_scheduler(f, &m);
    return only(f, PEER_SCHEDULER, MESSAGE_REPORT)->report.t_a;
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

static void hello_is_repeated_each_second_until_the_welcome(void **state) {
    (void)state;
    Fixture *f = fixture_open(0);
    const MessageHELLO *h = &only(f, PEER_SCHEDULER, MESSAGE_HELLO)->hello;
    assert_int_equal(h->role, ROLE_SERVER);
    assert_string_equal(h->endpoint, "tcp://127.0.0.1:5");
    forget_sent(f);
    for (f->now_ms = 100; f->now_ms <= 3000; f->now_ms += 100)
        session_on_tick(f->session, f->now_ms);
    assert_int_equal(f->n_sent, 3);
    Message m;
    write_welcome(f, &m);
    from_scheduler(f, &m);
    for (int i = 0; i < 10; i++)
        session_on_tick(f->session, f->now_ms += 100);
    for (int i = 0; i < f->n_sent; i++)
        assert_int_equal(f->sent[i].m.type, MESSAGE_HEARTBEAT);
    fixture_close(f);
}

static void a_scheduler_that_never_answers_ends_the_server(void **state) {
    (void)state;
    Fixture *f = fixture_open(0);
    Config defaults;
    config_defaults(&defaults);
    uint64_t join_ms = (uint64_t)defaults.cluster.join_s * 1000;
    for (; f->now_ms < join_ms - 1000; session_on_tick(f->session, f->now_ms += 1000))
        forget_sent(f);
    assert_int_equal(f->n_finished, 0);
    forget_sent(f);
    session_on_tick(f->session, f->now_ms += 1000);
    assert_int_equal(f->code, ERR_TIMEOUT);
    assert_non_null(strstr(f->sentence, "has not answered for"));
    fixture_close(f);
}

static void a_silent_scheduler_ends_the_server_but_a_pause_of_its_own_does_not(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 2, 0);
    session_on_tick(f->session, f->now_ms += 3600000); /* was stopped itself */
    assert_int_equal(f->n_finished, 0);
    Message m;
    message_init(&m, MESSAGE_HEARTBEAT);
    from_scheduler(f, &m);
    for (uint64_t end = f->now_ms + 2 * DEAD_MS - 100; f->now_ms < end;) {
        forget_sent(f);
        session_on_tick(f->session, f->now_ms += 100);
    }
    assert_int_equal(f->n_finished, 0);
    forget_sent(f);
    session_on_tick(f->session, f->now_ms += 100);
    assert_int_equal(f->code, ERR_PEER);
    assert_non_null(strstr(f->sentence, "the scheduler has been silent for"));
    only(f, PEER_SCHEDULER, MESSAGE_BYE);
    fixture_close(f);
}

static void finish_is_answered_by_bye_and_ends_with_its_code(void **state) {
    (void)state;
    static const struct {
        uint64_t wire;
        Err code;
    } CASES[] = {{0, OK}, {(uint64_t)-ERR_STOPPED, ERR_STOPPED}, {UINT64_MAX, ERR_FAILED}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        Fixture *f = fixture_serve(0, 1, 2, 0);
        Message m;
        message_init(&m, MESSAGE_FINISH);
        m.finish.code = CASES[i].wire;
        from_scheduler(f, &m);
        only(f, PEER_SCHEDULER, MESSAGE_BYE);
        assert_int_equal(f->n_finished, 1);
        assert_int_equal(f->code, CASES[i].code);
        forget_sent(f);
        session_on_tick(f->session, f->now_ms += 10 * DEAD_MS); /* deaf and dumb from now on */
        session_on_stop(f->session);
        assert_int_equal(f->n_sent, 0);
        assert_int_equal(f->n_finished, 1);
        fixture_close(f);
    }
}

static void a_signal_says_bye_and_ends_as_stopped(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 2, 0);
    forget_sent(f);
    session_on_stop(f->session);
    assert_int_equal(only(f, PEER_SCHEDULER, MESSAGE_BYE)->bye.code, -ERR_STOPPED);
    assert_int_equal(f->code, ERR_STOPPED);
    fixture_close(f);
}

static void what_ends_it_first_is_what_it_ends_with(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 2, 0);
    Message m;
    hello(f, WORKER);
    forget_sent(f);
    session_on_scheduler_fault(f->session, "the scheduler sent what is no message");
    assert_int_equal(only(f, PEER_SCHEDULER, MESSAGE_BYE)->bye.code, -ERR_PROTOCOL);
    const uint64_t key = key_of(TOY_DENSE_SHARED, 0);
    write_pull(&m, 1, 0, &key, 1);
    from_worker(f, WORKER, &m);
    assert_int_equal(f->n_sent, 0); /* it serves nobody any more */
    message_init(&m, MESSAGE_FINISH);
    from_scheduler(f, &m);
    session_on_stop(f->session);
    assert_int_equal(f->n_finished, 1);
    assert_int_equal(f->code, ERR_PROTOCOL);
    assert_string_equal(f->sentence, "the scheduler sent what is no message");
    fixture_close(f);
}

static void a_view_that_is_repeated_is_answered_and_changes_nothing(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 4, 0);
    hello(f, WORKER);
    assert_int_equal(push(f, WORKER, 1, 0, 0), STATUS_OK);
    Message m;
    write_welcome(f, &m);
    from_scheduler(f, &m);
    assert_int_equal(f->n_sent, 0);
    write_view(&m, 1, 1);
    from_scheduler(f, &m);
    only(f, PEER_SCHEDULER, MESSAGE_READY);
    assert_int_equal(push(f, WORKER, 1, 0, 0), STATUS_APPLIED);
    fixture_close(f);
}

/* ---- the rules ------------------------------------------------------------------------------------------------ */

static void rule_1_lower_epochs_are_applied_and_higher_ones_retried(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 1, 0);
    float value = -1;
    hello(f, WORKER);
    assert_int_equal(push(f, WORKER, 2, 0, 0), STATUS_RETRY);
    assert_int_equal(pull(f, WORKER, 2, 0, &value), STATUS_RETRY);
    assert_int_equal(push(f, WORKER, 1, 0, 0), STATUS_OK);
    assert_int_equal(open_epoch(f, 2, 1, 0), 2);
    assert_int_equal(push(f, WORKER, 1, 0, 0), STATUS_APPLIED); /* a zombie's */
    assert_int_equal(pull(f, WORKER, 1, 0, &value), STATUS_APPLIED);
    assert_true(value == -1); /* without values */
    assert_int_equal(pull(f, WORKER, 2, 0, &value), STATUS_OK);
    assert_true(value == -0.25F); /* moved once, by lr x 1 */
    assert_int_equal(reported_t(f), 1);
    fixture_close(f);
}

static void rule_2_another_map_version_is_stale(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 2, 0);
    hello(f, WORKER);
    Message m;
    write_pull(&m, 1, 0, NULL, 0);
    m.pull.map = 2;
    from_worker(f, WORKER, &m);
    assert_int_equal(only(f, WORKER, MESSAGE_VALUES)->values.status, STATUS_STALE);
    write_push(&m, 1, 0, NULL, 0, NULL, 0);
    m.push.map = 2;
    from_worker(f, WORKER, &m);
    assert_int_equal(only(f, WORKER, MESSAGE_PUSHED)->pushed.status, STATUS_STALE);
    assert_int_equal(reported_t(f), 0);
    fixture_close(f);
}

static void a_push_counts_once_and_a_pull_of_an_applied_step_still_gets_values(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 4, 0);
    float value = 0;
    hello(f, WORKER);
    hello(f, OTHER);
    assert_int_equal(push(f, WORKER, 1, 3, 0), STATUS_OK);
    assert_int_equal(push(f, WORKER, 1, 3, 0), STATUS_APPLIED);
    assert_int_equal(push(f, OTHER, 1, 3, 0), STATUS_APPLIED); /* named by the work, not by the sender */
    assert_int_equal(pull(f, OTHER, 1, 3, &value), STATUS_APPLIED);
    assert_true(value == -0.25F);
    assert_int_equal(pull(f, OTHER, 1, 2, &value), STATUS_OK);
    assert_int_equal(reported_t(f), 1);
    fixture_close(f);
}

static void a_push_without_rows_counts_too(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 2, 0);
    hello(f, WORKER);
    Message m;
    write_push(&m, 1, 0, NULL, 0, NULL, 0);
    from_worker(f, WORKER, &m);
    assert_int_equal(only(f, WORKER, MESSAGE_PUSHED)->pushed.status, STATUS_OK);
    assert_int_equal(reported_t(f), 1);
    fixture_close(f);
}

static void rule_6_marks_only_what_equals_its_own_and_each_try_is_new(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 9, 3);
    hello(f, WORKER);
    push(f, WORKER, 1, 2, 0);
    Message m;
    write_mark(f, &m, 1, 0);
    ((uint8_t *)m.frames[0].data)[0] |= 1; /* a bit that we lack */
    assert_int_equal(mark(f, &m), 0);
    write_mark(f, &m, 2, 0);
    ((uint8_t *)m.frames[0].data)[0] = 0; /* a bit that we have */
    assert_int_equal(mark(f, &m), 0);
    write_mark(f, &m, 3, 0);
    m.mark.epoch = 2;
    assert_int_equal(mark(f, &m), 0);
    write_mark(f, &m, 4, 0);
    m.mark.map = 2;
    assert_int_equal(mark(f, &m), 0);
    write_mark(f, &m, 4, 0); /* right at last, but the number was tried */
    assert_int_equal(mark(f, &m), 0);
    assert_int_equal(f->n_writes, 0);
    write_mark(f, &m, 5, 0);
    assert_int_equal(mark(f, &m), 1);
    assert_int_equal(f->n_writes, 1);
    assert_string_equal(f->dir, "snapshots/1");
    write_mark(f, &m, 6, 0); /* still writing */
    assert_int_equal(mark(f, &m), 0);
    assert_int_equal(f->n_writes, 1);
    fixture_close(f);
}

static void a_failed_write_is_told_with_its_sentence(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 9, 3);
    Message m;
    hello(f, WORKER);
    push(f, WORKER, 1, 2, 0);
    write_mark(f, &m, 1, 0);
    assert_int_equal(mark(f, &m), 1);
    forget_sent(f);
    session_on_written(f->session, err_fail(ERR_IO, "the disk is full"), NULL, f->now_ms);
    const MessageWRITTEN *w = &only(f, PEER_SCHEDULER, MESSAGE_WRITTEN)->written;
    assert_int_equal(w->is_ok, 0);
    assert_string_equal(w->text, "the disk is full");
    fixture_close(f);
}

static void rule_9_evaluation_is_answered_at_exactly_that_epoch_with_full_bits(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 1, 0);
    hello(f, WORKER);
    for (int i = 0; i < 3; i++) { /* bits missing; full; another epoch */
        static const Status WANT[] = {STATUS_RETRY, STATUS_OK, STATUS_RETRY};
        Message m;
        write_pull(&m, 1, 70, NULL, 0); /* batch 70 of the pass: not a step of the epoch */
        m.pull.pass = 5;
        m.pull.split = SPLIT_VALID;
        from_worker(f, WORKER, &m);
        assert_int_equal(only(f, WORKER, MESSAGE_VALUES)->values.status, WANT[i]);
        if (i == 0)
            assert_int_equal(push(f, WORKER, 1, 0, 0), STATUS_OK);
        else if (i == 1)
            assert_int_equal(open_epoch(f, 2, 1, 0), 2);
    }
    fixture_close(f);
}

static void rule_10_the_next_epoch_opens_with_full_bits_only(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 1, 1);
    hello(f, WORKER);
    assert_int_equal(push(f, WORKER, 1, 0, 0), STATUS_OK);
    assert_int_equal(open_epoch(f, 2, 1, 1), 1); /* B's bit is missing */
    Message m;
    write_push(&m, 1, 0, NULL, 0, NULL, 0);
    m.push.domain = DOMAIN_B;
    from_worker(f, WORKER, &m);
    assert_int_equal(open_epoch(f, 3, 1, 1), 1); /* not the next */
    assert_int_equal(open_epoch(f, 2, 1, 1), 2);
    assert_int_equal(open_epoch(f, 2, 1, 1), 2); /* asked again */
    assert_int_equal(push(f, WORKER, 2, 0, 0), STATUS_OK);
    fixture_close(f);
}

static void a_report_carries_bits_and_the_sums_of_its_own_slots(void **state) {
    (void)state;
    Schema schema;
    toy_tables(&schema);
    uint32_t n_reported = 0;
    for (uint32_t n_servers = 1; n_servers <= 2; n_servers++) {
        Fixture *f = fixture_serve(0, n_servers, 9, 3);
        hello(f, WORKER);
        Message m;
        message_init(&m, MESSAGE_REPORT_ASK);
        from_scheduler(f, &m);
        Message *r = only(f, PEER_SCHEDULER, MESSAGE_REPORT);
        assert_int_equal(r->n_frames, 4);
        assert_int_equal(r->frames[0].size_bytes, 2);
        assert_int_equal(r->frames[1].size_bytes, 1);
        assert_int_equal(r->frames[3].size_bytes, r->frames[2].size_bytes / 8 * SCHEMA_STATS_WIDTH * 4);
        for (size_t i = 0; i < r->frames[2].size_bytes / 8; i++) {
            uint64_t key;
            memcpy(&key, (char *)r->frames[2].data + i * 8, 8);
            assert_int_equal(key_table(key), TOY_STATS);
            assert_int_equal(key_slot(key) % n_servers, RANK);
        }
        n_reported = (uint32_t)r->frames[2].size_bytes / 8;
        assert_true(n_servers == 1 ? n_reported == 2 : n_reported <= 2);
        fixture_close(f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_is_repeated_each_second_until_the_welcome),
        cmocka_unit_test(a_scheduler_that_never_answers_ends_the_server),
        cmocka_unit_test(a_silent_scheduler_ends_the_server_but_a_pause_of_its_own_does_not),
        cmocka_unit_test(finish_is_answered_by_bye_and_ends_with_its_code),
        cmocka_unit_test(a_signal_says_bye_and_ends_as_stopped),
        cmocka_unit_test(what_ends_it_first_is_what_it_ends_with),
        cmocka_unit_test(a_view_that_is_repeated_is_answered_and_changes_nothing),
        cmocka_unit_test(rule_1_lower_epochs_are_applied_and_higher_ones_retried),
        cmocka_unit_test(rule_2_another_map_version_is_stale),
        cmocka_unit_test(a_push_counts_once_and_a_pull_of_an_applied_step_still_gets_values),
        cmocka_unit_test(a_push_without_rows_counts_too),
        cmocka_unit_test(rule_6_marks_only_what_equals_its_own_and_each_try_is_new),
        cmocka_unit_test(a_failed_write_is_told_with_its_sentence),
        cmocka_unit_test(rule_9_evaluation_is_answered_at_exactly_that_epoch_with_full_bits),
        cmocka_unit_test(rule_10_the_next_epoch_opens_with_full_bits_only),
        cmocka_unit_test(a_report_carries_bits_and_the_sums_of_its_own_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
