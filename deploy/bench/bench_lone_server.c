/* The few words of a scheduler that a server needs to serve. */
#include "deploy/bench/bench_lone_server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/options.h"
#include "common/schema.h"

enum { HEARTBEAT_MS = 60000, DEAD_MS = 3600000, START_MS = 30000, WINDOW = 64, SERVER_ID = 1 };

static void fail(LoneServer *s, Err code) {
    s->code = code;
    loop_stop(s->loop);
}

static void answer(LoneServer *s, uint64_t peer, Message *m) {
    m->job = LONE_SERVER_JOB;
    if (link_send(s->link, peer, m))
        fail(s, ERR_PEER);
}

static void welcome(LoneServer *s, uint64_t peer) {
    Message m;
    char *text = config_text(s->config);
    message_init(&m, MESSAGE_WELCOME);
    m.welcome = (MessageWELCOME){
        .id = SERVER_ID, .config = config_fingerprint(s->config), .heartbeat_ms = HEARTBEAT_MS, .dead_ms = DEAD_MS};
    snprintf(m.welcome.version, sizeof m.welcome.version, "%s", MANGROVE_VERSION);
    message_add_bytes(&m, text, strlen(text));
    free(text);
    answer(s, peer, &m);
}

static void show_view(LoneServer *s, uint64_t peer) {
    static const uint16_t SLOTS[N_SLOTS]; /* all are the only server's */
    Message m;
    message_init(&m, MESSAGE_VIEW);
    m.view.map = m.view.n_servers = 1;
    message_add_bytes(&m, SLOTS, sizeof SLOTS);
    message_add_bytes(&m, s->endpoint, strlen(s->endpoint));
    message_add_bytes(&m, s->manifest, strlen(s->manifest));
    answer(s, peer, &m);
}

static void open_epoch(LoneServer *s, uint64_t peer) {
    Message m;
    message_init(&m, MESSAGE_EPOCH_OPEN);
    m.epoch_open = (MessageEPOCH_OPEN){.epoch = 1, .steps_a = LONE_SERVER_STEPS, .steps_b = LONE_SERVER_STEPS};
    answer(s, peer, &m);
}

static void on_receive(void *ctx, Link *link, uint64_t peer, Message *m) {
    (void)link;
    LoneServer *s = ctx;
    if (m->type == MESSAGE_HELLO && !s->endpoint[0]) {
        snprintf(s->endpoint, sizeof s->endpoint, "%s", m->hello.endpoint);
        welcome(s, peer);
        show_view(s, peer);
    } else if (m->type == MESSAGE_READY) {
        open_epoch(s, peer);
    } else if (m->type == MESSAGE_EPOCH_OPENED) {
        loop_stop(s->loop);
    } else if (m->type == MESSAGE_BYE) {
        fail(s, err_fail(ERR_FAILED, "the server that was to be measured has left: %s", m->bye.text));
    }
}

static void on_fault(void *ctx, Link *link, uint64_t peer, const char *sentence) {
    (void)link, (void)peer;
    fail(ctx, err_fail(ERR_PROTOCOL, "the server: %s", sentence));
}

Err lone_server_check(LoneServer *s) {
    supervisor_wait(&s->supervisor, 0, -1);
    if (s->code)
        return s->code;
    if (s->supervisor.n_stops)
        return err_fail(ERR_STOPPED, "stopped");
    if (s->supervisor.first_failed < 0)
        return OK;
    child_print_failure(&s->supervisor.children[0]);
    return err_fail(ERR_FAILED, "the server that was to be measured has ended");
}

static void look(void *ctx) {
    LoneServer *s = ctx;
    Err err = lone_server_check(s);
    if (err)
        fail(s, err);
}

static void is_late(void *ctx) {
    fail(ctx, err_fail(ERR_TIMEOUT, "the server has not opened its epoch within %d s", START_MS / 1000));
}

static Err start(LoneServer *s, const char *log_path) {
    const char *const argv[] = {"mangrove", "server", "--scheduler", link_endpoint(s->link), NULL};
    Err err = supervisor_open(&s->supervisor);
    if (err)
        return err;
    int child = supervisor_start(&s->supervisor, "server-0", log_path, argv, NULL);
    return child < 0 ? (Err)child : OK;
}

Err lone_server_open(LoneServer *s, const Config *config, const char *manifest, Loop *loop, Network *network,
                     const char *log_path) {
    *s = (LoneServer){.config = config, .manifest = manifest, .loop = loop};
    LinkOptions options = {.incarnation = network_new_incarnation(),
                           .window_messages = WINDOW,
                           .receive = on_receive,
                           .fault = on_fault,
                           .ctx = s};
    Err err = link_listen(&s->link, network, "tcp://127.0.0.1:0", &options);
    if (!err)
        err = start(s, log_path);
    if (err)
        return err;
    LoopTimer *watch = loop_timer(loop, 100, 100, look, s), *late = loop_timer(loop, START_MS, 0, is_late, s);
    loop_run(loop);
    loop_timer_close(&watch);
    loop_timer_close(&late);
    return s->code;
}

void lone_server_close(LoneServer *s) {
    link_close(&s->link);
    if (s->supervisor.signal_fd <= 0)
        return;
    supervisor_close(&s->supervisor);
    sigset_t all;
    sigfillset(&all); /* the supervisor had blocked its own */
    sigprocmask(SIG_UNBLOCK, &all, NULL);
}
