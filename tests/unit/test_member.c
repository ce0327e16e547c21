/* A worker's talk with the scheduler: joining, and lease after lease. */
/* link: mg_worker */
#include "tests/unit/member_fixture.h"

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
