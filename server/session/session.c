/* The session's life: from HELLO to BYE, as the scheduler says. */
#include "server/session/session.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/options.h"
#include "server/session/session_parts.h"

enum {
    HELLO_EVERY_MS = 1000,
    SILENT_FACTOR = 2, /* the scheduler is given up after so many times dead_ms: it should have dropped us before */
};

/* ---- what every part uses ------------------------------------------------------------------------------------- */

Message *session_message(Session *s, MessageType type, uint64_t sequence) {
    message_init(&s->out, type);
    s->out.job = s->up.job;
    s->out.sender = s->up.id;
    s->out.incarnation = s->incarnation;
    s->out.sequence = sequence;
    return &s->out;
}

void session_send(Session *s, uint64_t peer) {
    for (int i = 0; i < s->out.n_frames; i++)
        s->stats.sent_bytes += s->out.frames[i].size_bytes;
    s->env.outbox.send(s->env.outbox.ctx, peer, &s->out);
}

/* The scheduler is told first, so that it can name the cause. */
void session_end(Session *s, Err code, const char *sentence) {
    if (s->state == SESSION_ENDED)
        return;
    char text[MESSAGE_TEXT];
    snprintf(text, sizeof text, "%s", sentence);
    s->state = SESSION_ENDED;
    MessageBYE *bye = &session_message(s, MESSAGE_BYE, 0)->bye;
    bye->code = (uint64_t)-code;
    memcpy(bye->text, text, sizeof text);
    session_send(s, PEER_SCHEDULER);
    s->env.finished(s->env.ctx, code, text);
}

float *session_scratch(Session *s, size_t size_bytes) {
    if (size_bytes > s->scratch_bytes) {
        s->scratch_bytes = size_bytes + size_bytes / 2;
        s->scratch = must_realloc(s->scratch, s->scratch_bytes);
    }
    return s->scratch;
}

uint32_t session_n_steps(const Session *s, int domain) {
    uint32_t n = 0;
    store_bitmap(s->store, domain, &n);
    return n;
}

bool session_is_full(const Session *s) {
    for (int d = 0; d < N_DOMAINS; d++) {
        uint32_t n = 0;
        const uint8_t *bits = store_bitmap(s->store, d, &n);
        if (!bitmap_is_full(bits, n))
            return false;
    }
    return true;
}

/* ---- the start ------------------------------------------------------------------------------------------------ */

static void send_hello(Session *s) {
    MessageHELLO *hello = &session_message(s, MESSAGE_HELLO, 0)->hello;
    hello->role = ROLE_SERVER;
    hello->pid = s->env.pid;
    snprintf(hello->host, sizeof hello->host, "%s", s->env.host ? s->env.host : "");
    snprintf(hello->version, sizeof hello->version, "%s", MANGROVE_VERSION);
    snprintf(hello->endpoint, sizeof hello->endpoint, "%s", s->endpoint);
    session_send(s, PEER_SCHEDULER);
    s->up.hello_ms = s->now_ms;
}

static Err take_config(Session *s, Message *m) {
    size_t size = 0;
    for (int i = 0; i < m->n_frames; i++)
        size += m->frames[i].size_bytes;
    if (size > SESSION_TEXT_BYTES)
        return err_fail(ERR_PROTOCOL, "the scheduler's configuration has %zu bytes; at most %d are allowed", size,
                        SESSION_TEXT_BYTES);
    const char *text = m->n_frames ? message_bytes(m, 0, m->n_frames, &size) : "";
    config_defaults(&s->config);
    Err err = config_parse(&s->config, text, size, "the scheduler's configuration");
    if (err)
        return err;
    uint64_t fingerprint = config_fingerprint(&s->config);
    if (fingerprint != m->welcome.config)
        return err_fail(ERR_PROTOCOL,
                        "the scheduler's configuration has fingerprint %016lx here and %016lx there: are "
                        "all roles of one build?",
                        (unsigned long)fingerprint, (unsigned long)m->welcome.config);
    if (s->config.train.ranks > UNDO_MAX_RANKS)
        return err_fail(ERR_CONFIG, "train.ranks is %d; a server keeps at most %d", s->config.train.ranks,
                        UNDO_MAX_RANKS);
    s->is_sync = s->config.train.consistency == CONSISTENCY_SYNC;
    s->n_ranks = s->is_sync ? (uint32_t)s->config.train.ranks : 1;
    return OK;
}

static Err on_welcome(Session *s, Message *m) {
    const MessageWELCOME *w = &m->welcome;
    if (s->state != SESSION_JOINING)
        return OK; /* the answer to a HELLO that was repeated */
    if (strcmp(w->version, MANGROVE_VERSION))
        return err_fail(ERR_PROTOCOL,
                        "the scheduler is mangrove %.32s, this server is %s: start one version everywhere", w->version,
                        MANGROVE_VERSION);
    if (!w->heartbeat_ms || w->heartbeat_ms > w->dead_ms || w->rank >= UINT16_MAX || w->id > UINT32_MAX)
        return err_fail(ERR_PROTOCOL,
                        "the scheduler's WELCOME carries impossible numbers: rank %lu, heartbeat %lu ms, "
                        "dead %lu ms",
                        (unsigned long)w->rank, (unsigned long)w->heartbeat_ms, (unsigned long)w->dead_ms);
    Err err = take_config(s, m);
    if (err)
        return err;
    s->up.incarnation = m->incarnation;
    s->up.job = m->job;
    s->up.id = (uint32_t)w->id;
    s->up.rank = (uint32_t)w->rank;
    s->up.heartbeat_ms = w->heartbeat_ms;
    s->up.dead_ms = w->dead_ms;
    s->up.config_fingerprint = w->config;
    s->state = SESSION_WAITING;
    return OK;
}

static Err take_slots(Session *s, Message *m) {
    const MessageVIEW *v = &m->view;
    if (m->n_frames < 3 || m->frames[0].size_bytes != sizeof s->view.slots)
        return err_fail(ERR_PROTOCOL, "a VIEW of %d frames, where the slot map, endpoints and manifest were expected",
                        m->n_frames);
    if (!v->map || v->n_servers == 0 || v->n_servers > UINT16_MAX || s->up.rank >= v->n_servers)
        return err_fail(ERR_PROTOCOL, "a VIEW of map %lu and %lu servers came to server %u", (unsigned long)v->map,
                        (unsigned long)v->n_servers, s->up.rank);
    memcpy(s->view.slots, m->frames[0].data, sizeof s->view.slots);
    for (int i = 0; i < N_SLOTS; i++) {
        if (s->view.slots[i] >= v->n_servers)
            return err_fail(ERR_PROTOCOL, "a VIEW gives slot %d to server %d of %lu", i, s->view.slots[i],
                            (unsigned long)v->n_servers);
    }
    s->view.map = v->map;
    s->view.n_servers = (uint32_t)v->n_servers;
    return OK;
}

static Err make_schema(Session *s, Message *m) {
    size_t size;
    const char *manifest = message_bytes(m, 2, m->n_frames - 2, &size);
    DataInfo data;
    Err err = datainfo_parse(&data, manifest, size);
    if (err)
        return err;
    err = s->env.schema(s->env.schema_ctx, &s->config, &data, &s->schema);
    datainfo_free(&data);
    for (int i = 0; !err && i < s->schema.n_tables; i++) {
        if (s->schema.tables[i].width > SESSION_ROW_BYTES / sizeof(real))
            return err_fail(ERR_CONFIG, "rows of table %s are %u wide; at most %zu are allowed",
                            s->schema.tables[i].name, s->schema.tables[i].width, SESSION_ROW_BYTES / sizeof(real));
    }
    return err;
}

void session_say_ready(Session *s) {
    session_message(s, MESSAGE_READY, s->view.sequence)->ready.map = s->view.map;
    session_send(s, PEER_SCHEDULER);
    session_welcome_greeted(s);
}

/* A copy that comes while rows are loaded is answered when they are. */
static Err on_view(Session *s, Message *m) {
    if (s->state >= SESSION_LOADING && m->view.map != s->view.map)
        return err_fail(ERR_PROTOCOL, "a VIEW of map %lu came to a server of map %lu: slots cannot move",
                        (unsigned long)m->view.map, (unsigned long)s->view.map);
    s->view.sequence = m->sequence;
    if (s->state == SESSION_WAITING) {
        Err err = take_slots(s, m);
        if (!err)
            err = make_schema(s, m);
        if (!err)
            err = session_begin(s, &m->view);
        if (err)
            return err;
    }
    if (s->state == SESSION_SERVING)
        session_say_ready(s);
    return OK;
}

/* Rule 10: on the scheduler's word and with full bitmaps. The answer names the epoch that is open now. */
static Err on_epoch_open(Session *s, Message *m) {
    const MessageEPOCH_OPEN *e = &m->epoch_open;
    if (e->steps_a > SESSION_MAX_STEPS || e->steps_b > SESSION_MAX_STEPS || !(e->steps_a + e->steps_b) || !e->epoch ||
        e->epoch > UINT32_MAX)
        return err_fail(ERR_PROTOCOL, "the scheduler opens epoch %lu of %lu and %lu steps; a domain has at most %d",
                        (unsigned long)e->epoch, (unsigned long)e->steps_a, (unsigned long)e->steps_b,
                        SESSION_MAX_STEPS);
    bool is_next = !store_epoch(s->store) || (e->epoch == store_epoch(s->store) + 1 && session_is_full(s));
    if (is_next && !s->cut.is_writing) {
        store_open_epoch(s->store, (uint32_t)e->epoch, (const uint32_t[]){(uint32_t)e->steps_a, (uint32_t)e->steps_b});
        undo_clear(&s->undo_pending);
        undo_clear(&s->undo_last);
    }
    uint32_t epoch = store_epoch(s->store);
    session_message(s, MESSAGE_EPOCH_OPENED, m->sequence)->epoch_opened.epoch = epoch;
    session_send(s, PEER_SCHEDULER);
    session_unpark(s, &s->pulls, session_serve_pull);
    return OK;
}

/* ---- the end -------------------------------------------------------------------------------------------------- */

static Err code_of(uint64_t wire) {
    return wire <= (uint64_t)-ERR_FULL ? (Err) - (int)wire : ERR_FAILED;
}

static Err on_finish(Session *s, Message *m) {
    session_end(s, code_of(m->finish.code), m->finish.text);
    return OK;
}

static Err on_refuse(Session *s, Message *m) {
    (void)s;
    Err code = code_of(m->refuse.code);
    return err_fail(code == OK ? ERR_PROTOCOL : code, "the scheduler refused this server: %.400s", m->refuse.text);
}

static Err on_heartbeat(Session *s, Message *m) {
    (void)s, (void)m; /* that it came is all that counts */
    return OK;
}

/* ---- events --------------------------------------------------------------------------------------------------- */

typedef struct Handler {
    Err (*handle)(Session *s, Message *m);
    SessionState from; /* ignored in an earlier state: meant for somebody before us */
} Handler;

static const Handler HANDLERS[] = {
    [MESSAGE_WELCOME] = {on_welcome, SESSION_JOINING},       [MESSAGE_REFUSE] = {on_refuse, SESSION_JOINING},
    [MESSAGE_HEARTBEAT] = {on_heartbeat, SESSION_JOINING},   [MESSAGE_VIEW] = {on_view, SESSION_WAITING},
    [MESSAGE_EPOCH_OPEN] = {on_epoch_open, SESSION_SERVING}, [MESSAGE_REPORT_ASK] = {session_report, SESSION_SERVING},
    [MESSAGE_MARK] = {session_mark, SESSION_SERVING},        [MESSAGE_RESUME] = {session_resume, SESSION_SERVING},
    [MESSAGE_FINISH] = {on_finish, SESSION_JOINING},
};

void session_on_scheduler(Session *s, Message *m, uint64_t now_ms) {
    if (s->state == SESSION_ENDED)
        return;
    s->now_ms = now_ms;
    s->up.silent_ms = 0;
    const Handler *h = m->type < sizeof HANDLERS / sizeof *HANDLERS ? &HANDLERS[m->type] : NULL;
    Err err = OK;
    if (s->up.incarnation && m->incarnation != s->up.incarnation)
        err = err_fail(ERR_PEER, "the scheduler was started again: this server belongs to the run before");
    else if (!h || !h->handle)
        err = err_fail(ERR_PROTOCOL, "the scheduler sent %s, which a server does not take", message_type_name(m->type));
    else if (s->state >= h->from)
        err = h->handle(s, m);
    if (err)
        session_end(s, err, err_message());
}

static void send_heartbeat(Session *s) {
    MessageHEARTBEAT *h = &session_message(s, MESSAGE_HEARTBEAT, 0)->heartbeat;
    if (s->store) {
        StoreStats stats = store_stats(s->store);
        h->n_rows = stats.n_rows;
        h->used_bytes = stats.used_bytes + stats.held_bytes;
    }
    h->sent_bytes = s->stats.sent_bytes;
    h->received_bytes = s->stats.received_bytes;
    session_send(s, PEER_SCHEDULER);
    s->up.heartbeat_sent_ms = s->now_ms;
}

static void check_joining(Session *s) {
    Config defaults;
    config_defaults(&defaults); /* the run's own configuration comes with the answer that we wait for */
    if (s->up.waited_ms >= (uint64_t)defaults.cluster.join_s * 1000) {
        err_fail(ERR_TIMEOUT, "the scheduler has not answered for %d seconds: is it running, and is its address right?",
                 defaults.cluster.join_s);
        session_end(s, ERR_TIMEOUT, err_message());
    } else if (s->now_ms - s->up.hello_ms >= HELLO_EVERY_MS)
        send_hello(s);
}

/* Silence is counted in ticks of at most a second: a process that was stopped itself does not blame the scheduler. */
void session_on_tick(Session *s, uint64_t now_ms) {
    if (s->state == SESSION_ENDED)
        return;
    uint64_t gap = now_ms - s->up.tick_ms;
    s->now_ms = s->up.tick_ms = now_ms;
    s->up.silent_ms += gap < 1000 ? gap : 1000;
    s->up.waited_ms += gap < 1000 ? gap : 1000;
    if (s->state == SESSION_JOINING) {
        check_joining(s);
        return;
    }
    if (s->up.silent_ms >= SILENT_FACTOR * s->up.dead_ms) {
        err_fail(ERR_PEER, "the scheduler has been silent for %lu ms: it has died or cannot be reached",
                 (unsigned long)s->up.silent_ms);
        session_end(s, ERR_PEER, err_message());
    } else if (now_ms - s->up.heartbeat_sent_ms >= s->up.heartbeat_ms)
        send_heartbeat(s);
}

void session_on_scheduler_fault(Session *s, const char *sentence) {
    session_end(s, ERR_PROTOCOL, sentence);
}

void session_on_stop(Session *s) {
    session_end(s, ERR_STOPPED, "this server was told to stop");
}

void session_on_worker(Session *s, uint64_t peer, Message *m, uint64_t now_ms) {
    typedef Err (*Request)(Session * s, Peer * p, Message * m);
    static const Request REQUESTS[] = {[MESSAGE_PULL] = session_on_pull, [MESSAGE_PUSH] = session_on_push};
    if (s->state == SESSION_ENDED)
        return;
    s->now_ms = now_ms;
    if (m->type == MESSAGE_HELLO) {
        session_hello(s, m, peer);
        return;
    }
    Peer *p = session_find_peer(s, peer);
    if (!p || p->state == PEER_DROPPED)
        return;
    p->heard_ms = now_ms;
    for (int i = 0; i < m->n_frames; i++)
        s->stats.received_bytes += m->frames[i].size_bytes;
    Request request = m->type < sizeof REQUESTS / sizeof *REQUESTS ? REQUESTS[m->type] : NULL;
    Err err = OK;
    if (p->state == PEER_GREETED)
        err = err_fail(ERR_PROTOCOL, "%s came before this server's WELCOME", message_type_name(m->type));
    else if (!request)
        err = err_fail(ERR_PROTOCOL, "a worker sent %s, which a server does not take", message_type_name(m->type));
    else
        err = request(s, p, m);
    if (err)
        session_refuse(s, p, err);
}

/* ---- opening and closing -------------------------------------------------------------------------------------- */

Err session_open(Session **out, uint64_t incarnation, const char *endpoint, const SessionEnv *env, uint64_t now_ms) {
    if (strlen(endpoint) >= MESSAGE_TEXT)
        return err_fail(ERR_USAGE, "the address %.40s... is longer than %d bytes", endpoint, MESSAGE_TEXT - 1);
    Session *s = must_calloc(1, sizeof *s);
    s->env = *env;
    s->incarnation = incarnation;
    s->now_ms = s->up.tick_ms = now_ms;
    snprintf(s->endpoint, sizeof s->endpoint, "%s", endpoint);
    s->pulls.last = &s->pulls.first;
    s->pushes.last = &s->pushes.first;
    send_hello(s);
    *out = s;
    return OK;
}

void session_close(Session **out) {
    Session *s = *out;
    if (!s)
        return;
    session_free_parked(s);
    undo_free(&s->undo_pending);
    undo_free(&s->undo_last);
    if (s->cut.rows)
        store_cut_end(&s->cut.rows, false);
    free(s->cut.files);
    free(s->scratch);
    if (s->store)
        store_close(&s->store);
    free(s);
    *out = NULL;
}

int session_rank(const Session *s) {
    return s->state == SESSION_JOINING ? -1 : (int)s->up.rank;
}

Store *session_store(const Session *s) {
    return s->store;
}

SessionStats session_stats(const Session *s) {
    return s->stats;
}
