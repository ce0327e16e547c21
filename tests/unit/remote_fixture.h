/* The remote client against servers that a script plays: no socket, no thread, no clock. */
#ifndef MANGROVE_TESTS_REMOTE_FIXTURE_H
#define MANGROVE_TESTS_REMOTE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/rng.h"
#include "proto/wire.h"
#include "worker/remote.h"

enum { MAX_SERVERS = 3, WIDTH = 20, ITEMS = 1 << 20, SILENT_MS = 3000, REQUEST_MS = 60000, CREDIT = 1 << 20 };

typedef struct Fixture {
    Schema schema;
    ClusterView view;
    char *endpoints[MAX_SERVERS];
    uint64_t keys[10]; /* rows 0 to 9 of item.A */
    Remote *remote;
    uint64_t now_ms;
} Fixture;

static inline void open_remote_wire(Fixture *f, uint32_t n_servers, bool is_sync, Wire wire) {
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
                             .wire = wire,
                             .is_sync = is_sync,
                             .limits = {.silent_ms = SILENT_MS, .request_ms = REQUEST_MS}};
    for (uint64_t i = 0; i < 10; i++)
        f->keys[i] = key_of(0, i);
    f->now_ms = 0; /* clocks may start at 0 */
    remote_open(&f->remote, &options);
    remote_set_view(f->remote, &f->view, f->now_ms);
}

static inline void open_remote(Fixture *f, uint32_t n_servers, bool is_sync) {
    open_remote_wire(f, n_servers, is_sync, WIRE_FP32);
}

/* ---- the servers' part of the script ------------------------------------------------------------------------ */

static inline void welcome(Fixture *f, uint32_t server, uint64_t credit_bytes, uint64_t credit_requests) {
    Message m;
    message_init(&m, MESSAGE_WELCOME);
    m.welcome.config = 11;
    m.welcome.credit_bytes = credit_bytes;
    m.welcome.credit_requests = credit_requests;
    remote_on_message(f->remote, server, &m, f->now_ms);
    message_free(&m);
}

/* Takes the HELLO of every server and grants credit. */
static inline void connect_all(Fixture *f, uint64_t credit_bytes, uint64_t credit_requests) {
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

static inline void open_connected(Fixture *f, uint32_t n_servers, uint64_t credit_bytes, uint64_t credit_requests) {
    open_remote(f, n_servers, false);
    connect_all(f, credit_bytes, credit_requests);
}

static inline float value_of(uint64_t key, uint32_t column) {
    return (float)(key % 100003) + (float)column / 128;
}

static inline void reply_values(Fixture *f, uint32_t server, Message *pull, Status status, bool with_values) {
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
    m.values.wire = pull->pull.wire;
    uint8_t *packed = malloc(n_values * sizeof *values + 1);
    wire_pack((Wire)pull->pull.wire, packed, values, n_values);
    if (with_values && n_values)
        message_add_bytes(&m, packed, n_values * wire_value_bytes((Wire)pull->pull.wire));
    free(packed);
    remote_on_message(f->remote, server, &m, f->now_ms);
    message_free(&m);
    message_free(pull);
    free(values);
}

static inline void reply_pushed(Fixture *f, uint32_t server, Message *push, Status status) {
    Message m;
    message_init(&m, MESSAGE_PUSHED);
    m.sequence = push->sequence;
    m.pushed.status = status;
    remote_on_message(f->remote, server, &m, f->now_ms);
    message_free(&m);
    message_free(push);
}

static inline void expect_message(Fixture *f, uint32_t server, MessageType type, Message *out) {
    uint32_t to;
    assert_true(remote_next(f->remote, &to, out, f->now_ms));
    assert_int_equal(out->type, type);
    assert_int_equal(to, server);
}

static inline void expect_silence(Fixture *f) {
    uint32_t server;
    Message m;
    assert_false(remote_next(f->remote, &server, &m, f->now_ms));
}

/* ---- the worker's part -------------------------------------------------------------------------------------- */

static inline uint64_t *random_keys(uint32_t n) {
    Rng r = rng_stream(1, RNG_TEST, 0, 0);
    uint64_t *keys = malloc((n + 1) * sizeof *keys);
    for (uint32_t i = 0; i < n; i++)
        keys[i] = i % 10 == 9 ? key_of(1, i / 10 % 40) : key_of(0, (uint64_t)i * 7 + rng_below(&r, 7));
    return keys;
}

/* Its values are zeros. */
static inline Exchange exchange_of(const Fixture *f, const uint64_t *keys, uint32_t n_keys) {
    Exchange x = {.work = {.epoch = 2, .domain = DOMAIN_B, .step = 33}, .order = 8, .keys = keys, .n_keys = n_keys};
    for (uint32_t i = 0; i < n_keys; i++)
        x.n_values += f->schema.tables[key_table(keys[i])].width;
    x.values = calloc(x.n_values + 1, sizeof *x.values);
    return x;
}

/* Together with the exchange that the test has made. */
static inline void close_remote(Fixture *f, Exchange *x) {
    remote_close(&f->remote);
    free(x->values);
}

static inline void expect_pull_end(Fixture *f, Err want) {
    Err result;
    assert_true(remote_take_pull(f->remote, &result));
    assert_int_equal(result, want);
}

static inline void expect_failure(Fixture *f, Err want, const char *words) {
    const char *sentence;
    assert_int_equal(remote_failure(f->remote, &sentence), want);
    if (want)
        assert_non_null(strstr(sentence, words));
}

#endif
