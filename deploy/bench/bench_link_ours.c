/* A real server process over loopback tcp; this process plays its scheduler and its worker.
 *
 * DESIGN. The server is server_run() in a forked child, with a schema of one table. Here one loop has both links: the
 * scheduler's says what a scheduler says until the epoch is open, then the worker's greets, and from then on `lanes`
 * requests are under way, each a pull, then a push of the same rows, then a pull of the next set. Frames of requests
 * are made once and sent again and again; values that arrive are not looked at: the raw yardstick does neither. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/options.h"
#include "deploy/bench/bench.h"
#include "deploy/bench/bench_child.h"
#include "deploy/bench/bench_link.h"
#include "deploy/bench/bench_link_setup.h"
#include "proto/buffer.h"
#include "proto/link.h"
#include "proto/loop.h"

enum { MAX_SAMPLES = 1 << 20, LOOK_MS = 500 };

struct LinkOurs {
    const LinkRequests *requests;
    Config config;
    BenchChild server;
    Loop *loop;
    Network *network;
    Link *scheduler, *worker;
    char endpoint[MESSAGE_TEXT]; /* of the server, for workers */
    uint64_t scheduler_incarnation, worker_incarnation;
    Frame keys[LINK_SETS], grads;
    uint64_t n_pulls, n_pushes, n_heard, n_heard_before; /* before: when it was last looked at */
    uint64_t silent_ms;
    int n_under_way;
    double end_s, asked_s, *samples; /* samples: of round trips, else NULL */
    int n_samples;
    Err result;
};

static void fail(LinkOurs *o, const char *sentence) {
    o->result = err_fail(ERR_PEER, "the benchmark's server: %s", sentence);
    loop_stop(o->loop);
}

static void send(LinkOurs *o, Link *link, uint64_t peer, Message *m) {
    if (link_send(link, peer, m))
        fail(o, err_message());
}

static void on_fault(void *ctx, Link *link, uint64_t peer, const char *sentence) {
    (void)link, (void)peer;
    fail(ctx, sentence);
}

static void on_look(void *ctx) {
    LinkOurs *o = ctx;
    o->silent_ms = o->n_heard == o->n_heard_before ? o->silent_ms + LOOK_MS : 0;
    if (bench_child_has_ended(&o->server))
        fail(o, "it has ended");
    else if (o->silent_ms >= LINK_PATIENCE_S * 1000)
        fail(o, "it does not answer");
    o->n_heard_before = o->n_heard;
}

/* ---- the worker ------------------------------------------------------------------------------------------------- */

static void add_frame(Message *m, const Frame *frame) {
    buffer_ref(frame->buffer);
    m->frames[m->n_frames++] = *frame;
}

static void pull(LinkOurs *o) {
    Message m;
    message_init(&m, MESSAGE_PULL);
    m.sequence = o->n_pulls++;
    m.pull = (MessagePULL){.epoch = 1, .step = m.sequence, .map = 1, .n_keys = o->requests->shape.n_rows};
    m.job = LINK_JOB;
    add_frame(&m, &o->keys[m.sequence % LINK_SETS]);
    send(o, o->worker, 0, &m);
}

static void push(LinkOurs *o, uint64_t step) {
    Message m;
    message_init(&m, MESSAGE_PUSH);
    m.sequence = step;
    m.push = (MessagePUSH){.epoch = 1, .step = step, .map = 1, .n_keys = o->requests->shape.n_rows};
    m.job = LINK_JOB;
    add_frame(&m, &o->keys[step % LINK_SETS]);
    add_frame(&m, &o->grads);
    send(o, o->worker, 0, &m);
}

static void on_answer(LinkOurs *o, const Message *m) {
    if (m->type == MESSAGE_VALUES && m->values.status == STATUS_OK && !o->samples) {
        push(o, m->sequence);
        return;
    }
    double now = bench_now_s();
    if (o->samples && o->n_samples < MAX_SAMPLES)
        o->samples[o->n_samples++] = (now - o->asked_s) * 1e6;
    o->n_pushes += m->type == MESSAGE_PUSHED;
    o->asked_s = now;
    if (now < o->end_s)
        pull(o);
    else if (--o->n_under_way == 0)
        loop_stop(o->loop);
}

static void from_server(void *ctx, Link *link, uint64_t peer, Message *m) {
    (void)link, (void)peer;
    LinkOurs *o = ctx;
    o->n_heard++;
    if (m->type == MESSAGE_WELCOME)
        loop_stop(o->loop);
    else if (m->type == MESSAGE_REFUSE)
        fail(o, m->refuse.text);
    else if ((m->type == MESSAGE_VALUES && m->values.status == STATUS_OK) ||
             (m->type == MESSAGE_PUSHED && m->pushed.status == STATUS_OK))
        on_answer(o, m);
    else
        fail(o, "it answers what was not asked, or more steps than an epoch has");
}

static Err run(LinkOurs *o) {
    o->result = OK;
    o->silent_ms = 0;
    loop_run(o->loop);
    return o->result;
}

static Err run_lanes(LinkOurs *o, int n_lanes, double seconds) {
    o->asked_s = bench_now_s();
    o->end_s = o->asked_s + seconds;
    o->n_under_way = n_lanes;
    for (int i = 0; i < n_lanes; i++)
        pull(o);
    return run(o);
}

Err link_ours_rate(LinkOurs *o, double seconds, LinkRate *rate) {
    double cpu = bench_child_cpu_s(&o->server);
    uint64_t before = o->n_pushes;
    double start = bench_now_s();
    Err err = run_lanes(o, LINK_IN_FLIGHT, seconds);
    double n_rows = (double)(o->n_pushes - before) * o->requests->shape.n_rows;
    *rate = (LinkRate){n_rows / (bench_now_s() - start), n_rows / (bench_child_cpu_s(&o->server) - cpu)};
    return err;
}

Err link_ours_rtt(LinkOurs *o, double seconds, double *p50_us) {
    o->samples = must_alloc(MAX_SAMPLES * sizeof *o->samples);
    o->n_samples = 0;
    Err err = run_lanes(o, 1, seconds);
    *p50_us = err ? 0 : bench_spread(o->samples, o->n_samples).median;
    free(o->samples);
    o->samples = NULL;
    return err;
}

/* ---- the scheduler ---------------------------------------------------------------------------------------------- */

static Err dial_server(LinkOurs *o) {
    LinkOptions options = {.incarnation = o->worker_incarnation,
                           .window_messages = LINK_WINDOW,
                           .receive = from_server,
                           .fault = on_fault,
                           .ctx = o};
    Message m;
    message_init(&m, MESSAGE_HELLO);
    m.job = LINK_JOB;
    m.hello.role = ROLE_WORKER;
    snprintf(m.hello.version, sizeof m.hello.version, "%s", MANGROVE_VERSION);
    Err err = link_dial(&o->worker, o->network, o->endpoint, &options);
    if (err)
        message_free(&m);
    return err ? err : link_send(o->worker, 0, &m);
}

static void from_schedulers_link(void *ctx, Link *link, uint64_t peer, Message *m) {
    LinkOurs *o = ctx;
    Message out;
    switch (m->type) {
    case MESSAGE_HELLO:
        snprintf(o->endpoint, sizeof o->endpoint, "%s", m->hello.endpoint);
        link_setup_welcome(&out, &o->config);
        send(o, link, peer, &out);
        link_setup_view(&out, o->endpoint);
        send(o, link, peer, &out);
        return;
    case MESSAGE_READY:
        link_setup_epoch(&out);
        send(o, link, peer, &out);
        return;
    case MESSAGE_EPOCH_OPENED:
        if (dial_server(o))
            fail(o, err_message());
        return;
    case MESSAGE_BYE:
        fail(o, m->bye.text);
        return;
    default: /* HEARTBEAT */
        return;
    }
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

Err link_ours_start(LinkOurs **out, const Config *config, const LinkRequests *requests) {
    LinkOurs *o = must_calloc(1, sizeof *o);
    *out = o;
    o->requests = requests;
    o->config = link_setup_config(config);
    return bench_child_start(&o->server, link_setup_serve, (void *)(uintptr_t)&requests->shape);
}

static Frame frame_of(const void *data, size_t size_bytes) {
    Frame frame = {.size_bytes = size_bytes, .buffer = buffer_new(size_bytes)};
    frame.data = buffer_data(frame.buffer);
    memcpy(frame.data, data, size_bytes);
    return frame;
}

Err link_ours_connect(LinkOurs *o) {
    const LinkShape *shape = &o->requests->shape;
    for (int k = 0; k < LINK_SETS; k++)
        o->keys[k] = frame_of(o->requests->keys[k], shape->n_rows * sizeof **o->requests->keys);
    o->grads = frame_of(o->requests->grads, (size_t)shape->n_rows * shape->width * sizeof *o->requests->grads);
    o->scheduler_incarnation = network_new_incarnation();
    o->worker_incarnation = network_new_incarnation();
    LinkOptions options = {.incarnation = o->scheduler_incarnation,
                           .window_messages = LINK_WINDOW,
                           .receive = from_schedulers_link,
                           .fault = on_fault,
                           .ctx = o};
    Err err = loop_open(&o->loop);
    if (!err)
        err = network_open(&o->network, o->loop);
    if (!err)
        err = link_listen(&o->scheduler, o->network, "tcp://127.0.0.1:0", &options);
    if (!err)
        err = bench_pipe_write(o->server.to, link_endpoint(o->scheduler));
    if (err)
        return err;
    loop_timer(o->loop, LOOK_MS, LOOK_MS, on_look, o);
    err = run(o); /* until the server's WELCOME */
    while (!err && o->n_pushes < LINK_SETS)
        err = run_lanes(o, LINK_IN_FLIGHT, 0);
    return err;
}

void link_ours_close(LinkOurs **out) {
    LinkOurs *o = *out;
    if (!o)
        return;
    bench_child_end(&o->server);
    link_close(&o->worker);
    link_close(&o->scheduler);
    network_close(&o->network, 0);
    loop_close(&o->loop);
    for (int k = 0; k < LINK_SETS; k++)
        buffer_unref(o->keys[k].buffer);
    buffer_unref(o->grads.buffer);
    free(o);
    *out = NULL;
}
