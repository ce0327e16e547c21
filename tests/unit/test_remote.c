/* The remote client against servers that a script plays: no socket, no thread, no clock.
 * link: mg_worker */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/rng.h"
#include "worker/remote.h"

enum { MAX_SERVERS = 3, WIDTH = 20, ITEMS = 1 << 20, SILENT_MS = 3000, REQUEST_MS = 60000, CREDIT = 1 << 20 };

typedef struct Fixture {
    Schema schema;
    ClusterView view;
    char *endpoints[MAX_SERVERS];
    Remote *remote;
    uint64_t now_ms;
} Fixture;

static void open_remote(Fixture *f, uint32_t n_servers, bool is_sync) {
    memset(f, 0, sizeof *f);
    schema_add_sparse(&f->schema, "item.A", REACHED_BY_A, ITEMS, WIDTH, 0.1);
    schema_add_dense(&f->schema, "head.W", REACHED_BY_A, 40, 64, INIT_CONSTANT, 0, false);
    schema_finish(&f->schema);
    f->view = (ClusterView){.map = 7, .n_servers = n_servers, .endpoints = f->endpoints};
    for (uint32_t s = 0; s < n_servers; s++)
        f->endpoints[s] = "tcp://10.0.0.1:7001";
    for (uint32_t i = 0; i < N_SLOTS; i++)
        f->view.slots[i] = (uint16_t)(i % n_servers);
    RemoteOptions options = {.schema = &f->schema,
                             .config = 11,
                             .data = 12,
                             .job = 5,
                             .sender = 9,
                             .is_sync = is_sync,
                             .limits = {.silent_ms = SILENT_MS, .request_ms = REQUEST_MS}};
    f->now_ms = 0; /* clocks may start at 0 */
    remote_open(&f->remote, &options);
    remote_set_view(f->remote, &f->view, f->now_ms);
}

/* ---- the servers' part of the script ------------------------------------------------------------------------ */

static void welcome(Fixture *f, uint32_t server, uint64_t credit_bytes, uint64_t credit_requests) {
    Message m;
    message_init(&m, MESSAGE_WELCOME);
    m.welcome.config = 11;
    m.welcome.credit_bytes = credit_bytes;
    m.welcome.credit_requests = credit_requests;
    remote_on_message(f->remote, server, &m, f->now_ms);
    message_free(&m);
}

/* Takes the HELLO of every server and grants credit. */
static void connect_all(Fixture *f, uint64_t credit_bytes, uint64_t credit_requests) {
    uint32_t server;
    for (Message m; remote_next(f->remote, &server, &m, f->now_ms);) {
        assert_int_equal(m.type, MESSAGE_HELLO);
        assert_int_equal(m.hello.role, ROLE_WORKER);
        assert_int_equal(m.hello.data, 12);
        message_free(&m);
        welcome(f, server, credit_bytes, credit_requests);
    }
    assert_true(remote_is_connected(f->remote));
}

static float value_of(uint64_t key, uint32_t column) {
    return (float)(key % 100003) + (float)column / 128;
}

static void reply_values(Fixture *f, uint32_t server, Message *pull, Status status, bool with_values) {
    Message m;
    size_t bytes, n_values = 0;
    const uint64_t *keys = message_bytes(pull, 0, pull->n_frames, &bytes);
    float *values = malloc(pull->pull.n_keys * 64 * sizeof *values + 1);
    assert_int_equal(bytes, pull->pull.n_keys * sizeof *keys);
    for (uint64_t i = 0; i < pull->pull.n_keys; i++)
        for (uint32_t c = 0; c < f->schema.tables[key_table(keys[i])].width; c++)
            values[n_values++] = value_of(keys[i], c);
    message_init(&m, MESSAGE_VALUES);
    m.sequence = pull->sequence;
    m.values.status = status;
    m.values.n_values = with_values ? n_values : 0;
    if (with_values && n_values)
        message_add_bytes(&m, values, n_values * sizeof *values);
    remote_on_message(f->remote, server, &m, f->now_ms);
    message_free(&m);
    message_free(pull);
    free(values);
}

static void reply_pushed(Fixture *f, uint32_t server, Message *push, Status status) {
    Message m;
    message_init(&m, MESSAGE_PUSHED);
    m.sequence = push->sequence;
    m.pushed.status = status;
    remote_on_message(f->remote, server, &m, f->now_ms);
    message_free(&m);
    message_free(push);
}

static void expect_message(Fixture *f, uint32_t server, MessageType type, Message *out) {
    uint32_t to;
    assert_true(remote_next(f->remote, &to, out, f->now_ms));
    assert_int_equal(out->type, type);
    assert_int_equal(to, server);
}

static void expect_silence(Fixture *f) {
    uint32_t server;
    Message m;
    assert_false(remote_next(f->remote, &server, &m, f->now_ms));
}

/* ---- the worker's part -------------------------------------------------------------------------------------- */

static uint64_t *random_keys(uint32_t n) {
    Rng r = rng_stream(1, RNG_TEST, 0, 0);
    uint64_t *keys = malloc((n + 1) * sizeof *keys);
    for (uint32_t i = 0; i < n; i++)
        keys[i] = i % 10 == 9 ? key_of(1, i / 10 % 40) : key_of(0, (uint64_t)i * 7 + rng_below(&r, 7));
    return keys;
}

static Exchange exchange_of(const Fixture *f, const uint64_t *keys, uint32_t n_keys) {
    Exchange x = {.work = {.epoch = 2, .domain = DOMAIN_B, .step = 33}, .order = 8, .keys = keys, .n_keys = n_keys};
    for (uint32_t i = 0; i < n_keys; i++)
        x.n_values += f->schema.tables[key_table(keys[i])].width;
    x.values = malloc((x.n_values + 1) * sizeof *x.values);
    return x;
}

static void expect_pull_end(Fixture *f, Err want) {
    Err result;
    assert_true(remote_take_pull(f->remote, &result));
    assert_int_equal(result, want);
}

static void expect_failure(Fixture *f, Err want, const char *words) {
    const char *sentence;
    assert_int_equal(remote_failure(f->remote, &sentence), want);
    if (want)
        assert_non_null(strstr(sentence, words));
}

/* ---- claims ------------------------------------------------------------------------------------------------- */

/* 30,000 keys with their values are 2.6 MB: several frames in both directions, cut within rows. */
static void check_round_trip(uint32_t n_servers, uint32_t n_keys) {
    Fixture f;
    open_remote(&f, n_servers, false);
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
            assert_true(x.values[at++] == value_of(keys[i], c));
    remote_close(&f.remote);
    free(keys);
    free(x.values);
}

static void values_come_back_in_key_order_from_one_to_three_servers(void **state) {
    (void)state;
    for (uint32_t n_servers = 1; n_servers <= MAX_SERVERS; n_servers++) {
        check_round_trip(n_servers, 1);
        check_round_trip(n_servers, 1000);
        check_round_trip(n_servers, 30000);
    }
}

static void a_push_reaches_each_server_with_its_rows_alone(void **state) {
    (void)state;
    enum { N = 20000 };
    Fixture f;
    open_remote(&f, 3, false);
    connect_all(&f, 64 << 20, 16);
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
    open_remote(&f, 3, false);
    connect_all(&f, CREDIT, 16);
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
    remote_close(&f.remote);
    free(x.values);
}

static void credit_bounds_what_is_under_way_and_replies_return_it(void **state) {
    (void)state;
    Fixture f;
    uint64_t keys[10];
    for (uint64_t i = 0; i < 10; i++)
        keys[i] = key_of(0, i);
    const uint64_t cost = 10 * (8 + WIDTH * 4); /* keys, and the values to or fro */
    open_remote(&f, 1, false);
    connect_all(&f, 2 * cost + cost / 2, 16);
    Exchange x[2] = {exchange_of(&f, keys, 10), exchange_of(&f, keys, 10)};
    memset(x[0].values, 0, x[0].n_values * sizeof *x[0].values);
    Message m[3];
    remote_pull(f.remote, &x[0]);
    expect_message(&f, 0, MESSAGE_PULL, &m[0]);
    remote_push(f.remote, &x[0].work, keys, 10, x[0].values);
    expect_message(&f, 0, MESSAGE_PUSH, &m[1]);
    remote_pull(f.remote, &x[1]);
    expect_silence(&f);                       /* a third does not fit */
    reply_pushed(&f, 0, &m[1], STATUS_RETRY); /* any status returns credit */
    expect_message(&f, 0, MESSAGE_PULL, &m[2]);
    reply_values(&f, 0, &m[0], STATUS_OK, true);
    reply_values(&f, 0, &m[2], STATUS_OK, true);
    expect_pull_end(&f, OK);
    expect_pull_end(&f, OK);
    remote_close(&f.remote);
    free(x[0].values);
    free(x[1].values);
}

static void the_number_of_requests_is_bounded_too_and_then_pushes_find_no_room(void **state) {
    (void)state;
    Fixture f;
    uint64_t key = key_of(0, 3);
    open_remote(&f, 1, false);
    connect_all(&f, CREDIT, 2);
    Exchange x = exchange_of(&f, &key, 1);
    memset(x.values, 0, x.n_values * sizeof *x.values);
    Message sent[2];
    int n_pushes = 0, n_sent = 0;
    for (; remote_has_room(f.remote); n_pushes++) {
        uint32_t server;
        remote_push(f.remote, &x.work, &key, 1, x.values);
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
    remote_close(&f.remote);
    free(x.values);
}

static void a_step_that_no_credit_covers_is_an_error_that_names_the_option(void **state) {
    (void)state;
    Fixture f;
    uint64_t keys[10];
    for (uint64_t i = 0; i < 10; i++)
        keys[i] = key_of(0, i);
    open_remote(&f, 1, false);
    connect_all(&f, 100, 16);
    Exchange x = exchange_of(&f, keys, 10);
    remote_pull(f.remote, &x);
    expect_silence(&f);
    expect_failure(&f, ERR_CONFIG, "cluster.credit_mb");
    remote_close(&f.remote);
    free(x.values);
}

/* Pulls one key of each of three servers, which answer as given. */
static Err pull_with(const Status status[3], const bool with_values[3], bool *is_applied) {
    Fixture f;
    open_remote(&f, 3, false);
    connect_all(&f, CREDIT, 16);
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
    remote_close(&f.remote);
    free(x.values);
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
    uint64_t key = key_of(0, 3);
    open_remote(&f, 1, false);
    connect_all(&f, CREDIT, 16);
    Exchange x = exchange_of(&f, &key, 1);
    memset(x.values, 0, x.n_values * sizeof *x.values);
    Message m;
    remote_push(f.remote, &x.work, &key, 1, x.values);
    expect_message(&f, 0, MESSAGE_PUSH, &m);
    reply_pushed(&f, 0, &m, STATUS_STALE);
    assert_int_equal(remote_push_result(f.remote), ERR_STALE);
    remote_clear_push_result(f.remote);
    assert_int_equal(remote_push_result(f.remote), OK);
    remote_push(f.remote, &x.work, &key, 1, x.values);
    expect_message(&f, 0, MESSAGE_PUSH, &m);
    reply_pushed(&f, 0, &m, STATUS_HELD); /* sync: as good as applied */
    assert_int_equal(remote_push_result(f.remote), OK);
    remote_close(&f.remote);
    free(x.values);
}

static void an_abandoned_pull_never_touches_the_callers_memory(void **state) {
    (void)state;
    Fixture f;
    uint64_t key = key_of(0, 3);
    open_remote(&f, 1, false);
    connect_all(&f, CREDIT, 1);
    Exchange x[2] = {exchange_of(&f, &key, 1), exchange_of(&f, &key, 1)};
    Message m;
    remote_pull(f.remote, &x[0]);
    expect_message(&f, 0, MESSAGE_PULL, &m);
    remote_pull(f.remote, &x[1]); /* stays queued: one request of credit */
    remote_abandon_pulls(f.remote);
    free(x[0].values);
    free(x[1].values);
    x[0] = exchange_of(&f, &key, 1);
    x[0].values[0] = -1;
    remote_pull(f.remote, &x[0]);
    expect_silence(&f); /* the abandoned one still holds its credit */
    reply_values(&f, 0, &m, STATUS_OK, true);
    assert_true(x[0].values[0] == -1);
    expect_message(&f, 0, MESSAGE_PULL, &m); /* the third: the second is not sent any more */
    reply_values(&f, 0, &m, STATUS_OK, true);
    expect_pull_end(&f, OK);
    assert_true(x[0].values[0] == value_of(key, 0));
    expect_silence(&f);
    remote_close(&f.remote);
    free(x[0].values);
}

static void a_silent_server_ends_the_client_after_its_deadline(void **state) {
    (void)state;
    Fixture f;
    uint64_t key = key_of(0, 3);
    open_remote(&f, 2, false);
    connect_all(&f, CREDIT, 16);
    f.now_ms += 10 * SILENT_MS; /* silence without a question is not silence */
    remote_on_tick(f.remote, f.now_ms);
    expect_failure(&f, OK, "");
    Exchange x = exchange_of(&f, &key, 1);
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
    remote_close(&f.remote);
    free(x.values);
}

static void a_sync_pull_may_wait_for_other_workers_but_not_for_ever(void **state) {
    (void)state;
    Fixture f;
    uint64_t key = key_of(0, 3);
    open_remote(&f, 1, true);
    connect_all(&f, CREDIT, 16);
    Exchange x = exchange_of(&f, &key, 1);
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
    remote_close(&f.remote);
    free(x.values);
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
        uint64_t key = key_of(0, 3);
        open_remote(&f, 1, false);
        connect_all(&f, CREDIT, 16);
        Exchange x = exchange_of(&f, &key, 1);
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
        remote_close(&f.remote);
        free(x.values);
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
    uint64_t key = key_of(0, 3);
    open_remote(&f, 2, false);
    connect_all(&f, CREDIT, 16);
    Exchange x = exchange_of(&f, &key, 1);
    memset(x.values, 0, x.n_values * sizeof *x.values);
    remote_pull(f.remote, &x);
    remote_push(f.remote, &x.work, &key, 1, x.values);
    f.view.map = 8;
    remote_set_view(f.remote, &f.view, f.now_ms);
    expect_pull_end(&f, ERR_STALE);
    assert_true(remote_is_flushed(f.remote));
    assert_int_equal(remote_push_result(f.remote), ERR_STALE);
    connect_all(&f, CREDIT, 16);
    remote_close(&f.remote);
    free(x.values);
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
        cmocka_unit_test(a_silent_server_ends_the_client_after_its_deadline),
        cmocka_unit_test(a_sync_pull_may_wait_for_other_workers_but_not_for_ever),
        cmocka_unit_test(a_server_that_never_welcomes_is_named),
        cmocka_unit_test(answers_that_nobody_asked_for_end_the_client),
        cmocka_unit_test(a_refusal_ends_the_client_with_its_code_and_sentence),
        cmocka_unit_test(a_new_view_makes_what_was_under_way_stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
