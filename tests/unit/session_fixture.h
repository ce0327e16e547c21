/* One session under test, its outbox a list, its scheduler and its workers the test itself. */
#ifndef MANGROVE_TESTS_SESSION_FIXTURE_H
#define MANGROVE_TESTS_SESSION_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/options.h"
#include "server/session/session.h"
#include "tests/unit/toy_data.h"

enum { JOB = 7, RANK = 0, SCHEDULER_INCARNATION = 99, MAX_SENT = 64, HEARTBEAT_MS = 500, DEAD_MS = 2000 };

typedef struct Sent {
    uint64_t peer;
    Message m;
} Sent;

typedef struct Fixture {
    Session *session;
    Config config;
    uint64_t now_ms, sequence;
    Sent sent[MAX_SENT]; /* oldest first */
    int n_sent;
    int n_writes, n_finished, n_loads;
    const SessionLoad *load; /* asked for last */
    char dir[MESSAGE_TEXT];
    Err code;
    char sentence[MESSAGE_TEXT];
} Fixture;

static inline void fixture_send(void *ctx, uint64_t peer, Message *m) {
    Fixture *f = ctx;
    assert_true(f->n_sent < MAX_SENT);
    f->sent[f->n_sent].peer = peer;
    message_move(&f->sent[f->n_sent++].m, m);
}

static inline Err fixture_schema(void *ctx, const Config *config, const DataInfo *data, Schema *out) {
    (void)ctx, (void)config;
    assert_int_equal(data->n_items, TOY_ITEMS);
    toy_tables(out);
    return OK;
}

static inline void fixture_write(void *ctx, StoreCut *cut, const Schema *schema, uint32_t rank, const char *dir) {
    Fixture *f = ctx;
    (void)cut, (void)schema;
    assert_int_equal(rank, RANK);
    f->n_writes++;
    snprintf(f->dir, sizeof f->dir, "%s", dir);
}

static inline void fixture_load(void *ctx, const SessionLoad *load) {
    Fixture *f = ctx;
    f->n_loads++;
    f->load = load;
}

static inline void fixture_finished(void *ctx, Err code, const char *sentence) {
    Fixture *f = ctx;
    f->n_finished++;
    f->code = code;
    snprintf(f->sentence, sizeof f->sentence, "%s", sentence);
}

static inline void forget_sent(Fixture *f) {
    while (f->n_sent)
        message_free(&f->sent[--f->n_sent].m);
}

/* The only message that was sent since the last look; it stays until forget_sent. */
static inline Message *only(Fixture *f, uint64_t peer, MessageType type) {
    assert_int_equal(f->n_sent, 1);
    assert_int_equal(f->sent[0].peer, peer);
    assert_string_equal(message_type_name(f->sent[0].m.type), message_type_name(type));
    return &f->sent[0].m;
}

/* ---- the scheduler -------------------------------------------------------------------------------------------- */

/* Sends m and frees it. */
static inline void from_scheduler(Fixture *f, Message *m) {
    m->job = JOB;
    m->incarnation = SCHEDULER_INCARNATION;
    forget_sent(f);
    session_on_scheduler(f->session, m, f->now_ms);
    message_free(m);
}

static inline void write_welcome(Fixture *f, Message *m) {
    char *text = config_text(&f->config);
    message_init(m, MESSAGE_WELCOME);
    m->welcome = (MessageWELCOME){.id = 3,
                                  .rank = RANK,
                                  .config = config_fingerprint(&f->config),
                                  .heartbeat_ms = HEARTBEAT_MS,
                                  .dead_ms = DEAD_MS,
                                  .version = MANGROVE_VERSION};
    message_add_bytes(m, text, strlen(text));
    free(text);
}

/* Slots go round over the servers: slot i to server i % n_servers. */
static inline void write_view(Message *m, uint64_t map, uint32_t n_servers) {
    static const uint32_t COUNTS[N_DOMAINS][N_SPLITS] = {{10, 2, 2}, {10, 2, 2}};
    static const char ENDPOINTS[] = "tcp://a:1\ntcp://b:2\n";
    char manifest[TOY_MANIFEST_BYTES];
    message_init(m, MESSAGE_VIEW);
    m->view = (MessageVIEW){.map = map, .n_servers = n_servers};
    uint16_t *slots = message_add_frame(m, N_SLOTS * sizeof *slots);
    for (uint32_t i = 0; i < N_SLOTS; i++)
        slots[i] = (uint16_t)(i % n_servers);
    message_add_bytes(m, ENDPOINTS, sizeof ENDPOINTS - 1);
    message_add_bytes(m, manifest, toy_manifest(manifest, 1, COUNTS));
}

/* Returns the epoch that the server says is open. */
static inline uint64_t open_epoch(Fixture *f, uint32_t epoch, uint32_t steps_a, uint32_t steps_b) {
    Message m;
    message_init(&m, MESSAGE_EPOCH_OPEN);
    m.epoch_open = (MessageEPOCH_OPEN){.epoch = epoch, .steps_a = steps_a, .steps_b = steps_b};
    from_scheduler(f, &m);
    assert_true(f->n_sent >= 1 && f->sent[0].m.type == MESSAGE_EPOCH_OPENED);
    return f->sent[0].m.epoch_opened.epoch;
}

/* Of the bits that the store has; base 0: full. */
static inline void write_mark(const Fixture *f, Message *m, uint64_t cut, uint64_t base) {
    message_init(m, MESSAGE_MARK);
    m->mark = (MessageMARK){.cut = cut, .base = base, .map = 1, .dir = "snapshots/1"};
    m->mark.epoch = store_epoch(session_store(f->session));
    for (int d = 0; d < N_DOMAINS; d++) {
        uint32_t n = 0;
        const uint8_t *bits = store_bitmap(session_store(f->session), d, &n);
        message_add_bytes(m, bits, bitmap_bytes(n));
    }
}

/* Sends it; is it taken? The MARKED is the first message sent. */
static inline bool mark(Fixture *f, Message *m) {
    uint64_t cut = m->mark.cut;
    from_scheduler(f, m);
    assert_true(f->n_sent >= 1 && f->sent[0].m.type == MESSAGE_MARKED);
    assert_int_equal(f->sent[0].m.marked.cut, cut);
    return f->sent[0].m.marked.is_ok;
}

/* ---- workers -------------------------------------------------------------------------------------------------- */

static inline void from_worker(Fixture *f, uint64_t peer, Message *m) {
    m->job = JOB;
    m->incarnation = peer;
    m->sequence = ++f->sequence;
    forget_sent(f);
    session_on_worker(f->session, peer, m, f->now_ms);
    message_free(m);
}

static inline void write_hello(Message *m) {
    message_init(m, MESSAGE_HELLO);
    m->hello = (MessageHELLO){.role = ROLE_WORKER, .version = MANGROVE_VERSION};
}

/* Returns the bytes of credit. */
static inline uint64_t hello(Fixture *f, uint64_t peer) {
    Message m;
    write_hello(&m);
    from_worker(f, peer, &m);
    const MessageWELCOME *w = &only(f, peer, MESSAGE_WELCOME)->welcome;
    assert_int_equal(w->credit_requests, SESSION_CREDIT_REQUESTS);
    return w->credit_bytes;
}

static inline void write_pull(Message *m, uint32_t epoch, uint32_t step, const uint64_t *keys, uint32_t n_keys) {
    message_init(m, MESSAGE_PULL);
    m->pull = (MessagePULL){.epoch = epoch, .step = step, .order = step, .map = 1, .n_keys = n_keys};
    if (n_keys)
        message_add_bytes(m, keys, n_keys * sizeof *keys);
}

static inline void write_push(Message *m, uint32_t epoch, uint32_t step, const uint64_t *keys, uint32_t n_keys,
                              const float *grads, size_t n_values) {
    message_init(m, MESSAGE_PUSH);
    m->push = (MessagePUSH){.epoch = epoch, .step = step, .map = 1, .n_keys = n_keys};
    if (n_keys)
        message_add_bytes(m, keys, n_keys * sizeof *keys);
    if (n_values)
        message_add_bytes(m, grads, n_values * sizeof *grads);
}

/* Pulls the one row of the probe's dense tensor; its first value out if one came. */
static inline Status pull(Fixture *f, uint64_t peer, uint32_t epoch, uint32_t step, float *value) {
    Message m;
    const uint64_t key = key_of(TOY_DENSE_SHARED, 0);
    write_pull(&m, epoch, step, &key, 1);
    from_worker(f, peer, &m);
    Message *reply = only(f, peer, MESSAGE_VALUES);
    assert_int_equal(reply->sequence, f->sequence);
    assert_int_equal(reply->n_frames, reply->values.n_values ? 1 : 0);
    if (reply->n_frames)
        memcpy(value, reply->frames[0].data, sizeof *value);
    return (Status)reply->values.status;
}

/* Pushes a gradient of 1 to that row, for a rank. */
static inline Status push(Fixture *f, uint64_t peer, uint32_t epoch, uint32_t step, uint32_t rank) {
    Message m;
    const uint64_t key = key_of(TOY_DENSE_SHARED, 0);
    const float grads[SCHEMA_DENSE_WIDTH] = {1};
    write_push(&m, epoch, step, &key, 1, grads, SCHEMA_DENSE_WIDTH);
    m.push.rank = rank;
    from_worker(f, peer, &m);
    assert_true(f->n_sent >= 1 && f->sent[0].m.type == MESSAGE_PUSHED);
    assert_int_equal(f->sent[0].peer, peer);
    assert_int_equal(f->sent[0].m.sequence, f->sequence);
    return (Status)f->sent[0].m.pushed.status;
}

/* ---- opening and closing -------------------------------------------------------------------------------------- */

/* A session that has said HELLO and nothing else. ranks 0: async; lr is 1/4, so that sums of steps are exact. */
static inline Fixture *fixture_open_wire(int ranks, Wire wire) {
    Fixture *f = must_calloc(1, sizeof *f);
    config_defaults(&f->config);
    f->config.train.wire = wire;
    f->config.optimizer.kind = OPTIMIZER_SGD;
    f->config.optimizer.lr = 0.25;
    f->config.optimizer.l2 = 0;
    f->config.train.consistency = ranks ? CONSISTENCY_SYNC : CONSISTENCY_ASYNC;
    f->config.train.ranks = ranks ? ranks : 1;
    f->config.train.prefetch = 0;
    SessionEnv env = {.ctx = f,
                      .outbox = {f, fixture_send},
                      .schema = fixture_schema,
                      .load = fixture_load,
                      .write = fixture_write,
                      .finished = fixture_finished};
    assert_int_equal(session_open(&f->session, 11, "tcp://127.0.0.1:5", &env, f->now_ms), OK);
    return f;
}

static inline Fixture *fixture_open(int ranks) {
    return fixture_open_wire(ranks, WIRE_FP32);
}

/* One that has the only copy of every slot (or one of several) and has opened epoch 1. */
static inline Fixture *fixture_serve_wire(int ranks, uint32_t n_servers, uint32_t steps_a, uint32_t steps_b,
                                          Wire wire) {
    Fixture *f = fixture_open_wire(ranks, wire);
    Message m;
    write_welcome(f, &m);
    from_scheduler(f, &m);
    write_view(&m, 1, n_servers);
    from_scheduler(f, &m);
    assert_int_equal(only(f, PEER_SCHEDULER, MESSAGE_READY)->ready.map, 1);
    assert_int_equal(open_epoch(f, 1, steps_a, steps_b), 1);
    assert_int_equal(f->n_finished, 0);
    return f;
}

static inline Fixture *fixture_serve(int ranks, uint32_t n_servers, uint32_t steps_a, uint32_t steps_b) {
    return fixture_serve_wire(ranks, n_servers, steps_a, steps_b, WIRE_FP32);
}

static inline void fixture_close(Fixture *f) {
    session_close(&f->session);
    forget_sent(f);
    free(f);
}

#endif
