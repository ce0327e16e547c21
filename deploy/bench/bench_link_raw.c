/* The yardstick of the link: what ZeroMQ itself moves. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "common/log.h"
#include "deploy/bench/bench.h"
#include "deploy/bench/bench_child.h"
#include "deploy/bench/bench_link.h"
#include "proto/message.h"

enum {
    FIRST_FRAME_BYTES = MESSAGE_HEADER_BYTES + MESSAGE_MAP_BYTES,
    ENDPOINT_BYTES = 128,
    MAX_SAMPLES = 1 << 20,
    LOOK_MS = 500
};

struct LinkRaw {
    const LinkRequests *requests;
    BenchChild server;
    void *zmq, *socket;
    uint64_t n_sent;
};

static void stay(void *data, void *hint) { /* the memory is sent again and again */
    (void)data, (void)hint;
}

static void send_bytes(void *socket, const void *data, size_t size_bytes, int flags) {
    zmq_msg_t part;
    zmq_msg_init_data(&part, (void *)(uintptr_t)data, size_bytes, stay, NULL);
    if (zmq_msg_send(&part, socket, flags) < 0)
        log_die(ERR_FAILED, "ZeroMQ cannot send: %s", zmq_strerror(errno));
}

/* The header is made for each message, as ours is. */
static void send_header(void *socket, const Message *m, int flags) {
    uint8_t first[FIRST_FRAME_BYTES];
    if (zmq_send(socket, first, message_encode(m, first), flags) < 0)
        log_die(ERR_FAILED, "ZeroMQ cannot send: %s", zmq_strerror(errno));
}

/* ---- the server ------------------------------------------------------------------------------------------------- */

static void answer(void *socket, zmq_msg_t *id, int n_parts, const LinkShape *shape, const float *values) {
    size_t n_values = (size_t)shape->n_rows * shape->width;
    Message m;
    zmq_msg_send(id, socket, ZMQ_SNDMORE);
    message_init(&m, n_parts == 2 ? MESSAGE_VALUES : MESSAGE_PUSHED);
    m.incarnation = 1;
    if (n_parts == 2) {
        m.values.n_values = n_values;
        send_header(socket, &m, ZMQ_SNDMORE);
        send_bytes(socket, values, n_values * sizeof *values, 0);
    } else {
        send_header(socket, &m, 0);
    }
}

static void serve(void *ctx, int in, int out) {
    const LinkRequests *requests = ctx;
    char endpoint[ENDPOINT_BYTES];
    size_t size = sizeof endpoint;
    void *zmq = zmq_ctx_new(), *socket = zmq_socket(zmq, ZMQ_ROUTER);
    (void)in;
    if (!socket || zmq_bind(socket, "tcp://127.0.0.1:*") ||
        zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size) || bench_pipe_write(out, endpoint))
        return;
    zmq_msg_t id, part;
    zmq_msg_init(&id);
    zmq_msg_init(&part);
    while (zmq_msg_recv(&id, socket, 0) >= 0) {
        int n_parts = 0;
        do
            n_parts += zmq_msg_recv(&part, socket, 0) >= 0;
        while (zmq_msg_more(&part));
        answer(socket, &id, n_parts, &requests->shape, requests->grads);
    }
}

/* ---- the client ------------------------------------------------------------------------------------------------- */

Err link_raw_start(LinkRaw **out, const LinkRequests *requests) {
    LinkRaw *r = must_calloc(1, sizeof *r);
    r->requests = requests;
    Err err = bench_child_start(&r->server, serve, (void *)(uintptr_t)requests);
    *out = r;
    return err;
}

Err link_raw_connect(LinkRaw *r) {
    char endpoint[ENDPOINT_BYTES];
    int look_ms = LOOK_MS, linger_ms = 0;
    Err err = bench_pipe_read(r->server.from, endpoint, sizeof endpoint);
    if (err)
        return err;
    r->zmq = zmq_ctx_new();
    r->socket = zmq_socket(r->zmq, ZMQ_DEALER);
    if (!r->socket || zmq_setsockopt(r->socket, ZMQ_RCVTIMEO, &look_ms, sizeof look_ms) ||
        zmq_setsockopt(r->socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms) || zmq_connect(r->socket, endpoint))
        return err_fail(ERR_FAILED, "cannot dial %s: %s", endpoint, zmq_strerror(errno));
    return OK;
}

void link_raw_close(LinkRaw **out) {
    LinkRaw *r = *out;
    if (!r)
        return;
    if (r->socket)
        zmq_close(r->socket);
    if (r->zmq)
        zmq_ctx_term(r->zmq);
    bench_child_end(&r->server);
    free(r);
    *out = NULL;
}

static void ask(LinkRaw *r, bool is_push) {
    const LinkRequests *q = r->requests;
    const uint64_t *keys = q->keys[r->n_sent % LINK_SETS];
    size_t key_bytes = q->shape.n_rows * sizeof *keys;
    Message m;
    message_init(&m, is_push ? MESSAGE_PUSH : MESSAGE_PULL);
    m.incarnation = 1;
    m.sequence = ++r->n_sent;
    if (is_push)
        m.push = (MessagePUSH){.epoch = 1, .step = r->n_sent, .map = 1, .n_keys = q->shape.n_rows};
    else
        m.pull = (MessagePULL){.epoch = 1, .step = r->n_sent, .map = 1, .n_keys = q->shape.n_rows};
    send_header(r->socket, &m, ZMQ_SNDMORE);
    send_bytes(r->socket, keys, key_bytes, is_push ? ZMQ_SNDMORE : 0);
    if (is_push)
        send_bytes(r->socket, q->grads, (size_t)q->shape.n_rows * q->shape.width * sizeof *q->grads, 0);
}

static Err receive(LinkRaw *r, zmq_msg_t *part) {
    for (int silent_ms = 0; silent_ms < LINK_PATIENCE_S * 1000; silent_ms += LOOK_MS) {
        if (zmq_msg_recv(part, r->socket, 0) >= 0)
            return OK;
        if (errno != EAGAIN && errno != EINTR)
            break;
        if (bench_child_has_ended(&r->server))
            return err_fail(ERR_PEER, "the raw server has ended");
    }
    return err_fail(ERR_PEER, "the raw server does not answer: %s", zmq_strerror(errno));
}

/* n_parts out: 2 of a pull's answer, 1 of a push's. */
static Err hear(LinkRaw *r, int *n_parts) {
    zmq_msg_t part;
    Err err;
    zmq_msg_init(&part);
    *n_parts = 0;
    do {
        err = receive(r, &part);
        ++*n_parts;
    } while (!err && zmq_msg_more(&part));
    zmq_msg_close(&part);
    return err;
}

Err link_raw_rate(LinkRaw *r, double seconds, LinkRate *rate) {
    double cpu = bench_child_cpu_s(&r->server);
    uint64_t n_pushed = 0;
    int n_parts = 0, n_under_way = 0;
    Err err = OK;
    double start = bench_now_s(), end = start + seconds;
    for (; n_under_way < LINK_IN_FLIGHT; n_under_way++)
        ask(r, false);
    while (n_under_way && !(err = hear(r, &n_parts))) {
        n_pushed += n_parts == 1;
        if (n_parts == 2 || bench_now_s() < end)
            ask(r, n_parts == 2);
        else
            n_under_way--;
    }
    double n_rows = (double)n_pushed * r->requests->shape.n_rows;
    *rate = (LinkRate){n_rows / (bench_now_s() - start), n_rows / (bench_child_cpu_s(&r->server) - cpu)};
    return err;
}

Err link_raw_rtt(LinkRaw *r, double seconds, double *p50_us) {
    double *samples = must_alloc(MAX_SAMPLES * sizeof *samples);
    int n = 0, n_parts;
    Err err = OK;
    for (double end = bench_now_s() + seconds, at = 0; !err && at < end && n < MAX_SAMPLES; n++) {
        double before = bench_now_s();
        ask(r, false);
        err = hear(r, &n_parts);
        at = bench_now_s();
        samples[n] = (at - before) * 1e6;
    }
    *p50_us = err ? 0 : bench_spread(samples, n).median;
    free(samples);
    return err;
}
