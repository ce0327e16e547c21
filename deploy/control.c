#include "deploy/control.h"

#include <argp.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/files.h"
#include "common/log.h"
#include "proto/link.h"
#include "proto/loop.h"

enum {
    MAX_TIMEOUT_S = 86400,
    ASK_AGAIN_MS = 1000,
    ASK_SOON_MS = 200,
    SILENCE_MS = 10000,
    WINDOW = 8,
    LINGER_MS = 100,
    ENDPOINT_BYTES = 512
};

/* ---- the command line ------------------------------------------------------------------------------------------- */

static error_t parse(int key, char *arg, struct argp_state *state) {
    Control *c = state->input;
    char *end;
    switch (key) {
    case 'j':
        c->is_json = true;
        return 0;
    case 't':
        c->timeout_s = (int)strtol(arg, &end, 10);
        if (*end || c->timeout_s < 1 || c->timeout_s > MAX_TIMEOUT_S)
            argp_error(state, "--timeout is \"%s\"; 1 to %d seconds are possible", arg, MAX_TIMEOUT_S);
        return 0;
    case ARGP_KEY_ARG:
        if (c->scheduler)
            argp_error(state, "one SCHEDULER, please; \"%s\" is a second", arg);
        c->scheduler = arg;
        return 0;
    case ARGP_KEY_END:
        if (!c->scheduler)
            argp_error(state, "which SCHEDULER? tcp://host:port, or the directory of its run");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option OPTIONS[] = {
    {"json", 'j', NULL, 0, "Print the scheduler's answer as JSON", 0},
    {"timeout", 't', "SECONDS", 0, "How long to wait (default: 5; for a snapshot 1800)", 0},
    {0},
};

/* ---- question and answer ---------------------------------------------------------------------------------------- */

typedef struct Talk {
    Loop *loop;
    Network *network;
    Link *link;
    const ControlQuestion *question;
    uint64_t end_ms, heard_ms; /* heard_ms 0: not yet */
    Err result;
    char sentence[MESSAGE_TEXT];
    Control *control;
} Talk;

static void finish(Talk *t, Err result, const char *sentence) {
    t->result = result;
    snprintf(t->sentence, sizeof t->sentence, "%s", sentence);
    loop_stop(t->loop);
}

static void ask(Talk *t) {
    Message m;
    message_init(&m, t->question->type);
    if (link_send(t->link, 0, &m))
        log_debug("not sent: %s", err_message());
}

static void on_tick(void *ctx) {
    Talk *t = ctx;
    uint64_t now_ms = loop_now_ms(t->loop);
    if (t->heard_ms && now_ms - t->heard_ms >= SILENCE_MS)
        finish(t, ERR_PEER, "the scheduler has fallen silent: has the run ended?");
    else if (now_ms < t->end_ms)
        ask(t);
    else
        finish(t, ERR_TIMEOUT,
               t->heard_ms ? "what was asked for has not come about in time"
                           : "no answer: is the run still going on, and is this its scheduler?");
}

static void take_answer(Control *c, const char *text, size_t size) {
    free(c->text);
    c->text = must_calloc(size + 1, 1);
    memcpy(c->text, text, size);
    json_decref(c->status);
    c->status = json_loads(c->text, 0, NULL);
}

static void on_receive(void *ctx, Link *link, uint64_t peer, Message *m) {
    (void)link, (void)peer;
    Talk *t = ctx;
    size_t size = 0;
    if (m->type != MESSAGE_STATUS || !m->n_frames) {
        finish(t, ERR_PROTOCOL, "it answers with something else than its status");
        return;
    }
    const char *text = message_bytes(m, 0, m->n_frames, &size);
    take_answer(t->control, text, size);
    t->heard_ms = loop_now_ms(t->loop);
    if (!t->control->status)
        finish(t, ERR_PROTOCOL, "its status is no JSON");
    else if (!t->question->is_final || t->question->is_final(t->control->status))
        finish(t, OK, "");
}

static void on_fault(void *ctx, Link *link, uint64_t peer, const char *sentence) {
    (void)link, (void)peer;
    finish(ctx, ERR_PROTOCOL, sentence);
}

static Err talk(Talk *t, const char *endpoint) {
    LinkOptions options = {.incarnation = network_new_incarnation(),
                           .window_messages = WINDOW,
                           .receive = on_receive,
                           .fault = on_fault,
                           .ctx = t};
    Err err = loop_open(&t->loop);
    if (!err)
        err = network_open(&t->network, t->loop);
    if (!err)
        err = link_dial(&t->link, t->network, endpoint, &options);
    if (err)
        return err;
    t->end_ms = loop_now_ms(t->loop) + (uint64_t)t->control->timeout_s * 1000;
    ask(t);
    uint64_t every_ms = t->question->is_final ? ASK_SOON_MS : ASK_AGAIN_MS;
    loop_timer(t->loop, every_ms, every_ms, on_tick, t);
    loop_run(t->loop);
    return t->result;
}

static Err ask_scheduler(Control *c, const ControlQuestion *question, const char *endpoint) {
    Talk t = {.question = question, .control = c};
    Err err = talk(&t, endpoint);
    link_close(&t.link);
    network_close(&t.network, LINGER_MS);
    loop_close(&t.loop);
    return t.result ? err_fail(t.result, "%s: %s", endpoint, t.sentence) : err;
}

/* A run's directory holds its scheduler's endpoint. */
static Err find_endpoint(const char *scheduler, char *endpoint) {
    char path[ENDPOINT_BYTES + 32], *text;
    struct stat st;
    size_t size;
    snprintf(endpoint, ENDPOINT_BYTES, "%s", scheduler);
    if (stat(scheduler, &st) || !S_ISDIR(st.st_mode))
        return OK;
    snprintf(path, sizeof path, "%.*s/scheduler.endpoint", ENDPOINT_BYTES, scheduler);
    Err err = read_file(path, ENDPOINT_BYTES - 1, &text, &size);
    if (err)
        return err;
    snprintf(endpoint, ENDPOINT_BYTES, "%.*s", (int)size, text);
    free(text);
    return OK;
}

Err control_run(Control *c, const ControlQuestion *question, int argc, char **argv) {
    const struct argp argp = {OPTIONS, parse, "SCHEDULER", question->doc, NULL, NULL, NULL};
    char endpoint[ENDPOINT_BYTES];
    *c = (Control){.timeout_s = question->timeout_s};
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    argp_parse(&argp, argc, argv, 0, NULL, c);
    Err err = find_endpoint(c->scheduler, endpoint);
    if (!err)
        err = ask_scheduler(c, question, endpoint);
    if (err)
        return err;
    if (c->is_json)
        puts(c->text);
    return OK;
}

void control_free(Control *c) {
    json_decref(c->status);
    free(c->text);
    *c = (Control){0};
}
