/* The link.
 *
 * DESIGN. ZeroMQ's descriptor is edge-triggered and any call on the socket may eat the edge, so it is never trusted:
 * the poll callback only notes that it came. Before every sleep `prepare` reads ZMQ_EVENTS, after all sends of the
 * turn, and starts `idle`, which keeps the loop from sleeping, if there is something to read. After the sleep `check`
 * receives within a budget; what that leaves is found by the next `prepare`. A look costs system calls: a socket that
 * had nothing and was not touched since (is_drained) still has its edge and is not looked at.
 *
 * POLLOUT of a ROUTER means that some peer is writable, not which, and it stays set while another is blocked. So it is
 * not looked at: each blocked peer is tried once after each reading of ZMQ_EVENTS (which is when ZeroMQ learns what its
 * peers have read), and `retry` wakes the loop every 10 ms while one is blocked. EAGAIN comes at the first part of a
 * message alone; a message is sent whole or not at all.
 *
 * The caller's functions are called from `check` only, so that between the last reading of ZMQ_EVENTS and the sleep
 * nothing can touch any socket. Closing is in two steps: the socket at once, the struct when libuv has let go of it;
 * link->socket is NULL in between, and every loop that calls out looks at it. */
#include "proto/link.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "common/log.h"
#include "proto/backlog.h"
#include "proto/buffer.h"
#include "proto/network.h"
#include "proto/quarantine.h"

enum {
    TURN_MESSAGES = 64,
    TURN_NS = 1000000,
    RETRY_MS = 10,
    N_HANDLES = 5,
    FIRST_FRAME_BYTES = MESSAGE_HEADER_BYTES + MESSAGE_MAP_BYTES,
};

struct Link {
    Network *network;
    Link *next;
    void *socket;
    bool is_router;
    LinkOptions options;
    LinkStats stats;
    Backlog *blocked;
    Quarantine dropped;
    char endpoint[ENDPOINT_BYTES];
    Message incoming;
    bool is_drained, is_ready; /* see above; there was an event, or something to read, since the last check */
    uv_poll_t poll;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    uv_timer_t retry;
    uv_handle_t *handles[N_HANDLES]; /* all of them */
    int n_handles;                   /* that libuv knows */
};

/* ---- peers ------------------------------------------------------------------------------------------------------ */

static void forget_queue(Link *l, Backlog **at) {
    l->stats.queued_messages -= (*at)->n_messages;
    l->stats.queued_bytes -= (*at)->n_bytes;
    backlog_remove(at);
}

/* The sentence is err_message(). */
static void drop_peer(Link *l, uint64_t peer) {
    Backlog **queue = l->is_router ? backlog_place(&l->blocked, peer) : NULL;
    if (queue)
        forget_queue(l, queue);
    l->stats.dropped_peers += quarantine_add(&l->dropped, peer, err_message());
}

static void report_dropped(Link *l) {
    const QuarantineEntry *entry;
    while (l->socket && (entry = quarantine_next_news(&l->dropped)))
        l->options.fault(l->options.ctx, l, entry->peer, entry->sentence);
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

/* OK; ERR_RETRY: the peer can take no more now; ERR_PEER: it is not there. Keeps the message. */
static Err send_now(Link *l, uint64_t peer, const Message *m) {
    uint8_t first[FIRST_FRAME_BYTES];
    size_t first_bytes = message_encode(m, first);
    l->is_drained = false;
    int error = l->is_router ? network_send_id(l->socket, peer) : 0;
    if (!error)
        error = network_send_copy(l->socket, first, first_bytes, m->n_frames > 0);
    for (int i = 0; i < m->n_frames && !error; i++)
        error = network_send_frame(l->socket, &m->frames[i], i + 1 < m->n_frames);
    if (error == EAGAIN) /* of a DEALER also later, if the peer leaves in mid-message: ZeroMQ takes the parts back */
        return ERR_RETRY;
    if (error)
        return err_fail(ERR_PEER, "peer %016llx of %s is not connected", (unsigned long long)peer, l->endpoint);
    l->stats.sent_messages++;
    l->stats.sent_bytes += first_bytes + message_frame_bytes(m);
    return OK;
}

/* Tries each blocked peer. True if something was sent. */
static bool send_blocked(Link *l) {
    bool has_sent = false;
    for (Backlog **at = &l->blocked; *at;) {
        Backlog *b = *at;
        Err err = OK;
        while (backlog_first(b) && (err = send_now(l, b->peer, backlog_first(b))) == OK) {
            l->stats.queued_messages--;
            l->stats.queued_bytes -= message_frame_bytes(backlog_first(b));
            backlog_drop_first(b);
            has_sent = true;
        }
        if (err == ERR_RETRY)
            at = &b->next;
        else
            forget_queue(l, at); /* empty, or the peer is gone and its replies with it */
    }
    return has_sent;
}

static Err send_later(Link *l, uint64_t peer, Message *m) {
    const Backlog *b = backlog_find(l->blocked, peer);
    uint64_t bytes = message_frame_bytes(m), limit = l->options.window_bytes;
    if (b && (b->n_messages >= l->options.window_messages || b->n_bytes + bytes > limit)) {
        Err err = err_fail(ERR_PEER, "peer %016llx of %s does not read: %u messages, %llu bytes wait for it",
                           (unsigned long long)peer, l->endpoint, b->n_messages, (unsigned long long)b->n_bytes);
        if (l->is_router)
            drop_peer(l, peer);
        return err;
    }
    backlog_add(&l->blocked, peer, m);
    l->stats.queued_messages++;
    l->stats.queued_bytes += bytes;
    return OK;
}

static Err send_or_queue(Link *l, uint64_t peer, Message *m) {
    if (quarantine_has(&l->dropped, peer))
        return err_fail(ERR_PEER, "peer %016llx of %s has been dropped", (unsigned long long)peer, l->endpoint);
    Err err = backlog_find(l->blocked, peer) ? ERR_RETRY : send_now(l, peer, m);
    return err == ERR_RETRY ? send_later(l, peer, m) : err;
}

Err link_send(Link *l, uint64_t peer, Message *m) {
    m->incarnation = l->options.incarnation;
    Err err = send_or_queue(l, l->is_router ? peer : 0, m);
    message_free(m);
    return err;
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

/* A message as it comes in, part by part. */
typedef struct Intake {
    uint64_t peer; /* 0: not known */
    int n_parts;   /* so far; a ROUTER's first is the routing id, a DEALER begins at the second */
    size_t n_bytes;
    bool is_ignored;
} Intake;

static Err take_id(Link *l, Intake *in, const Frame *part) {
    if (!network_read_id(part, &in->peer))
        return err_fail(ERR_PROTOCOL, "somebody who is no mangrove process talks to %s", l->endpoint);
    return OK;
}

static Err take_header(Link *l, Intake *in, const Frame *part) {
    Message *m = &l->incoming;
    Err err = message_decode(m, part->data, part->size_bytes);
    if (err)
        return err;
    if (l->is_router && m->incarnation != in->peer)
        return err_fail(ERR_PROTOCOL, "%s: the header's incarnation is not the connection's",
                        message_type_name(m->type));
    in->peer = m->incarnation;
    return OK;
}

static Err take_part(Link *l, Intake *in, const Frame *part) {
    Err err = OK;
    if (in->n_parts == 0)
        err = take_id(l, in, part);
    else if (in->n_parts == 1)
        err = take_header(l, in, part);
    else
        err = message_take_frame(&l->incoming, part);
    in->n_parts++;
    in->n_bytes += part->size_bytes;
    in->is_ignored = quarantine_has(&l->dropped, in->peer);
    return err;
}

static void deliver(Link *l, const Intake *in, Err err) {
    l->stats.received_bytes += in->n_bytes;
    if (!err && in->n_parts < 2)
        err = err_fail(ERR_PROTOCOL, "a message without a header");
    if (err && !in->is_ignored) {
        l->stats.bad_messages++;
        drop_peer(l, in->peer);
    } else if (!in->is_ignored) {
        l->stats.received_messages++;
        l->options.receive(l->options.ctx, l, in->peer, &l->incoming);
    }
    message_free(&l->incoming);
}

/* False: nothing was there. A bad message is read to its end, so that the next begins at its beginning. */
static bool receive_one(Link *l) {
    Intake in = {.n_parts = l->is_router ? 0 : 1};
    Err err = OK;
    Frame part;
    bool has_more = true;
    message_init(&l->incoming, 0);
    while (has_more && network_receive(l->socket, &part, &has_more)) {
        if (!err && !in.is_ignored)
            err = take_part(l, &in, &part);
        buffer_unref(part.buffer);
    }
    if (!has_more)
        deliver(l, &in, err);
    return !has_more;
}

/* ---- turns of the loop ------------------------------------------------------------------------------------------- */

static void on_event(uv_poll_t *uv, int status, int events) {
    (void)status, (void)events;
    ((Link *)uv->data)->is_ready = true;
}

static void stay_awake(uv_idle_t *uv) {
    (void)uv;
}

static void wake_to_retry(uv_timer_t *uv) {
    (void)uv;
}

static bool look(Link *l) {
    bool is_readable = network_is_readable(l->socket);
    l->is_drained = !is_readable;
    return is_readable;
}

static void on_prepare(uv_prepare_t *uv) {
    Link *l = uv->data;
    bool is_readable = (l->blocked || !l->is_drained) && look(l);
    while (l->blocked && send_blocked(l))
        is_readable = look(l);
    if (!is_readable && !l->is_drained) /* the attempts may have eaten an edge */
        is_readable = look(l);
    if (l->blocked && !uv_is_active((uv_handle_t *)&l->retry))
        uv_timer_start(&l->retry, wake_to_retry, RETRY_MS, 0);
    l->is_ready |= is_readable;
    if (is_readable || quarantine_news(&l->dropped))
        uv_idle_start(&l->idle, stay_awake);
}

static void on_check(uv_check_t *uv) {
    Link *l = uv->data;
    uint64_t end_ns = uv_hrtime() + TURN_NS;
    bool is_ready = l->is_ready;
    l->is_ready = false;
    uv_idle_stop(&l->idle);
    for (int i = 0; is_ready && l->socket && i < TURN_MESSAGES && uv_hrtime() < end_ns; i++) {
        is_ready = receive_one(l);
        l->is_drained = !is_ready;
    }
    report_dropped(l);
}

/* ---- opening and closing ----------------------------------------------------------------------------------------- */

static Err start_handles(Link *l) {
    uv_loop_t *uv = loop_uv(l->network->loop);
    int rc = uv_poll_init(uv, &l->poll, network_descriptor(l->socket));
    if (rc)
        return err_fail(ERR_FAILED, "%s: cannot poll the socket: %s", l->endpoint, uv_strerror(rc));
    uv_prepare_init(uv, &l->prepare);
    uv_check_init(uv, &l->check);
    uv_idle_init(uv, &l->idle);
    uv_timer_init(uv, &l->retry);
    uv_handle_t *all[N_HANDLES] = {(uv_handle_t *)&l->poll, (uv_handle_t *)&l->prepare, (uv_handle_t *)&l->check,
                                   (uv_handle_t *)&l->idle, (uv_handle_t *)&l->retry};
    for (; l->n_handles < N_HANDLES; l->n_handles++) {
        l->handles[l->n_handles] = all[l->n_handles];
        all[l->n_handles]->data = l;
        uv_unref(all[l->n_handles]); /* the loop lives until it is stopped, links or not */
    }
    uv_poll_start(&l->poll, UV_READABLE, on_event);
    uv_prepare_start(&l->prepare, on_prepare);
    uv_check_start(&l->check, on_check);
    return OK;
}

static void on_closed(uv_handle_t *handle) {
    Link *l = handle->data;
    if (--l->n_handles == 0)
        free(l);
}

static void unlist(Link *l) {
    Link **at = &l->network->links;
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
}

static void close_link(Link *l, int linger_ms) {
    unlist(l);
    while (l->blocked)
        forget_queue(l, &l->blocked);
    void *socket = l->socket;
    l->socket = NULL;
    for (int i = 0; i < N_HANDLES; i++) /* first: libuv polls the socket's descriptor */
        uv_close(l->handles[i], on_closed);
    network_socket_close(socket, linger_ms);
}

void link_close(Link **link) {
    if (*link)
        close_link(*link, -1);
    *link = NULL;
}

void link_close_by(Link **link, uint64_t deadline_ms) {
    Link *l = *link;
    while (l->blocked && clock_ms() < deadline_ms) {
        network_is_readable(l->socket);
        if (!send_blocked(l))
            poll(NULL, 0, 1);
    }
    uint64_t now_ms = clock_ms();
    close_link(l, now_ms < deadline_ms ? (int)(deadline_ms - now_ms) : 0);
    *link = NULL;
}

static Err attach(Link *l, const char *address) {
    Err err =
        l->is_router ? network_bind(l->socket, address, l->endpoint) : network_connect(l->socket, address, l->endpoint);
    return err ? err : start_handles(l);
}

static Err link_open(Link **out, Network *n, const char *endpoint, const char *address, const LinkOptions *options,
                     bool is_router) {
    assert(options->receive && options->fault);
    void *socket;
    Err err = network_socket(n, is_router, options, &socket);
    if (err)
        return err_wrap(err, "%s", endpoint);
    Link *l = must_calloc(1, sizeof *l);
    l->network = n;
    l->socket = socket;
    l->is_router = is_router;
    l->options = *options;
    if (!l->options.window_bytes)
        l->options.window_bytes = MESSAGE_MAX_BYTES;
    snprintf(l->endpoint, sizeof l->endpoint, "%s", endpoint);
    err = attach(l, address);
    if (err) {
        network_socket_close(socket, 0);
        free(l);
        return err;
    }
    l->next = n->links;
    n->links = l;
    *out = l;
    return OK;
}

Err link_listen(Link **out, Network *n, const char *endpoint, const LinkOptions *options) {
    char address[ENDPOINT_BYTES];
    Err err = link_address_to_bind(endpoint, address);
    return err ? err : link_open(out, n, endpoint, address, options, true);
}

Err link_dial(Link **out, Network *n, const char *endpoint, const LinkOptions *options) {
    char address[ENDPOINT_BYTES];
    Err err = link_address_to_dial(endpoint, address);
    return err ? err : link_open(out, n, endpoint, address, options, false);
}

const char *link_endpoint(const Link *link) {
    return link->endpoint;
}

LinkStats link_stats(const Link *link) {
    return link->stats;
}
