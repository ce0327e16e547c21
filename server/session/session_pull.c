/* PULL: which rows, as of when, and the frames that carry them. */
#include <assert.h>
#include <string.h>

#include "proto/wire.h"
#include "server/session/session_parts.h"

static_assert(sizeof(real) == sizeof(float), "the wire carries f32 at most: the session belongs to the float build");

enum { PACKED_ROWS = 64 }; /* that are gathered before they are packed: they stay in the cache */

typedef enum PullAnswer {
    PULL_VALUES,  /* STATUS_OK, or STATUS_APPLIED if the step's bit is set, with the rows as they are */
    PULL_BEFORE,  /* sync: STATUS_APPLIED, with the rows as they were before the last step */
    PULL_APPLIED, /* STATUS_APPLIED without values */
    PULL_RETRY,
    PULL_STALE,
    PULL_WAIT, /* sync: steps before this one are missing */
} PullAnswer;

/* What needs nothing but the message and the epoch's numbers. */
static Err check_name(const Session *s, const MessagePULL *p) {
    uint64_t n_steps = (uint64_t)session_n_steps(s, DOMAIN_A) + session_n_steps(s, DOMAIN_B);
    if (p->epoch > UINT32_MAX || p->pass > UINT32_MAX || p->domain >= N_DOMAINS || p->split >= N_SPLITS ||
        (p->pass == 0) != (p->split == SPLIT_TRAIN) || p->rank >= s->n_ranks || p->step > UINT32_MAX)
        return err_fail(ERR_PROTOCOL,
                        "a PULL of epoch %lu, pass %lu, domain %lu, split %lu, rank %lu, step %lu: there is "
                        "no such step",
                        (unsigned long)p->epoch, (unsigned long)p->pass, (unsigned long)p->domain,
                        (unsigned long)p->split, (unsigned long)p->rank, (unsigned long)p->step);
    if (p->wire != wire_of_pull(s->config.train.wire, p->pass))
        return err_fail(ERR_PROTOCOL, "a PULL of %s as %s where train.wire is %s: it must be %s",
                        p->pass ? "an evaluation" : "a training step", wire_name(p->wire),
                        wire_name(s->config.train.wire), wire_name(wire_of_pull(s->config.train.wire, p->pass)));
    if (p->pass || p->epoch != store_epoch(s->store))
        return OK; /* its step numbers are not ours to know */
    if (p->step >= session_n_steps(s, (int)p->domain) || (s->is_sync && p->order >= n_steps))
        return err_fail(ERR_PROTOCOL, "a PULL of step %lu, order %lu; domain %lu has %u steps, the epoch %lu",
                        (unsigned long)p->step, (unsigned long)p->order, (unsigned long)p->domain,
                        session_n_steps(s, (int)p->domain), (unsigned long)n_steps);
    return OK;
}

static PullAnswer decide(const Session *s, const MessagePULL *p) {
    uint32_t epoch = store_epoch(s->store);
    if (p->map != s->view.map)
        return PULL_STALE;
    if (p->pass)
        return p->epoch == epoch && session_is_full(s) ? PULL_VALUES : PULL_RETRY;
    if (p->epoch != epoch)
        return p->epoch > epoch ? PULL_RETRY : PULL_APPLIED;
    if (!s->is_sync)
        return PULL_VALUES;
    uint64_t n_applied = store_applied_count(s->store);
    if (p->order > n_applied)
        return PULL_WAIT;
    if (p->order == n_applied)
        return PULL_VALUES;
    return p->order + 1 == n_applied ? PULL_BEFORE : PULL_APPLIED;
}

static void gather(Session *s, const uint64_t *keys, uint32_t n_keys, Undo *undo, float *values) {
    store_pull(s->store, keys, n_keys, values);
    if (undo)
        s->stats.n_undone += undo_overlay(undo, &s->schema, keys, n_keys, values);
}

static void gather_packed(Session *s, const uint64_t *keys, uint32_t n_keys, Undo *undo, Wire wire, uint8_t *bytes) {
    for (uint32_t first = 0, n; first < n_keys; first += n) {
        n = n_keys - first < PACKED_ROWS ? n_keys - first : PACKED_ROWS;
        float *values = session_scratch(s, wire_rows_bytes(WIRE_FP32, &s->schema, keys + first, n));
        gather(s, keys + first, n, undo, values);
        wire_pack_rows(wire, &s->schema, keys + first, n, bytes, values);
        bytes += wire_rows_bytes(wire, &s->schema, keys + first, n);
    }
}

/* The first of them that fit into a frame, and their bytes. */
static uint32_t rows_of_frame(const Session *s, const SessionRows *rows, uint32_t first, Wire wire, size_t *bytes) {
    *bytes = rows->wire_bytes;
    if (first == 0 && *bytes <= MESSAGE_FRAME_BYTES)
        return rows->n_keys;
    *bytes = 0;
    for (uint32_t last = first; last < rows->n_keys; last++) {
        size_t row = wire_rows_bytes(wire, &s->schema, rows->keys + last, 1);
        if (*bytes + row > MESSAGE_FRAME_BYTES)
            return last - first;
        *bytes += row;
    }
    return rows->n_keys - first;
}

/* As many whole rows as fit into each frame; f32 are gathered where they will be sent from. */
static void add_values(Session *s, Message *out, const SessionRows *rows, Undo *undo, Wire wire) {
    for (uint32_t first = 0, n; first < rows->n_keys; first += n) {
        size_t bytes;
        n = rows_of_frame(s, rows, first, wire, &bytes);
        void *values = message_add_frame(out, bytes);
        if (wire == WIRE_FP32)
            gather(s, rows->keys + first, n, undo, values);
        else
            gather_packed(s, rows->keys + first, n, undo, wire, values);
    }
}

static void reply(Session *s, Peer *p, const Message *m, PullAnswer answer, const SessionRows *rows) {
    static const Status STATUS[] = {[PULL_BEFORE] = STATUS_APPLIED,
                                    [PULL_APPLIED] = STATUS_APPLIED,
                                    [PULL_RETRY] = STATUS_RETRY,
                                    [PULL_STALE] = STATUS_STALE};
    const MessagePULL *pull = &m->pull;
    Message *out = session_message(s, MESSAGE_VALUES, m->sequence);
    if (answer == PULL_VALUES) {
        Work work = {.epoch = (uint32_t)pull->epoch, .domain = (uint8_t)pull->domain, .step = (uint32_t)pull->step};
        out->values.status = pull->pass || !store_is_applied(s->store, &work) ? STATUS_OK : STATUS_APPLIED;
    } else {
        out->values.status = STATUS[answer];
    }
    if (answer == PULL_VALUES || answer == PULL_BEFORE) {
        out->values.n_values = rows->n_values;
        out->values.wire = pull->wire;
        add_values(s, out, rows, answer == PULL_BEFORE ? &s->undo_last : NULL, (Wire)pull->wire);
    }
    s->stats.n_pulls++;
    session_send(s, p->id);
}

static Err serve(Session *s, Peer *p, Message *m, const SessionRows *rows, uint64_t cost_bytes) {
    Err err = check_name(s, &m->pull);
    if (err)
        return err;
    PullAnswer answer = decide(s, &m->pull);
    if (answer != PULL_STALE)
        err = session_check_owner(s, rows);
    if (err)
        return err;
    if (answer == PULL_WAIT) {
        session_park(s, &s->pulls, p, m, cost_bytes);
        return OK;
    }
    reply(s, p, m, answer, rows);
    session_return(s, p->id, cost_bytes);
    return OK;
}

static Err take_rows(const Session *s, Message *m, SessionRows *out) {
    return session_rows(s, m, m->pull.n_keys, wire_of_pull(s->config.train.wire, m->pull.pass), out);
}

Err session_serve_pull(Session *s, Peer *p, Message *m, uint64_t cost_bytes) {
    SessionRows rows;
    Err err = take_rows(s, m, &rows);
    return err ? err : serve(s, p, m, &rows, cost_bytes);
}

Err session_on_pull(Session *s, Peer *p, Message *m) {
    SessionRows rows;
    if (m->pull.n_keys > s->credit_bytes / sizeof *rows.keys) /* before a byte of it is touched */
        return session_charge(s, p, m->pull.n_keys > UINT64_MAX / 8 ? UINT64_MAX : m->pull.n_keys * 8);
    Err err = take_rows(s, m, &rows);
    if (err)
        return err;
    if (rows.n_frames != m->n_frames)
        return err_fail(ERR_PROTOCOL, "a PULL of %lu keys with %d frames instead of %d", (unsigned long)m->pull.n_keys,
                        m->n_frames, rows.n_frames);
    if (rows.n_values > MESSAGE_MAX_BYTES / sizeof(float))
        return err_fail(ERR_PROTOCOL, "a PULL asks for %zu values; a message holds at most %zu", rows.n_values,
                        MESSAGE_MAX_BYTES / sizeof(float));
    uint64_t cost = m->pull.n_keys * sizeof *rows.keys + rows.wire_bytes;
    err = session_charge(s, p, cost);
    if (!err && !m->pull.pass && session_is_behind_push(s, p)) {
        session_park(s, &s->pushes, p, m, cost);
        return OK;
    }
    return err ? err : serve(s, p, m, &rows, cost);
}
