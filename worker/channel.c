/* Credit and queues of one server. Requests of abandoned pulls stay outstanding until they are answered, because their
 * credit is the server's until then. */
#include "worker/channel.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { HELLO_MS = 1000 };

void channel_init(Channel *c, uint64_t now_ms) {
    memset(c, 0, sizeof *c);
    c->opened_ms = c->heard_ms = now_ms;
}

void channel_free(Channel *c) {
    for (; c->n_queued > 0; c->n_queued--, c->head = (c->head + 1) % CHANNEL_QUEUE)
        message_free(&c->queue[c->head].message);
}

bool channel_greets(Channel *c, uint64_t now_ms) {
    if (c->state != CHANNEL_GREETING || (c->has_greeted && now_ms - c->hello_ms < HELLO_MS))
        return false;
    c->has_greeted = true;
    c->hello_ms = now_ms;
    return true;
}

Err channel_welcome(Channel *c, const MessageWELCOME *welcome) {
    if (c->state == CHANNEL_OPEN)
        return OK; /* the answer to a HELLO that had been said again */
    if (!welcome->credit_bytes || !welcome->credit_requests)
        return err_fail(ERR_PROTOCOL, "it grants no credit");
    c->credit_bytes = welcome->credit_bytes;
    c->credit_requests =
        welcome->credit_requests < CHANNEL_OUTSTANDING ? (uint32_t)welcome->credit_requests : CHANNEL_OUTSTANDING;
    c->state = CHANNEL_OPEN;
    return OK;
}

QueuedRequest *channel_add(Channel *c, MessageType type, uint64_t sequence) {
    assert(c->n_queued < CHANNEL_QUEUE);
    QueuedRequest *q = &c->queue[(c->head + c->n_queued++) % CHANNEL_QUEUE];
    message_init(&q->message, type);
    q->message.sequence = sequence;
    q->request = (Request){.sequence = sequence, .pull = CHANNEL_NOBODY};
    return q;
}

static QueuedRequest *pop(Channel *c) {
    QueuedRequest *q = &c->queue[c->head];
    c->head = (c->head + 1) % CHANNEL_QUEUE;
    c->n_queued--;
    return q;
}

static bool is_wanted(const Request *r) {
    return r->is_push || r->pull != CHANNEL_NOBODY;
}

Err channel_take(Channel *c, Message *out, bool *is_taken, uint64_t now_ms) {
    *is_taken = false;
    while (c->n_queued > 0 && !is_wanted(&c->queue[c->head].request))
        message_free(&pop(c)->message);
    if (c->n_queued == 0 || c->state != CHANNEL_OPEN)
        return OK;
    uint64_t cost_bytes = c->queue[c->head].request.cost_bytes;
    if (cost_bytes > c->credit_bytes)
        return err_fail(ERR_CONFIG,
                        "a step needs %" PRIu64 " bytes of credit and it grants %" PRIu64
                        ": raise cluster.credit_mb or lower train.batch",
                        cost_bytes, c->credit_bytes);
    if (c->n_outstanding == c->credit_requests || cost_bytes > c->credit_bytes - c->used_bytes)
        return OK;
    QueuedRequest *q = pop(c);
    q->request.sent_ms = now_ms;
    c->used_bytes += cost_bytes;
    c->outstanding[c->n_outstanding++] = q->request;
    message_move(out, &q->message);
    *is_taken = true;
    return OK;
}

bool channel_settle(Channel *c, uint64_t sequence, bool is_push, Request *out) {
    for (uint32_t i = 0; i < c->n_outstanding; i++) {
        if (c->outstanding[i].sequence != sequence || c->outstanding[i].is_push != is_push)
            continue;
        *out = c->outstanding[i];
        c->outstanding[i] = c->outstanding[--c->n_outstanding];
        c->used_bytes -= out->cost_bytes;
        return true;
    }
    return false;
}

void channel_abandon_pulls(Channel *c) {
    for (uint32_t i = 0; i < c->n_outstanding; i++)
        c->outstanding[i].pull = CHANNEL_NOBODY;
    for (uint32_t i = 0; i < c->n_queued; i++)
        c->queue[(c->head + i) % CHANNEL_QUEUE].request.pull = CHANNEL_NOBODY;
}

Err channel_check(const Channel *c, const ChannelLimits *limits, uint64_t now_ms) {
    if (c->state == CHANNEL_GREETING && now_ms - c->opened_ms > limits->silent_ms)
        return err_fail(ERR_PEER, "has not answered for %" PRIu64 " s: can it be reached from here?",
                        (now_ms - c->opened_ms) / 1000);
    for (uint32_t i = 0; i < c->n_outstanding; i++) {
        const Request *r = &c->outstanding[i];
        uint64_t heard_ms = c->heard_ms > r->sent_ms ? c->heard_ms : r->sent_ms;
        if (!r->may_wait && now_ms - heard_ms > limits->silent_ms)
            return err_fail(ERR_PEER, "has been silent for %" PRIu64 " s and owes an answer",
                            (now_ms - heard_ms) / 1000);
        if (is_wanted(r) && now_ms - r->sent_ms > limits->request_ms)
            return err_fail(ERR_PEER, "has not answered a request for %" PRIu64 " s", (now_ms - r->sent_ms) / 1000);
    }
    return OK;
}

uint64_t channel_frame_bytes(const Message *m) {
    uint64_t bytes = 0;
    for (int i = 0; i < m->n_frames; i++)
        bytes += m->frames[i].size_bytes;
    return bytes;
}
