/* link: mg_worker */
/* A worker's talk with the scheduler, which the test plays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/options.h"
#include "tests/unit/toy_data.h"
#include "worker/member.h"

enum { MAX_SENT = 64 };

typedef struct Fixture {
    char manifest[TOY_MANIFEST_BYTES];
    DataInfo info;
    Config config;
    Member *member;
    Message sent[MAX_SENT];
    int n_sent;
    uint64_t now_ms;
    int n_viewed, n_revoked;
    Assignment work; /* the last that was given */
    bool is_finished;
    Err code, welcome_result;
    char sentence[MESSAGE_TEXT];
} Fixture;

static void on_send(void *ctx, Message *m) {
    Fixture *f = ctx;
    assert_true(f->n_sent < MAX_SENT);
    message_move(&f->sent[f->n_sent++], m);
}

static Err on_welcomed(void *ctx, const Config *config, const Geometry *geometry, const WorkerIdentity *who) {
    Fixture *f = ctx;
    assert_int_equal(config->train.batch, f->config.train.batch);
    assert_int_equal(geometry->n_chunks, 4);
    assert_int_equal(who->id, 9);
    assert_int_equal(who->rank, 1);
    assert_int_equal(who->job, 77);
    return f->welcome_result ? err_fail(f->welcome_result, "no such model") : OK;
}

static Err on_viewed(void *ctx, const ClusterView *view) {
    Fixture *f = ctx;
    f->n_viewed++;
    assert_int_equal(view->n_servers, 2);
    assert_string_equal(view->endpoints[0], "tcp://one:1");
    assert_string_equal(view->endpoints[1], "tcp://two:2");
    assert_int_equal(view->slots[1], 1);
    return OK;
}

static void on_work(void *ctx, Assignment *a) {
    Fixture *f = ctx;
    assignment_free(&f->work);
    f->work = *a;
    *a = (Assignment){0};
}

static void on_revoke(void *ctx, uint64_t lease) {
    Fixture *f = ctx;
    assert_int_equal(lease, f->work.lease);
    f->n_revoked++;
}

static MemberStats on_stats(void *ctx) {
    (void)ctx;
    return (MemberStats){.n_steps = 3, .n_instances = 60, .sent_bytes = 1000};
}

static void on_finished(void *ctx, Err code, const char *sentence) {
    Fixture *f = ctx;
    assert_false(f->is_finished);
    f->is_finished = true;
    f->code = code;
    strncpy(f->sentence, sentence, sizeof f->sentence - 1);
}

static int open_fixture(void **state) {
    static const uint32_t N[N_DOMAINS][N_SPLITS] = {{100, 20, 20}, {60, 10, 10}};
    Fixture *f = calloc(1, sizeof *f);
    size_t size = toy_manifest(f->manifest, 4, N);
    assert_int_equal(datainfo_parse(&f->info, f->manifest, size), OK);
    config_defaults(&f->config);
    f->config.train.batch = 20;
    f->now_ms = 1000;
    MemberEnv env = {.ctx = f,
                     .send = on_send,
                     .welcomed = on_welcomed,
                     .viewed = on_viewed,
                     .work = on_work,
                     .revoke = on_revoke,
                     .stats = on_stats,
                     .finished = on_finished};
    member_open(&f->member, &f->info, f->manifest, "tcp://host:7000", &env, f->now_ms);
    *state = f;
    return 0;
}

static int close_fixture(void **state) {
    Fixture *f = *state;
    member_close(&f->member);
    for (int i = 0; i < f->n_sent; i++)
        message_free(&f->sent[i]);
    assignment_free(&f->work);
    datainfo_free(&f->info);
    free(f);
    return 0;
}

/* ---- the script --------------------------------------------------------------------------------------------- */

static const Message *last(const Fixture *f) {
    assert_true(f->n_sent > 0);
    return &f->sent[f->n_sent - 1];
}

static void receive(Fixture *f, Message *m) {
    member_on_message(f->member, m, f->now_ms);
    message_free(m);
}

static void welcome_with(Fixture *f, uint64_t fingerprint) {
    Message m;
    char *text = config_text(&f->config);
    message_init(&m, MESSAGE_WELCOME);
    m.job = 77;
    m.welcome.id = 9;
    m.welcome.rank = 1;
    m.welcome.config = fingerprint;
    message_add_bytes(&m, text, strlen(text));
    free(text);
    receive(f, &m);
}

static void welcome(Fixture *f) {
    welcome_with(f, config_fingerprint(&f->config));
}

static void view_with(Fixture *f, uint64_t map, const char *endpoints, uint16_t slot) {
    uint16_t slots[N_SLOTS] = {0, slot};
    Message m;
    message_init(&m, MESSAGE_VIEW);
    m.view.map = map;
    m.view.n_servers = 2;
    message_add_bytes(&m, slots, sizeof slots);
    message_add_bytes(&m, endpoints, strlen(endpoints));
    receive(f, &m);
}

static void view(Fixture *f) {
    view_with(f, 1, "tcp://one:1\ntcp://two:2\n", 1);
}

static void lease(Fixture *f, uint64_t number, uint64_t chunk) {
    Message m;
    message_init(&m, MESSAGE_LEASE);
    m.lease.lease = number;
    m.lease.kind = LEASE_PART;
    m.lease.epoch = 1;
    m.lease.chunk = chunk;
    receive(f, &m);
}

static void revoke(Fixture *f, uint64_t number) {
    Message m;
    message_init(&m, MESSAGE_LEASE_REVOKE);
    m.lease_revoke.lease = number;
    receive(f, &m);
}

static void wait_ms(Fixture *f, uint64_t ms) {
    for (uint64_t end = f->now_ms + ms; f->now_ms < end;) {
        f->now_ms += 100;
        member_on_tick(f->member, f->now_ms);
    }
}

static void go_to_work(Fixture *f) {
    welcome(f);
    view(f);
    member_on_connected(f->member);
    lease(f, 5, 2);
    assert_int_equal(f->work.lease, 5);
}

static void expect_bye(const Fixture *f, Err code, const char *words) {
    assert_int_equal(last(f)->type, MESSAGE_BYE);
    assert_int_equal(last(f)->bye.code, -code);
    assert_true(f->is_finished);
    assert_int_equal(f->code, code);
    if (!strstr(f->sentence, words))
        fail_msg("\"%s\" does not say \"%s\"", f->sentence, words);
}

/* ---- claims ------------------------------------------------------------------------------------------------- */

static void hello_carries_the_data_set_and_is_said_until_answered(void **state) {
    Fixture *f = *state;
    const Message *hello = last(f);
    size_t size;
    assert_int_equal(hello->type, MESSAGE_HELLO);
    assert_int_equal(hello->hello.role, ROLE_WORKER);
    assert_int_equal(hello->hello.data, f->info.fingerprint);
    assert_string_equal(hello->hello.version, MANGROVE_VERSION);
    assert_memory_equal(message_bytes(&f->sent[0], 0, hello->n_frames, &size), f->manifest, strlen(f->manifest));
    wait_ms(f, 3000);
    assert_int_equal(f->n_sent, 1 + 3);
    welcome(f);
    int n = f->n_sent;
    wait_ms(f, 900); /* shorter than a heartbeat */
    for (; n < f->n_sent; n++)
        assert_int_equal(f->sent[n].type, MESSAGE_HEARTBEAT);
}

static void a_scheduler_that_never_answers_is_named_after_join_s(void **state) {
    Fixture *f = *state;
    for (int i = 0; i < f->config.cluster.join_s && !f->is_finished; i++) {
        wait_ms(f, 1000);
        while (f->n_sent > 0)
            message_free(&f->sent[--f->n_sent]);
    }
    assert_false(f->is_finished);
    wait_ms(f, 200);
    assert_true(f->is_finished);
    assert_int_equal(f->code, ERR_TIMEOUT);
    assert_non_null(strstr(f->sentence, "tcp://host:7000"));
}

static void a_lease_is_asked_for_once_every_server_has_granted_credit(void **state) {
    Fixture *f = *state;
    welcome(f);
    assert_int_equal(f->n_viewed, 0);
    view(f);
    assert_int_equal(f->n_viewed, 1);
    assert_int_not_equal(last(f)->type, MESSAGE_LEASE_ASK);
    member_on_connected(f->member);
    assert_int_equal(last(f)->type, MESSAGE_LEASE_ASK);
    assert_int_equal(last(f)->job, 77);
    assert_int_equal(last(f)->sender, 9);
    view(f); /* the same map again is no news */
    assert_int_equal(f->n_viewed, 1);
}

/* Whatever the scheduler says may be lost with a connection: a worker that holds no lease goes on asking for what it
 * waits for. */
static uint32_t count_sent(const Fixture *f, MessageType type) {
    uint32_t n = 0;
    for (int i = 0; i < f->n_sent; i++)
        n += f->sent[i].type == type;
    return n;
}

static void a_view_that_was_lost_is_asked_for_again(void **state) {
    Fixture *f = *state;
    welcome(f);
    uint32_t n = count_sent(f, MESSAGE_HELLO);
    wait_ms(f, 3000);
    assert_int_equal(count_sent(f, MESSAGE_HELLO), n + 3);
    view(f);
    wait_ms(f, 3000);
    assert_int_equal(count_sent(f, MESSAGE_HELLO), n + 3);
}

static void a_lease_that_was_lost_is_asked_for_again(void **state) {
    Fixture *f = *state;
    welcome(f);
    view(f);
    member_on_connected(f->member);
    assert_int_equal(count_sent(f, MESSAGE_LEASE_ASK), 1);
    wait_ms(f, 3000);
    assert_int_equal(count_sent(f, MESSAGE_LEASE_ASK), 1 + 3);
    lease(f, 5, 2);
    wait_ms(f, 3000);
    assert_int_equal(count_sent(f, MESSAGE_LEASE_ASK), 1 + 3);
}

static void a_lease_becomes_steps_and_its_end_asks_for_the_next(void **state) {
    Fixture *f = *state;
    go_to_work(f);
    assert_int_equal(f->work.n_steps, 100 / 20 + 60 / 20);
    TrainerResult result = {.is_done = true, .n_steps = 8, .n_instances = 160};
    member_on_lease_over(f->member, OK, "", &result);
    const Message *end = &f->sent[f->n_sent - 2];
    assert_int_equal(end->type, MESSAGE_LEASE_END);
    assert_int_equal(end->lease_end.lease, 5);
    assert_int_equal(end->lease_end.is_done, 1);
    assert_int_equal(end->lease_end.n_steps, 8);
    assert_int_equal(end->lease_end.n_instances, 160);
    assert_int_equal(last(f)->type, MESSAGE_LEASE_ASK);
}

static void a_revoked_lease_is_given_back_and_another_is_asked_for(void **state) {
    Fixture *f = *state;
    go_to_work(f);
    revoke(f, 4); /* of an earlier one: late */
    assert_int_equal(f->n_revoked, 0);
    revoke(f, 5);
    assert_int_equal(f->n_revoked, 1);
    member_on_lease_over(f->member, OK, "", &(TrainerResult){.n_steps = 3});
    assert_int_equal(f->sent[f->n_sent - 2].lease_end.is_done, 0);
    assert_int_equal(last(f)->type, MESSAGE_LEASE_ASK);
}

static void heartbeats_tell_of_the_lease_in_hand(void **state) {
    Fixture *f = *state;
    go_to_work(f);
    wait_ms(f, (uint64_t)f->config.cluster.heartbeat_ms + 100);
    assert_int_equal(last(f)->type, MESSAGE_HEARTBEAT);
    assert_int_equal(last(f)->heartbeat.lease, 5);
    assert_int_equal(last(f)->heartbeat.n_steps, 3);
    assert_int_equal(last(f)->heartbeat.n_instances, 60);
}

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

#define MEMBER_TEST(f) cmocka_unit_test_setup_teardown(f, open_fixture, close_fixture)

int main(void) {
    const struct CMUnitTest tests[] = {
        MEMBER_TEST(hello_carries_the_data_set_and_is_said_until_answered),
        MEMBER_TEST(a_scheduler_that_never_answers_is_named_after_join_s),
        MEMBER_TEST(a_lease_is_asked_for_once_every_server_has_granted_credit),
        MEMBER_TEST(a_view_that_was_lost_is_asked_for_again),
        MEMBER_TEST(a_lease_that_was_lost_is_asked_for_again),
        MEMBER_TEST(a_lease_becomes_steps_and_its_end_asks_for_the_next),
        MEMBER_TEST(a_revoked_lease_is_given_back_and_another_is_asked_for),
        MEMBER_TEST(heartbeats_tell_of_the_lease_in_hand),
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
