/* DESIGN. A pull occupies one of two places; its partition of keys stays with it until its last reply. A reply finds
 * its request by the echoed sequence among its channel's outstanding ones. A pull that nobody waits for any more loses
 * its place at once. Everything that ends the client ends it once, with the first sentence. */
#include "worker/remote.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "worker/channel.h"
#include "worker/partition.h"

enum {
    N_PULLS = 2,
    PUSH_ROOM = 2, /* a push is taken while every queue is shorter */
};

typedef struct Pull {
    Exchange *x;
    Partition partition;
    uint32_t n_waiting, n_applied, n_blank; /* replies still missing; APPLIED; APPLIED without values */
    Err result;
} Pull;

struct Remote {
    RemoteOptions options;
    const ClusterView *view;
    Channel *channels; /* (n_servers) */
    uint32_t n_servers;
    Pull pulls[N_PULLS]; /* a ring */
    uint32_t first_pull, n_pulls;
    Partition push_partition;
    uint64_t sequence;
    uint32_t n_unanswered_pushes; /* messages */
    Err push_result;
    Err failure;
    char sentence[MESSAGE_TEXT];
};

static void fail(Remote *r, Err code, const char *format, ...) PRINTF_LIKE(3, 4);
static void fail(Remote *r, Err code, const char *format, ...) {
    if (r->failure)
        return;
    r->failure = code;
    va_list args;
    va_start(args, format);
    vsnprintf(r->sentence, sizeof r->sentence, format, args);
    va_end(args);
}

/* ---- life --------------------------------------------------------------------------------------------------- */

void remote_open(Remote **out, const RemoteOptions *options) {
    *out = must_calloc(1, sizeof **out);
    (*out)->options = *options;
}

static void free_view(Remote *r) {
    for (uint32_t i = 0; i < r->n_servers; i++)
        channel_free(&r->channels[i]);
    for (int i = 0; i < N_PULLS; i++)
        partition_free(&r->pulls[i].partition);
    partition_free(&r->push_partition);
    free(r->channels);
    r->channels = NULL;
    r->n_servers = 0;
}

void remote_close(Remote **r) {
    if (!*r)
        return;
    free_view(*r);
    free(*r);
    *r = NULL;
}

void remote_set_view(Remote *r, const ClusterView *view, uint64_t now_ms) {
    free_view(r);
    r->view = view;
    r->n_servers = view->n_servers;
    r->channels = must_calloc(view->n_servers, sizeof *r->channels);
    for (uint32_t i = 0; i < r->n_servers; i++)
        channel_init(&r->channels[i], now_ms);
    for (int i = 0; i < N_PULLS; i++) {
        partition_init(&r->pulls[i].partition, r->n_servers);
        r->pulls[i].n_waiting = 0;
        r->pulls[i].result = ERR_STALE;
    }
    partition_init(&r->push_partition, r->n_servers);
    if (r->n_unanswered_pushes)
        r->push_result = ERR_STALE;
    r->n_unanswered_pushes = 0;
}

bool remote_is_connected(const Remote *r) {
    for (uint32_t i = 0; i < r->n_servers; i++)
        if (r->channels[i].state != CHANNEL_OPEN)
            return false;
    return r->n_servers > 0;
}

Err remote_failure(const Remote *r, const char **sentence) {
    *sentence = r->sentence;
    return r->failure;
}

/* ---- requests ----------------------------------------------------------------------------------------------- */

static QueuedRequest *add_request(Remote *r, uint32_t server, MessageType type) {
    QueuedRequest *q = channel_add(&r->channels[server], type, ++r->sequence);
    q->message.job = r->options.job;
    q->message.sender = r->options.sender;
    return q;
}

void remote_pull(Remote *r, Exchange *x) {
    assert(r->n_pulls < N_PULLS);
    int place = (int)((r->first_pull + r->n_pulls++) % N_PULLS);
    Pull *p = &r->pulls[place];
    const Work *w = &x->work;
    p->x = x;
    p->result = OK;
    p->n_waiting = r->n_servers;
    p->n_applied = p->n_blank = 0;
    Wire wire = wire_of_pull(r->options.wire, w->pass);
    partition_keys(&p->partition, r->options.schema, r->view->slots, wire, x->keys, x->n_keys);
    for (uint32_t i = 0; i < r->n_servers; i++) {
        QueuedRequest *q = add_request(r, i, MESSAGE_PULL);
        q->message.pull = (MessagePULL){.epoch = w->epoch,
                                        .pass = w->pass,
                                        .domain = w->domain,
                                        .split = w->split,
                                        .rank = w->rank,
                                        .step = w->step,
                                        .order = x->order,
                                        .map = r->view->map,
                                        .n_keys = p->partition.first[i + 1] - p->partition.first[i],
                                        .wire = wire};
        partition_write_keys(&p->partition, i, x->keys, &q->message);
        q->request.pull = place;
        q->request.may_wait = r->options.is_sync && w->pass == 0;
        q->request.cost_bytes = channel_frame_bytes(&q->message) + p->partition.n_bytes[i];
    }
}

bool remote_take_pull(Remote *r, Err *result) {
    assert(r->n_pulls > 0);
    Pull *p = &r->pulls[r->first_pull];
    if (p->n_waiting > 0 && !r->failure)
        return false;
    p->x->is_applied = p->n_applied == r->n_servers;
    *result = r->failure ? r->failure : p->result;
    if (!*result && p->n_blank > 0 && !p->x->is_applied)
        *result = ERR_RETRY; /* a server is epochs behind another: what the ones lack the others no longer have */
    r->first_pull = (r->first_pull + 1) % N_PULLS;
    r->n_pulls--;
    return true;
}

void remote_abandon_pulls(Remote *r) {
    for (uint32_t i = 0; i < r->n_servers; i++)
        channel_abandon_pulls(&r->channels[i]);
    r->n_pulls = 0;
}

bool remote_has_room(const Remote *r) {
    for (uint32_t i = 0; i < r->n_servers; i++)
        if (r->channels[i].n_queued >= PUSH_ROOM)
            return false;
    return true;
}

void remote_push(Remote *r, const Work *work, const uint64_t *keys, uint32_t n_keys, const real *grads) {
    Partition *p = &r->push_partition;
    partition_keys(p, r->options.schema, r->view->slots, r->options.wire, keys, n_keys);
    for (uint32_t i = 0; i < r->n_servers; i++) {
        QueuedRequest *q = add_request(r, i, MESSAGE_PUSH);
        q->message.push = (MessagePUSH){.epoch = work->epoch,
                                        .domain = work->domain,
                                        .rank = work->rank,
                                        .step = work->step,
                                        .map = r->view->map,
                                        .n_keys = p->first[i + 1] - p->first[i],
                                        .wire = r->options.wire,
                                        .group = work->group};
        partition_write_keys(p, i, keys, &q->message);
        partition_write_values(p, r->options.schema, i, keys, grads, &q->message);
        q->request.is_push = true;
        q->request.cost_bytes = channel_frame_bytes(&q->message);
        r->n_unanswered_pushes++;
    }
}

bool remote_is_flushed(const Remote *r) {
    return r->n_unanswered_pushes == 0;
}

Err remote_push_result(const Remote *r) {
    return r->push_result;
}

void remote_clear_push_result(Remote *r) {
    r->push_result = OK;
}

/* ---- replies ------------------------------------------------------------------------------------------------ */

static const Err STATUS_ERR[] = {[STATUS_OK] = OK,
                                 [STATUS_APPLIED] = OK,
                                 [STATUS_HELD] = OK,
                                 [STATUS_RETRY] = ERR_RETRY,
                                 [STATUS_STALE] = ERR_STALE};

/* STALE weighs more than RETRY: the worker must hear of the new view. */
static void keep_worse(Err *kept, Err err) {
    if (err && *kept != ERR_STALE)
        *kept = err;
}

static Err on_welcome(Remote *r, uint32_t server, Message *m) {
    if (m->welcome.config != r->options.config)
        return err_fail(ERR_PROTOCOL, "it has another configuration");
    return channel_welcome(&r->channels[server], &m->welcome);
}

static Err on_values(Remote *r, uint32_t server, Message *m) {
    Request request;
    if (!channel_settle(&r->channels[server], m->sequence, false, &request) ||
        m->values.status >= sizeof STATUS_ERR / sizeof(Err))
        return err_fail(ERR_PROTOCOL, "it answers a pull that it was not asked");
    if (request.pull == CHANNEL_NOBODY)
        return OK;
    Pull *p = &r->pulls[request.pull];
    size_t n_values = p->partition.n_values[server];
    bool is_applied = m->values.status == STATUS_APPLIED, is_blank = is_applied && m->values.n_values == 0;
    Err err = STATUS_ERR[m->values.status];
    if (!err && !is_blank) {
        if (m->values.wire != p->partition.wire)
            return err_fail(ERR_PROTOCOL, "it answers %s where %s was asked (train.wire)", wire_name(m->values.wire),
                            wire_name(p->partition.wire));
        if (m->values.n_values != n_values || channel_frame_bytes(m) != p->partition.n_bytes[server])
            return err_fail(ERR_PROTOCOL, "it answers %" PRIu64 " values in %" PRIu64 " bytes where %zu were asked",
                            m->values.n_values, channel_frame_bytes(m), n_values);
        partition_scatter(&p->partition, r->options.schema, server, p->x->keys, m, p->x->values);
    }
    keep_worse(&p->result, err);
    p->n_applied += is_applied;
    p->n_blank += is_blank && n_values > 0;
    p->n_waiting--;
    return OK;
}

static Err on_pushed(Remote *r, uint32_t server, Message *m) {
    Request request;
    if (!channel_settle(&r->channels[server], m->sequence, true, &request) ||
        m->pushed.status >= sizeof STATUS_ERR / sizeof(Err))
        return err_fail(ERR_PROTOCOL, "it answers a push that it was not sent");
    keep_worse(&r->push_result, STATUS_ERR[m->pushed.status]);
    r->n_unanswered_pushes--;
    return OK;
}

static Err on_refuse(Remote *r, uint32_t server, Message *m) {
    (void)r;
    (void)server;
    Err code = err_received(m->refuse.code);
    return err_fail(code ? code : ERR_PROTOCOL, "it refuses: %s", m->refuse.text);
}

typedef Err (*Handle)(Remote *r, uint32_t server, Message *m);
static const Handle HANDLERS[] = {
    [MESSAGE_WELCOME] = on_welcome,
    [MESSAGE_REFUSE] = on_refuse,
    [MESSAGE_VALUES] = on_values,
    [MESSAGE_PUSHED] = on_pushed,
};

static const char *endpoint_of(const Remote *r, uint32_t server) {
    return r->view->endpoints[server];
}

void remote_on_message(Remote *r, uint32_t server, Message *m, uint64_t now_ms) {
    if (r->failure || server >= r->n_servers)
        return;
    r->channels[server].heard_ms = now_ms;
    size_t type = (size_t)m->type;
    Err err = type < sizeof HANDLERS / sizeof *HANDLERS && HANDLERS[type]
                  ? HANDLERS[type](r, server, m)
                  : err_fail(ERR_PROTOCOL, "it sends %s", message_type_name(m->type));
    if (err)
        fail(r, err, "server %u at %s: %s", server, endpoint_of(r, server), err_message());
}

void remote_on_fault(Remote *r, uint32_t server, const char *sentence) {
    fail(r, ERR_PEER, "server %u at %s: %s", server, endpoint_of(r, server), sentence);
}

/* ---- time and sending --------------------------------------------------------------------------------------- */

void remote_on_tick(Remote *r, uint64_t now_ms) {
    for (uint32_t i = 0; i < r->n_servers && !r->failure; i++) {
        Err err = channel_check(&r->channels[i], &r->options.limits, now_ms);
        if (err)
            fail(r, err, "server %u at %s %s", i, endpoint_of(r, i), err_message());
    }
}

static void write_hello(const Remote *r, Message *m) {
    message_init(m, MESSAGE_HELLO);
    m->job = r->options.job;
    m->sender = r->options.sender;
    m->hello.role = ROLE_WORKER;
    m->hello.pid = (uint64_t)getpid();
    m->hello.config = r->options.config;
    m->hello.data = r->options.data;
    snprintf(m->hello.version, sizeof m->hello.version, "%s", MANGROVE_VERSION);
}

bool remote_next(Remote *r, uint32_t *server, Message *out, uint64_t now_ms) {
    for (uint32_t i = 0; i < r->n_servers && !r->failure; i++) {
        *server = i;
        if (channel_greets(&r->channels[i], now_ms)) {
            write_hello(r, out);
            return true;
        }
        bool is_taken;
        Err err = channel_take(&r->channels[i], out, &is_taken, now_ms);
        if (err)
            fail(r, err, "server %u at %s: %s", i, endpoint_of(r, i), err_message());
        else if (is_taken)
            return true;
    }
    return false;
}
