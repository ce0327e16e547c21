/* A worker's talk with the scheduler: every way in which it ends. */
/* link: mg_worker */
#include "tests/unit/member_fixture.h"

static void told_to_stop_it_gives_back_says_bye_and_ends(void **state) {
    Fixture *f = *state;
    go_to_work(f);
    member_on_stop(f->member, f->now_ms);
    assert_int_equal(f->n_revoked, 1);
    assert_false(f->is_finished); /* the step in hand */
    member_on_lease_over(f->member, OK, "", &(TrainerResult){.n_steps = 3});
    assert_int_equal(f->sent[f->n_sent - 2].type, MESSAGE_LEASE_END);
    expect_bye(f, ERR_STOPPED, "stopped as asked");
}

static void told_to_stop_without_a_lease_it_ends_at_once(void **state) {
    Fixture *f = *state;
    welcome(f);
    member_on_stop(f->member, f->now_ms);
    expect_bye(f, ERR_STOPPED, "stopped as asked");
}

static void a_step_that_does_not_end_does_not_keep_it(void **state) {
    Fixture *f = *state;
    go_to_work(f);
    member_on_stop(f->member, f->now_ms);
    for (int i = 0; i < 1000 && !f->is_finished; i++) {
        Message m;
        message_init(&m, MESSAGE_HEARTBEAT);
        receive(f, &m);
        wait_ms(f, 100);
        while (f->n_sent > 1)
            message_free(&f->sent[--f->n_sent - 1]), f->sent[f->n_sent - 1] = f->sent[f->n_sent];
    }
    expect_bye(f, ERR_STOPPED, "did not end in time");
}

static void a_silent_scheduler_ends_the_worker(void **state) {
    Fixture *f = *state;
    go_to_work(f);
    f->now_ms += 3 * (uint64_t)f->config.cluster.dead_ms;
    member_on_tick(f->member, f->now_ms);
    assert_false(f->is_finished);
    f->now_ms += 1;
    member_on_tick(f->member, f->now_ms);
    assert_int_equal(f->code, ERR_PEER);
    assert_non_null(strstr(f->sentence, "the scheduler at tcp://host:7000 has been silent"));
}

static void finish_is_answered_by_bye_with_its_code(void **state) {
    Fixture *f = *state;
    Message m;
    go_to_work(f);
    message_init(&m, MESSAGE_FINISH);
    m.finish.code = (uint64_t)-ERR_PEER;
    strcpy(m.finish.text, "server-1 died");
    receive(f, &m);
    expect_bye(f, ERR_PEER, "server-1 died");
    int n = f->n_sent;
    lease(f, 6, 0); /* deaf and mute from now on */
    wait_ms(f, 5000);
    assert_int_equal(f->n_sent, n);
}

static void a_refusal_ends_it_with_code_and_sentence(void **state) {
    Fixture *f = *state;
    Message m;
    message_init(&m, MESSAGE_REFUSE);
    m.refuse.code = (uint64_t)-ERR_DATA;
    strcpy(m.refuse.text, "another data set");
    receive(f, &m);
    assert_true(f->is_finished);
    assert_int_equal(f->code, ERR_DATA);
    assert_string_equal(f->sentence, "another data set");
}

static void a_configuration_that_reads_differently_here_is_refused(void **state) {
    Fixture *f = *state;
    welcome_with(f, config_fingerprint(&f->config) + 1);
    expect_bye(f, ERR_PROTOCOL, "reads its configuration as");
}

static void what_this_worker_cannot_do_ends_it(void **state) {
    Fixture *f = *state;
    f->welcome_result = ERR_CONFIG;
    welcome(f);
    expect_bye(f, ERR_CONFIG, "no such model");
}

static void an_error_of_the_trainer_is_told(void **state) {
    Fixture *f = *state;
    go_to_work(f);
    member_on_lease_over(f->member, ERR_FAILED, "the loss is not finite", &(TrainerResult){.n_steps = 3});
    assert_int_equal(f->sent[f->n_sent - 2].lease_end.is_done, 0);
    expect_bye(f, ERR_FAILED, "the loss is not finite");
}

static void views_that_make_no_sense_are_refused(void **state) {
    static const struct {
        const char *endpoints;
        uint16_t slot;
        uint64_t map;
        const char *words;
    } CASES[] = {
        {"tcp://one:1\n", 1, 1, "names 1 endpoints for 2 servers"},
        {"tcp://one:1\ntcp://two:2\ntcp://three:3\n", 1, 1, "names 3 endpoints for 2 servers"},
        {"tcp://one:1\ntcp://two:2\n", 2, 1, "gives slot 1 to server 2"},
        {"tcp://one:1\ntcp://two:2\n", 1, 0, "a view"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        if (i > 0) {
            close_fixture(state);
            open_fixture(state);
        }
        Fixture *f = *state;
        welcome(f);
        if (CASES[i].map)
            view_with(f, CASES[i].map, CASES[i].endpoints, CASES[i].slot);
        else {
            Message m;
            message_init(&m, MESSAGE_VIEW);
            m.view.map = 1;
            m.view.n_servers = 2;
            receive(f, &m); /* without frames */
        }
        expect_bye(f, ERR_PROTOCOL, CASES[i].words);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        MEMBER_TEST(told_to_stop_it_gives_back_says_bye_and_ends),
        MEMBER_TEST(told_to_stop_without_a_lease_it_ends_at_once),
        MEMBER_TEST(a_step_that_does_not_end_does_not_keep_it),
        MEMBER_TEST(a_silent_scheduler_ends_the_worker),
        MEMBER_TEST(finish_is_answered_by_bye_with_its_code),
        MEMBER_TEST(a_refusal_ends_it_with_code_and_sentence),
        MEMBER_TEST(a_configuration_that_reads_differently_here_is_refused),
        MEMBER_TEST(what_this_worker_cannot_do_ends_it),
        MEMBER_TEST(an_error_of_the_trainer_is_told),
        MEMBER_TEST(views_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
