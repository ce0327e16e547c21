/* PUSH: applied at most once, whoever sends it. */
#include <string.h>

#include "proto/wire.h"
#include "server/session/session_parts.h"

typedef struct PushParts {
    SessionRows rows;
    const float *grads;
} PushParts;

/* The two arrays, checked against the frames' sizes and the store's tables. */
static Err take_parts(Session *s, Message *m, PushParts *out) {
    SessionRows *rows = &out->rows;
    size_t size = 0;
    Wire wire = s->config.train.wire;
    if (m->push.wire != wire)
        return err_fail(ERR_PROTOCOL, "a PUSH of %s where train.wire is %s", wire_name(m->push.wire), wire_name(wire));
    Err err = session_rows(s, m, m->push.n_keys, wire, rows);
    if (err)
        return err;
    int n_frames = m->n_frames - rows->n_frames;
    for (int i = rows->n_frames; i < m->n_frames; i++)
        size += m->frames[i].size_bytes;
    if (size != rows->wire_bytes ||
        (size_t)n_frames != (rows->wire_bytes + MESSAGE_FRAME_BYTES - 1) / MESSAGE_FRAME_BYTES)
        return err_fail(ERR_PROTOCOL, "a PUSH of %zu values carries %d frames of values with %zu bytes", rows->n_values,
                        n_frames, size);
    const void *bytes = size ? message_bytes(m, rows->n_frames, n_frames, &size) : NULL;
    out->grads = bytes;
    if (wire != WIRE_FP32 && bytes) {
        float *grads = session_scratch(s, rows->n_values * sizeof *grads);
        wire_unpack_rows(wire, &s->schema, rows->keys, rows->n_keys, grads, bytes);
        out->grads = grads;
    }
    return OK;
}

static Err check_name(const Session *s, const MessagePUSH *p) {
    if (p->epoch > UINT32_MAX || p->domain >= N_DOMAINS || p->rank >= s->n_ranks || p->step > UINT32_MAX ||
        (p->epoch == store_epoch(s->store) && p->step >= session_n_steps(s, (int)p->domain)))
        return err_fail(ERR_PROTOCOL, "a PUSH of epoch %lu, domain %lu, rank %lu, step %lu: there is no such step",
                        (unsigned long)p->epoch, (unsigned long)p->domain, (unsigned long)p->rank,
                        (unsigned long)p->step);
    uint32_t most = s->config.dense.push > 1 ? (uint32_t)s->config.dense.push : 0;
    if (p->group > most ||
        (p->epoch == store_epoch(s->store) && p->group > session_n_steps(s, (int)p->domain) - p->step))
        return err_fail(ERR_PROTOCOL, "a PUSH of a group of %lu steps from step %lu: dense.push is %d",
                        (unsigned long)p->group, (unsigned long)p->step, s->config.dense.push);
    return OK;
}

static void reply(Session *s, Peer *p, const Message *m, Status status, uint64_t cost_bytes) {
    session_message(s, MESSAGE_PUSHED, m->sequence)->pushed.status = status;
    s->stats.n_pushes++;
    session_send(s, p->id);
    session_return(s, p->id, cost_bytes);
}

/* In sync the rows are remembered before the step changes them: session_undo.c says why. All pushes of a step reach a
 * server in the same state, as nobody computes a step before all servers have applied the one before. */
static Err apply(Session *s, const Work *work, const PushParts *parts, PushResult *result) {
    Undo *pending = &s->undo_pending;
    bool is_kept =
        s->is_sync && undo_add(pending, &s->schema, s->store, work->rank, parts->rows.keys, parts->rows.n_keys);
    Err err = store_push(s->store, work, parts->rows.keys, parts->rows.n_keys, parts->grads, result);
    if (is_kept && (err || *result == PUSH_WAIT))
        undo_drop_last(pending);
    if (!err && s->is_sync && *result == PUSH_APPLIED) {
        Undo last = s->undo_last;
        s->undo_last = *pending;
        *pending = last;
        undo_clear(pending);
    }
    return err;
}

Err session_serve_push(Session *s, Peer *p, Message *m, uint64_t cost_bytes) {
    const MessagePUSH *push = &m->push;
    PushParts parts;
    Err err = take_parts(s, m, &parts);
    if (!err)
        err = check_name(s, push);
    if (err)
        return err;
    Work work = {.epoch = (uint32_t)push->epoch,
                 .domain = (uint8_t)push->domain,
                 .rank = (uint16_t)push->rank,
                 .group = (uint16_t)push->group,
                 .step = (uint32_t)push->step};
    Status status = push->map != s->view.map             ? STATUS_STALE
                    : work.epoch > store_epoch(s->store) ? STATUS_RETRY
                    : store_has_push(s->store, &work)    ? STATUS_APPLIED
                                                         : STATUS_OK;
    if (status != STATUS_OK) {
        reply(s, p, m, status, cost_bytes);
        return OK;
    }
    PushResult result = PUSH_RETRY;
    err = session_check_owner(s, &parts.rows);
    if (!err)
        err = apply(s, &work, &parts, &result);
    if (err)
        return err;
    if (result == PUSH_WAIT) {
        s->stats.n_waits++;
        session_park(s, &s->pushes, p, m, cost_bytes);
        return OK;
    }
    static const Status STATUS[] = {[PUSH_APPLIED] = STATUS_OK,
                                    [PUSH_HELD] = STATUS_HELD,
                                    [PUSH_DUPLICATE] = STATUS_APPLIED,
                                    [PUSH_RETRY] = STATUS_RETRY};
    reply(s, p, m, STATUS[result], cost_bytes);
    if (result == PUSH_APPLIED && s->is_sync)
        session_unpark(s, &s->pulls, session_serve_pull);
    return OK;
}

Err session_on_push(Session *s, Peer *p, Message *m) {
    uint64_t cost = 0;
    for (int i = 0; i < m->n_frames; i++)
        cost += m->frames[i].size_bytes;
    Err err = session_charge(s, p, cost);
    if (!err && session_is_behind_push(s, p)) {
        session_park(s, &s->pushes, p, m, cost);
        return OK;
    }
    return err ? err : session_serve_push(s, p, m, cost);
}

bool session_is_behind_push(const Session *s, const Peer *p) {
    for (const Parked *node = s->pushes.first; node; node = node->next) {
        if (node->peer == p->id && node->n_hellos == p->n_hellos)
            return true;
    }
    return false;
}

static Err serve_parked(Session *s, Peer *p, Message *m, uint64_t cost_bytes) {
    return m->type == MESSAGE_PULL ? session_serve_pull(s, p, m, cost_bytes) : session_serve_push(s, p, m, cost_bytes);
}

void session_retry_pushes(Session *s) {
    session_unpark_in_order(s, &s->pushes, serve_parked);
}
