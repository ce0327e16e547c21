/* A worker's talk with the scheduler. Every message has a row in HANDLERS with the states in which it is expected; in
 * another state it is late or early and is passed over. */
#include "worker/member.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/options.h"

typedef enum MemberState {
    JOINING,    /* says HELLO each second until WELCOME */
    WELCOMED,   /* has the configuration, says HELLO each second until VIEW: the scheduler waits for other roles */
    CONNECTING, /* knows the servers, waits for their credit */
    ASKING,     /* says LEASE_ASK each second until LEASE */
    WORKING,    /* has a lease */
    LEAVING,    /* was told to stop and waits for the end of the step in hand */
    ENDED,      /* deaf and mute */
} MemberState;

enum {
    ASK_AGAIN_MS = 1000,
    SILENCES = 3, /* a scheduler silent for so many times dead_ms is gone */
    MAX_SERVERS = 4096,
};

struct Member {
    MemberState state;
    MemberEnv env;
    const DataInfo *info;
    const char *manifest, *scheduler;
    Config config;
    Geometry geometry;
    ClusterView view;
    char *endpoint_text; /* the lines that view.endpoints point into */
    uint64_t lease;
    uint64_t now_ms, opened_ms, asked_ms, heartbeat_ms, heard_ms, leaving_ms;
    uint32_t job, id;
    Message out;
};

static Message *new_message(Member *m, MessageType type) {
    message_init(&m->out, type);
    m->out.job = m->job;
    m->out.sender = m->id;
    return &m->out;
}

static void send(Member *m) {
    m->env.send(m->env.ctx, &m->out);
}

static void end(Member *m, Err code, const char *sentence) {
    if (m->state == ENDED)
        return;
    m->state = ENDED;
    m->env.finished(m->env.ctx, code, sentence);
}

/* Ends with the sentence, which may be err_message(), and tells the scheduler. */
static void leave(Member *m, Err code, const char *sentence) {
    if (m->state == ENDED)
        return;
    Message *bye = new_message(m, MESSAGE_BYE);
    bye->bye.code = (uint64_t)-code;
    snprintf(bye->bye.text, sizeof bye->bye.text, "%s", sentence);
    send(m);
    end(m, code, sentence);
}

static void say_hello(Member *m) {
    Message *hello = new_message(m, MESSAGE_HELLO);
    hello->hello.role = ROLE_WORKER;
    hello->hello.pid = (uint64_t)getpid();
    hello->hello.data = m->info->fingerprint;
    snprintf(hello->hello.version, sizeof hello->hello.version, "%s", MANGROVE_VERSION);
    if (gethostname(hello->hello.host, sizeof hello->hello.host - 1))
        hello->hello.host[0] = 0;
    message_add_bytes(hello, m->manifest, strlen(m->manifest));
    send(m);
    m->asked_ms = m->now_ms;
}

static void ask(Member *m) {
    m->state = ASKING;
    new_message(m, MESSAGE_LEASE_ASK);
    send(m);
    m->asked_ms = m->now_ms;
}

/* ---- messages ----------------------------------------------------------------------------------------------- */

static Err on_welcome(Member *m, Message *message) {
    const MessageWELCOME *w = &message->welcome;
    size_t size;
    const char *text = message_bytes(message, 0, message->n_frames, &size);
    if (!text)
        return err_fail(ERR_PROTOCOL, "the scheduler's welcome has no configuration");
    config_defaults(&m->config);
    Err err = config_parse(&m->config, text, size, "the scheduler's configuration");
    if (err)
        return err;
    if (config_fingerprint(&m->config) != w->config)
        return err_fail(ERR_PROTOCOL,
                        "the scheduler (version %s) reads its configuration as %016" PRIx64
                        ", this worker (version %s) as %016" PRIx64,
                        w->version, w->config, MANGROVE_VERSION, config_fingerprint(&m->config));
    m->job = message->job;
    m->id = (uint32_t)w->id;
    const TrainConfig *train = &m->config.train;
    uint32_t ranks = train->consistency == CONSISTENCY_SYNC ? (uint32_t)train->ranks : 1;
    err = geometry_init(&m->geometry, m->info->counts[m->config.eval.protocol], m->info->n_chunks, ranks,
                        (uint32_t)train->batch, (uint32_t)m->config.eval.batch);
    if (!err)
        err = m->env.welcomed(m->env.ctx, &m->config, &m->geometry,
                              &(WorkerIdentity){.job = m->job, .id = m->id, .rank = (uint32_t)w->rank});
    if (!err)
        m->state = WELCOMED;
    return err;
}

static void free_view(ClusterView *v, char **text) {
    free(v->endpoints);
    free(*text);
    *v = (ClusterView){0};
    *text = NULL;
}

static Err read_endpoints(Member *m, Message *message) {
    size_t size;
    const char *lines = message_bytes(message, 1, 1, &size);
    m->endpoint_text = must_alloc(size + 1);
    memcpy(m->endpoint_text, lines, size);
    m->endpoint_text[size] = 0;
    m->view.endpoints = must_calloc(m->view.n_servers, sizeof *m->view.endpoints);
    uint32_t n = 0;
    char *rest = m->endpoint_text;
    for (char *line; (line = strsep(&rest, "\n"));)
        if (*line && n++ < m->view.n_servers)
            m->view.endpoints[n - 1] = line;
    if (n != m->view.n_servers)
        return err_fail(ERR_PROTOCOL, "a view names %u endpoints for %u servers", n, m->view.n_servers);
    return OK;
}

static Err read_view(Member *m, Message *message) {
    const MessageVIEW *v = &message->view;
    if (v->n_servers == 0 || v->n_servers > MAX_SERVERS || v->map == 0 || message->n_frames < 2 ||
        message->frames[0].size_bytes != sizeof m->view.slots)
        return err_fail(ERR_PROTOCOL, "a view has %d frames for %llu servers", message->n_frames,
                        (unsigned long long)v->n_servers);
    m->view.map = v->map;
    m->view.n_servers = (uint32_t)v->n_servers;
    memcpy(m->view.slots, message->frames[0].data, sizeof m->view.slots);
    for (int i = 0; i < N_SLOTS; i++)
        if (m->view.slots[i] >= v->n_servers)
            return err_fail(ERR_PROTOCOL, "a view gives slot %d to server %u of %llu", i, m->view.slots[i],
                            (unsigned long long)v->n_servers);
    return read_endpoints(m, message);
}

static Err on_view(Member *m, Message *message) {
    if (message->view.map == m->view.map)
        return OK;
    free_view(&m->view, &m->endpoint_text);
    Err err = read_view(m, message);
    if (err)
        return err;
    m->state = CONNECTING;
    return m->env.viewed(m->env.ctx, &m->view);
}

static Err on_lease(Member *m, Message *message) {
    Assignment a;
    Err err = assignment_decode(&a, message, &m->geometry, &m->config);
    if (err)
        return err;
    m->state = WORKING;
    m->lease = a.lease;
    m->env.work(m->env.ctx, &a);
    return OK;
}

static Err on_revoke(Member *m, Message *message) {
    if (message->lease_revoke.lease == m->lease)
        m->env.revoke(m->env.ctx, m->lease);
    return OK;
}

static Err on_heartbeat(Member *m, Message *message) {
    (void)m;
    (void)message;
    return OK;
}

static Err on_refuse(Member *m, Message *message) {
    Err code = err_received(message->refuse.code);
    end(m, code ? code : ERR_PROTOCOL, message->refuse.text);
    return OK;
}

static Err on_finish(Member *m, Message *message) {
    leave(m, err_received(message->finish.code), message->finish.text); /* the scheduler waits for the BYE */
    return OK;
}

#define IN(state) (1 << (state))
enum { ANY = IN(JOINING) | IN(WELCOMED) | IN(CONNECTING) | IN(ASKING) | IN(WORKING) | IN(LEAVING) };

typedef struct Handler {
    int states;
    Err (*handle)(Member *m, Message *message);
} Handler;

static const Handler HANDLERS[] = {
    [MESSAGE_WELCOME] = {IN(JOINING), on_welcome},
    [MESSAGE_VIEW] = {IN(WELCOMED) | IN(CONNECTING) | IN(ASKING), on_view},
    [MESSAGE_LEASE] = {IN(ASKING), on_lease},
    [MESSAGE_LEASE_REVOKE] = {IN(WORKING), on_revoke},
    [MESSAGE_HEARTBEAT] = {ANY, on_heartbeat},
    [MESSAGE_REFUSE] = {ANY, on_refuse},
    [MESSAGE_FINISH] = {ANY, on_finish},
};

void member_on_message(Member *m, Message *message, uint64_t now_ms) {
    if (m->state == ENDED)
        return;
    m->now_ms = m->heard_ms = now_ms;
    size_t type = (size_t)message->type;
    const Handler *h = type < sizeof HANDLERS / sizeof *HANDLERS ? &HANDLERS[type] : NULL;
    if (!h || !(h->states & IN(m->state)))
        return;
    Err err = h->handle(m, message);
    if (err)
        leave(m, err, err_message());
}

/* ---- time --------------------------------------------------------------------------------------------------- */

static void send_heartbeat(Member *m, uint64_t now_ms) {
    MemberStats stats = m->env.stats(m->env.ctx);
    Message *beat = new_message(m, MESSAGE_HEARTBEAT);
    beat->heartbeat.lease = m->lease;
    beat->heartbeat.n_steps = stats.n_steps;
    beat->heartbeat.n_instances = stats.n_instances;
    beat->heartbeat.sent_bytes = stats.sent_bytes;
    beat->heartbeat.received_bytes = stats.received_bytes;
    send(m);
    m->heartbeat_ms = now_ms;
}

/* Every message may be lost with a connection: what is waited for is asked for again. */
static void ask_again(Member *m) {
    if (m->now_ms - m->asked_ms < ASK_AGAIN_MS)
        return;
    if (m->state == JOINING || m->state == WELCOMED)
        say_hello(m);
    else if (m->state == ASKING)
        ask(m);
}

static void check_time(Member *m) {
    const ClusterConfig *c = &m->config.cluster;
    uint64_t now_ms = m->now_ms, patience_ms = SILENCES * (uint64_t)c->dead_ms;
    char sentence[MESSAGE_TEXT];
    if (m->state == JOINING && now_ms - m->opened_ms > (uint64_t)c->join_s * 1000) {
        snprintf(sentence, sizeof sentence,
                 "waited %d s for the scheduler at %s to answer: is it running, and is this its address?", c->join_s,
                 m->scheduler);
        end(m, ERR_TIMEOUT, sentence);
    } else if (m->state != JOINING && now_ms - m->heard_ms > patience_ms) {
        snprintf(sentence, sizeof sentence, "the scheduler at %s has been silent for %" PRIu64 " s", m->scheduler,
                 (now_ms - m->heard_ms) / 1000);
        end(m, ERR_PEER, sentence);
    } else if (m->state == LEAVING && now_ms - m->leaving_ms > patience_ms) {
        leave(m, ERR_STOPPED, "stopped as asked, without the step in hand: it did not end in time");
    }
}

void member_on_tick(Member *m, uint64_t now_ms) {
    if (m->state == ENDED)
        return;
    m->now_ms = now_ms;
    check_time(m);
    if (m->state == ENDED)
        return;
    ask_again(m);
    if (m->state != JOINING && now_ms - m->heartbeat_ms >= (uint64_t)m->config.cluster.heartbeat_ms)
        send_heartbeat(m, now_ms);
}

/* ---- the worker's own events -------------------------------------------------------------------------------- */

void member_on_connected(Member *m) {
    if (m->state == CONNECTING)
        ask(m);
}

void member_on_lease_over(Member *m, Err code, const char *sentence, const TrainerResult *result) {
    if (m->state != WORKING && m->state != LEAVING)
        return;
    Message *message = new_message(m, MESSAGE_LEASE_END);
    message->lease_end.lease = m->lease;
    message->lease_end.is_done = !code && result->is_done;
    message->lease_end.n_steps = result->n_steps;
    message->lease_end.n_instances = result->n_instances;
    send(m);
    m->lease = 0;
    if (code)
        leave(m, code, sentence);
    else if (m->state == LEAVING)
        leave(m, ERR_STOPPED, "stopped as asked");
    else
        ask(m);
}

void member_on_failure(Member *m, Err code, const char *sentence) {
    leave(m, code, sentence);
}

void member_on_stop(Member *m, uint64_t now_ms) {
    m->now_ms = now_ms;
    if (m->state == WORKING) {
        m->state = LEAVING;
        m->leaving_ms = now_ms;
        m->env.revoke(m->env.ctx, m->lease);
    } else if (m->state != LEAVING) {
        leave(m, ERR_STOPPED, "stopped as asked");
    }
}

void member_open(Member **out, const DataInfo *info, const char *manifest, const char *scheduler, const MemberEnv *env,
                 uint64_t now_ms) {
    Member *m = must_calloc(1, sizeof *m);
    m->env = *env;
    m->info = info;
    m->manifest = manifest;
    m->scheduler = scheduler;
    m->now_ms = m->opened_ms = m->heard_ms = m->heartbeat_ms = now_ms;
    config_defaults(&m->config);
    *out = m;
    say_hello(m);
}

void member_close(Member **m) {
    if (!*m)
        return;
    geometry_free(&(*m)->geometry);
    free_view(&(*m)->view, &(*m)->endpoint_text);
    free(*m);
    *m = NULL;
}
