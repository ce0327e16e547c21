/* The remote client: pulls, pushes, credit, and what the answers of servers come to.
 * link: mg_worker */
#include "tests/unit/remote_fixture.h"

static float rounded(float x, Wire wire) {
    wire_round(wire, &x, &x, 1);
    return x;
}

/* 30,000 keys with their values are 2.6 MB: several frames in both directions, cut within rows. */
static void check_round_trip(uint32_t n_servers, uint32_t n_keys, Wire wire) {
    Fixture f;
    open_remote_wire(&f, n_servers, false, wire);
    connect_all(&f, 64 << 20, 16);
    uint64_t *keys = random_keys(n_keys);
    Exchange x = exchange_of(&f, keys, n_keys);
    remote_pull(f.remote, &x);
    for (uint32_t s = 0; s < n_servers; s++) {
        Message m;
        expect_message(&f, s, MESSAGE_PULL, &m);
        assert_int_equal(m.job, 5);
        assert_int_equal(m.sender, 9);
        assert_int_equal(m.pull.map, 7);
        assert_int_equal(m.pull.step, 33);
        assert_int_equal(m.pull.order, 8);
        size_t bytes;
        const uint64_t *asked = message_bytes(&m, 0, m.n_frames, &bytes);
        for (uint64_t i = 0; i < m.pull.n_keys; i++)
            assert_int_equal(f.view.slots[key_slot(asked[i])], s);
        reply_values(&f, s, &m, STATUS_OK, true);
    }
    expect_pull_end(&f, OK);
    assert_false(x.is_applied);
    size_t at = 0;
    for (uint32_t i = 0; i < n_keys; i++)
        for (uint32_t c = 0; c < f.schema.tables[key_table(keys[i])].width; c++)
            assert_true(x.values[at++] == rounded(value_of(keys[i], c), wire));
    remote_close(&f.remote);
    free(keys);
    free(x.values);
}

static void values_come_back_in_key_order_from_one_to_three_servers(void **state) {
    (void)state;
    for (uint32_t n_servers = 1; n_servers <= MAX_SERVERS; n_servers++) {
        for (int wire = WIRE_FP32; wire <= WIRE_BF16; wire++) {
            check_round_trip(n_servers, 1, (Wire)wire);
            check_round_trip(n_servers, 1000, (Wire)wire);
            check_round_trip(n_servers, 30000, (Wire)wire);
        }
    }
}

static void a_push_reaches_each_server_with_its_rows_alone(void **state) {
    (void)state;
    enum { N = 20000 };
    Fixture f;
    open_connected(&f, 3, 64 << 20, 16);
    uint64_t *keys = random_keys(N);
    Exchange x = exchange_of(&f, keys, N);
    for (size_t i = 0, k = 0; k < N; k++)
        for (uint32_t c = 0; c < f.schema.tables[key_table(keys[k])].width; c++)
            x.values[i++] = value_of(keys[k], c);
    remote_push(f.remote, &x.work, keys, N, x.values);
    uint64_t n_seen = 0;
    for (uint32_t s = 0; s < 3; s++) {
        Message m;
        expect_message(&f, s, MESSAGE_PUSH, &m);
        int n_key_frames = (int)((m.push.n_keys * 8 + MESSAGE_FRAME_BYTES - 1) / MESSAGE_FRAME_BYTES);
        size_t key_bytes, value_bytes, at = 0;
        const uint64_t *got = message_bytes(&m, 0, n_key_frames, &key_bytes);
        const float *grads = message_bytes(&m, n_key_frames, m.n_frames - n_key_frames, &value_bytes);
        for (uint64_t i = 0; i < m.push.n_keys; i++) {
            assert_int_equal(f.view.slots[key_slot(got[i])], s);
            for (uint32_t c = 0; c < f.schema.tables[key_table(got[i])].width; c++)
                assert_true(grads[at++] == value_of(got[i], c));
        }
        assert_int_equal(value_bytes, at * sizeof *grads);
        n_seen += m.push.n_keys;
        assert_false(remote_is_flushed(f.remote));
        reply_pushed(&f, s, &m, s == 1 ? STATUS_APPLIED : STATUS_OK);
    }
    assert_int_equal(n_seen, N);
    assert_true(remote_is_flushed(f.remote));
    assert_int_equal(remote_push_result(f.remote), OK);
    remote_close(&f.remote);
    free(keys);
    free(x.values);
}

static void a_server_without_rows_of_the_step_is_asked_and_told_all_the_same(void **state) {
    (void)state;
    Fixture f;
    open_connected(&f, 3, CREDIT, 16);
    uint64_t key = key_of(0, 1);
    Exchange x = exchange_of(&f, &key, 1);
    remote_pull(f.remote, &x);
    remote_push(f.remote, &x.work, &key, 1, x.values);
    for (int i = 0; i < 6; i++) {
        Message m;
        uint32_t server;
        assert_true(remote_next(f.remote, &server, &m, f.now_ms));
        if (f.view.slots[key_slot(key)] != server)
            assert_int_equal(m.n_frames, 0);
        if (m.type == MESSAGE_PULL)
            reply_values(&f, server, &m, STATUS_OK, true);
        else
            reply_pushed(&f, server, &m, STATUS_OK);
    }
    expect_pull_end(&f, OK);
    assert_true(remote_is_flushed(f.remote));
    close_remote(&f, &x);
}

static void credit_bounds_what_is_under_way_and_replies_return_it(void **state) {
    (void)state;
    Fixture f;
    const uint64_t cost = 10 * (8 + WIDTH * 4); /* keys, and the values to or fro */
    open_connected(&f, 1, 2 * cost + cost / 2, 16);
    Exchange x[2] = {exchange_of(&f, f.keys, 10), exchange_of(&f, f.keys, 10)};
    Message m[3];
    remote_pull(f.remote, &x[0]);
    expect_message(&f, 0, MESSAGE_PULL, &m[0]);
    remote_push(f.remote, &x[0].work, f.keys, 10, x[0].values);
    expect_message(&f, 0, MESSAGE_PUSH, &m[1]);
    remote_pull(f.remote, &x[1]);
    expect_silence(&f);                       /* a third does not fit */
    reply_pushed(&f, 0, &m[1], STATUS_RETRY); /* any status returns credit */
    expect_message(&f, 0, MESSAGE_PULL, &m[2]);
    reply_values(&f, 0, &m[0], STATUS_OK, true);
    reply_values(&f, 0, &m[2], STATUS_OK, true);
    expect_pull_end(&f, OK);
    expect_pull_end(&f, OK);
    close_remote(&f, &x[0]);
    free(x[1].values);
}

static void the_number_of_requests_is_bounded_too_and_then_pushes_find_no_room(void **state) {
    (void)state;
    Fixture f;
    open_connected(&f, 1, CREDIT, 2);
    Exchange x = exchange_of(&f, &f.keys[3], 1);
    Message sent[2];
    int n_pushes = 0, n_sent = 0;
    for (; remote_has_room(f.remote); n_pushes++) {
        uint32_t server;
        remote_push(f.remote, &x.work, &f.keys[3], 1, x.values);
        if (n_sent < 2)
            assert_true(remote_next(f.remote, &server, &sent[n_sent++], f.now_ms));
        expect_silence(&f);
    }
    assert_int_equal(n_pushes, 4); /* two under way, two queued: the memory of a server that does not answer */
    reply_pushed(&f, 0, &sent[0], STATUS_OK);
    Message m;
    expect_message(&f, 0, MESSAGE_PUSH, &m);
    assert_true(remote_has_room(f.remote));
    message_free(&m);
    message_free(&sent[1]);
    close_remote(&f, &x);
}

static void a_step_that_no_credit_covers_is_an_error_that_names_the_option(void **state) {
    (void)state;
    Fixture f;
    open_connected(&f, 1, 100, 16);
    Exchange x = exchange_of(&f, f.keys, 10);
    remote_pull(f.remote, &x);
    expect_silence(&f);
    expect_failure(&f, ERR_CONFIG, "cluster.credit_mb");
    close_remote(&f, &x);
}

/* Pulls one key of each of three servers, which answer as given. */
static Err pull_with(const Status status[3], const bool with_values[3], bool *is_applied) {
    Fixture f;
    open_connected(&f, 3, CREDIT, 16);
    uint64_t keys[100];
    for (uint64_t i = 0; i < 100; i++)
        keys[i] = key_of(0, i);
    Exchange x = exchange_of(&f, keys, 100);
    remote_pull(f.remote, &x);
    Err result;
    for (uint32_t s = 0; s < 3; s++) {
        Message m;
        expect_message(&f, s, MESSAGE_PULL, &m);
        assert_false(remote_take_pull(f.remote, &result));
        reply_values(&f, s, &m, status[s], with_values[s]);
    }
    assert_true(remote_take_pull(f.remote, &result));
    *is_applied = x.is_applied;
    expect_failure(&f, OK, "");
    close_remote(&f, &x);
    return result;
}

static void a_step_is_applied_only_if_every_server_says_so(void **state) {
    (void)state;
    bool is_applied;
    const Status all[] = {STATUS_APPLIED, STATUS_APPLIED, STATUS_APPLIED};
    const Status some[] = {STATUS_APPLIED, STATUS_OK, STATUS_APPLIED};
    const bool with[] = {true, true, true}, without[] = {false, false, false}, mixed[] = {false, true, true};
    assert_int_equal(pull_with(all, with, &is_applied), OK);
    assert_true(is_applied);
    assert_int_equal(pull_with(all, without, &is_applied), OK);
    assert_true(is_applied);
    assert_int_equal(pull_with(some, with, &is_applied), OK);
    assert_false(is_applied);
    assert_int_equal(pull_with(some, mixed, &is_applied),
                     ERR_RETRY); /* cannot be computed without the first's values */
}

static void retry_and_stale_give_the_lease_back(void **state) {
    (void)state;
    bool is_applied;
    const bool without[] = {false, true, true};
    assert_int_equal(pull_with((const Status[]){STATUS_RETRY, STATUS_OK, STATUS_OK}, without, &is_applied), ERR_RETRY);
    assert_int_equal(pull_with((const Status[]){STATUS_STALE, STATUS_OK, STATUS_OK}, without, &is_applied), ERR_STALE);
    assert_int_equal(pull_with((const Status[]){STATUS_STALE, STATUS_RETRY, STATUS_OK},
                               (const bool[]){false, false, true}, &is_applied),
                     ERR_STALE);
}

static void a_refused_push_is_told_until_it_is_cleared(void **state) {
    (void)state;
    Fixture f;
    open_connected(&f, 1, CREDIT, 16);
    Exchange x = exchange_of(&f, &f.keys[3], 1);
    Message m;
    remote_push(f.remote, &x.work, &f.keys[3], 1, x.values);
    expect_message(&f, 0, MESSAGE_PUSH, &m);
    reply_pushed(&f, 0, &m, STATUS_STALE);
    assert_int_equal(remote_push_result(f.remote), ERR_STALE);
    remote_clear_push_result(f.remote);
    assert_int_equal(remote_push_result(f.remote), OK);
    remote_push(f.remote, &x.work, &f.keys[3], 1, x.values);
    expect_message(&f, 0, MESSAGE_PUSH, &m);
    reply_pushed(&f, 0, &m, STATUS_HELD); /* sync: as good as applied */
    assert_int_equal(remote_push_result(f.remote), OK);
    close_remote(&f, &x);
}

static void an_abandoned_pull_never_touches_the_callers_memory(void **state) {
    (void)state;
    Fixture f;
    open_connected(&f, 1, CREDIT, 1);
    Exchange x[2] = {exchange_of(&f, &f.keys[3], 1), exchange_of(&f, &f.keys[3], 1)};
    Message m;
    remote_pull(f.remote, &x[0]);
    expect_message(&f, 0, MESSAGE_PULL, &m);
    remote_pull(f.remote, &x[1]); /* stays queued: one request of credit */
    remote_abandon_pulls(f.remote);
    free(x[0].values);
    free(x[1].values);
    x[0] = exchange_of(&f, &f.keys[3], 1);
    x[0].values[0] = -1;
    remote_pull(f.remote, &x[0]);
    expect_silence(&f); /* the abandoned one still holds its credit */
    reply_values(&f, 0, &m, STATUS_OK, true);
    assert_true(x[0].values[0] == -1);
    expect_message(&f, 0, MESSAGE_PULL, &m); /* the third: the second is not sent any more */
    reply_values(&f, 0, &m, STATUS_OK, true);
    expect_pull_end(&f, OK);
    assert_true(x[0].values[0] == value_of(f.keys[3], 0));
    expect_silence(&f);
    close_remote(&f, &x[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_back_in_key_order_from_one_to_three_servers),
        cmocka_unit_test(a_push_reaches_each_server_with_its_rows_alone),
        cmocka_unit_test(a_server_without_rows_of_the_step_is_asked_and_told_all_the_same),
        cmocka_unit_test(credit_bounds_what_is_under_way_and_replies_return_it),
        cmocka_unit_test(the_number_of_requests_is_bounded_too_and_then_pushes_find_no_room),
        cmocka_unit_test(a_step_that_no_credit_covers_is_an_error_that_names_the_option),
        cmocka_unit_test(a_step_is_applied_only_if_every_server_says_so),
        cmocka_unit_test(retry_and_stale_give_the_lease_back),
        cmocka_unit_test(a_refused_push_is_told_until_it_is_cleared),
        cmocka_unit_test(an_abandoned_pull_never_touches_the_callers_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
