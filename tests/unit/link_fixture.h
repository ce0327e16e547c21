/* What the tests of the link share: a loop with a network, sides that count what they hear, and waiting for a condition
 * with a deadline. Include after cmocka.h. */
#ifndef MANGROVE_TESTS_LINK_FIXTURE_H
#define MANGROVE_TESTS_LINK_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include "proto/link.h"

enum { DEADLINE_MS = 20000, MIB = 1 << 20 };

typedef struct Bench {
    Loop *loop;
    Network *network;
    LoopTimer *poll;
    uint64_t deadline_ms;
    bool (*is_met)(void *ctx);
    void *ctx;
    bool is_late;
} Bench;

typedef struct Side {
    Link *link;
    uint64_t incarnation, last_peer, last_sequence, n_bytes;
    int n_received, n_faults;
    int n_wanted; /* then the loop is stopped, if there is one */
    Loop *loop;
    bool is_echo, is_in_order;
    uint64_t fault_peer;
    char sentence[256];
} Side;

static inline void bench_open(Bench *b) {
    *b = (Bench){0};
    assert_int_equal(loop_open(&b->loop), OK);
    assert_int_equal(network_open(&b->network, b->loop), OK);
}

static inline void bench_close(Bench *b) {
    network_close(&b->network, 0);
    assert_null(b->network);
    loop_close(&b->loop);
}

static inline void bench_poll(void *ctx) {
    Bench *b = ctx;
    b->is_late = clock_ms() > b->deadline_ms;
    if (b->is_late || b->is_met(b->ctx))
        loop_stop(b->loop);
}

/* Runs the loop until the condition holds; false when the deadline comes first. */
static inline bool bench_wait_for(Bench *b, uint64_t ms, bool (*is_met)(void *ctx), void *ctx) {
    b->deadline_ms = clock_ms() + ms;
    b->is_met = is_met;
    b->ctx = ctx;
    LoopTimer *timer = loop_timer(b->loop, 0, 1, bench_poll, b);
    loop_run(b->loop);
    loop_timer_close(&timer);
    return !b->is_late;
}

static inline void bench_wait(Bench *b, bool (*is_met)(void *ctx), void *ctx) {
    assert_true(bench_wait_for(b, DEADLINE_MS, is_met, ctx));
}

static inline void bench_give_up(void *ctx) {
    Bench *b = ctx;
    b->is_late = true;
    loop_stop(b->loop);
}

/* Runs the loop until a handler stops it. Nothing wakes it but its links: no timer that would hide a lost edge. */
static inline void bench_run(Bench *b) {
    b->is_late = false;
    LoopTimer *timer = loop_timer(b->loop, DEADLINE_MS, 0, bench_give_up, b);
    loop_run(b->loop);
    loop_timer_close(&timer);
    assert_false(b->is_late);
}

static inline void side_receive(void *ctx, Link *link, uint64_t peer, Message *m) {
    Side *s = ctx;
    s->is_in_order = s->n_received == 0 ? true : s->is_in_order && m->sequence == s->last_sequence + 1;
    s->n_received++;
    s->last_peer = peer;
    s->last_sequence = m->sequence;
    s->n_bytes += message_frame_bytes(m);
    if (s->is_echo) {
        Message reply;
        message_init(&reply, MESSAGE_PUSHED);
        reply.sequence = m->sequence;
        assert_int_equal(link_send(link, peer, &reply), OK);
    }
    if (s->loop && s->n_received == s->n_wanted)
        loop_stop(s->loop);
}

static inline void side_fault(void *ctx, Link *link, uint64_t peer, const char *sentence) {
    Side *s = ctx;
    (void)link;
    s->n_faults++;
    s->fault_peer = peer;
    snprintf(s->sentence, sizeof s->sentence, "%s", sentence);
}

static inline LinkOptions side_options(Side *s, uint32_t window_messages) {
    if (!s->incarnation)
        s->incarnation = network_new_incarnation();
    return (LinkOptions){.incarnation = s->incarnation,
                         .window_messages = window_messages,
                         .receive = side_receive,
                         .fault = side_fault,
                         .ctx = s};
}

static inline void side_listen(Side *s, Bench *b, uint32_t window_messages) {
    LinkOptions options = side_options(s, window_messages);
    assert_int_equal(link_listen(&s->link, b->network, "tcp://127.0.0.1:0", &options), OK);
}

static inline void side_dial(Side *s, Bench *b, const char *endpoint, uint32_t window_messages) {
    LinkOptions options = side_options(s, window_messages);
    assert_int_equal(link_dial(&s->link, b->network, endpoint, &options), OK);
}

/* A PUSH with one frame of so many bytes. */
static inline Err side_send(Side *s, uint64_t peer, uint64_t sequence, size_t frame_bytes) {
    Message m;
    message_init(&m, MESSAGE_PUSH);
    m.sequence = sequence;
    if (frame_bytes)
        memset(message_add_frame(&m, frame_bytes), (int)sequence, frame_bytes);
    return link_send(s->link, peer, &m);
}

static inline bool side_has_heard(void *ctx) {
    return ((Side *)ctx)->n_received > 0;
}

static inline bool side_has_fault(void *ctx) {
    return ((Side *)ctx)->n_faults > 0;
}

static inline long resident_bytes(void) {
    long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &pages, &resident), 2);
    fclose(f);
    return resident * sysconf(_SC_PAGESIZE);
}

/* A DEALER without the link's manners: it reads when the test says so, and sends what the test says. */
typedef struct Raw {
    void *zmq, *socket;
    uint64_t incarnation;
} Raw;

static inline void raw_open(Raw *r, const char *endpoint, uint64_t incarnation) {
    int linger_ms = 0, one = 1, timeout_ms = DEADLINE_MS;
    uint8_t id[9] = {'M'};
    for (int i = 0; i < 8; i++)
        id[1 + i] = (uint8_t)(incarnation >> 8 * i);
    *r = (Raw){.zmq = zmq_ctx_new(), .incarnation = incarnation};
    r->socket = zmq_socket(r->zmq, ZMQ_DEALER);
    zmq_setsockopt(r->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_setsockopt(r->socket, ZMQ_RCVHWM, &one, sizeof one);
    zmq_setsockopt(r->socket, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
    if (incarnation)
        zmq_setsockopt(r->socket, ZMQ_ROUTING_ID, id, sizeof id);
    assert_int_equal(zmq_connect(r->socket, endpoint), 0);
}

static inline void raw_close(Raw *r) {
    zmq_close(r->socket);
    zmq_ctx_term(r->zmq);
}

static inline void raw_send_header(Raw *r, MessageType type, bool has_more) {
    uint8_t bytes[MESSAGE_HEADER_BYTES + MESSAGE_MAP_BYTES];
    Message m;
    message_init(&m, type);
    m.incarnation = r->incarnation;
    size_t n = message_encode(&m, bytes);
    assert_int_equal(zmq_send(r->socket, bytes, n, has_more ? ZMQ_SNDMORE : 0), n);
}

#endif
