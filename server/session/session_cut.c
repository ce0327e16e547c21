/* A cut: the scheduler compares the bitmaps of all servers, then has them write their rows at exactly these bits. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "server/session/session_parts.h"

/* Keys of the `sum` rows whose slots this server holds; NULL keys: counts them. */
static uint32_t sum_keys(const Session *s, uint64_t *keys) {
    uint32_t n = 0;
    for (int i = 0; i < s->schema.n_tensors; i++) {
        const Tensor *t = &s->schema.tensors[i];
        if (t->kind != TENSOR_SUM)
            continue;
        for (uint32_t row = 0; row < t->n_rows; row++) {
            uint64_t key = key_of(t->table, t->first_row + row);
            if (s->view.slots[key_slot(key)] != s->up.rank)
                continue;
            if (keys)
                keys[n] = key;
            n++;
        }
    }
    return n;
}

static const uint8_t *applied_bits(const Store *store, int domain) {
    uint32_t n_bits;
    return store_bitmap(store, domain, &n_bits);
}

static void add_bits(const Session *s, Message *m, const uint8_t *(*bits)(const Store *store, int domain)) {
    for (int d = 0; d < N_DOMAINS; d++) {
        uint32_t size = bitmap_bytes(session_n_steps(s, d));
        void *frame = message_add_frame(m, size);
        if (size)
            memcpy(frame, bits(s->store, d), size);
    }
}

Err session_report(Session *s, Message *ask) {
    uint32_t n = sum_keys(s, NULL);
    size_t values_bytes = (size_t)n * SCHEMA_STATS_WIDTH * sizeof(float);
    if (values_bytes > MESSAGE_FRAME_BYTES)
        return err_fail(ERR_CONFIG, "the model declares %u rows of sums; a report holds at most %zu", n,
                        MESSAGE_FRAME_BYTES / (SCHEMA_STATS_WIDTH * sizeof(float)));
    StoreStats stats = store_stats(s->store);
    Message *m = session_message(s, MESSAGE_REPORT, ask->sequence);
    m->report = (MessageREPORT){
        .epoch = store_epoch(s->store), .map = s->view.map, .t_a = stats.t[DOMAIN_A], .t_b = stats.t[DOMAIN_B]};
    add_bits(s, m, applied_bits);
    uint64_t *keys = message_add_frame(m, n * sizeof *keys);
    float *values = message_add_frame(m, values_bytes);
    sum_keys(s, keys);
    if (n)
        store_pull(s->store, keys, n, values);
    if (s->config.dense.push > 1)
        add_bits(s, m, store_begun);
    session_send(s, PEER_SCHEDULER);
    return OK;
}

/* Rule 6: epoch, map and bitmaps equal our own, no step waits for its group, and a cut number that was never tried. An
 * incremental cut goes on from the last full one that we have written: our rows are marked as touched since then. */
static bool may_mark(const Session *s, const Message *m) {
    const MessageMARK *mark = &m->mark;
    if (s->cut.is_writing || mark->cut <= s->cut.tried || mark->epoch != store_epoch(s->store) ||
        mark->map != s->view.map || (mark->base && mark->base != s->cut.base) || m->n_frames != N_DOMAINS)
        return false;
    for (int d = 0; d < N_DOMAINS; d++) {
        uint32_t n = 0;
        const uint8_t *bits = store_bitmap(s->store, d, &n);
        if (m->frames[d].size_bytes != bitmap_bytes(n) ||
            (n && (memcmp(m->frames[d].data, bits, bitmap_bytes(n)) ||
                   memcmp(store_begun(s->store, d), bits, bitmap_bytes(n)))))
            return false;
    }
    return true;
}

static void send_written(Session *s) {
    Message *m = session_message(s, MESSAGE_WRITTEN, 0);
    m->written.cut = s->cut.number;
    m->written.is_ok = s->cut.files != NULL;
    if (s->cut.files)
        message_add_bytes(m, s->cut.files, strlen(s->cut.files));
    else
        snprintf(m->written.text, sizeof m->written.text, "%s", s->cut.sentence);
    session_send(s, PEER_SCHEDULER);
}

/* The rows of this moment are safe from here on; pushes go on changing the store. */
static void begin_writing(Session *s, const MessageMARK *mark) {
    Cut *c = &s->cut;
    c->number = mark->cut;
    c->is_full = mark->base == 0;
    c->is_writing = true;
    free(c->files);
    c->files = NULL;
    c->rows = store_cut_begin(s->store, !c->is_full, (size_t)s->config.snapshot.copy_mb << 20);
    s->env.write(s->env.ctx, c->rows, &s->schema, s->up.rank, mark->dir);
}

Err session_mark(Session *s, Message *m) {
    uint64_t cut = m->mark.cut;
    bool is_again = cut && cut == s->cut.number, is_new = may_mark(s, m);
    if (cut > s->cut.tried)
        s->cut.tried = cut;
    MessageMARKED *marked = &session_message(s, MESSAGE_MARKED, m->sequence)->marked;
    marked->cut = cut;
    marked->is_ok = is_again || is_new;
    session_send(s, PEER_SCHEDULER);
    if (is_new)
        begin_writing(s, &m->mark);
    else if (is_again && !s->cut.is_writing)
        send_written(s);
    return OK;
}

void session_on_written(Session *s, Err result, const char *files, uint64_t now_ms) {
    Cut *c = &s->cut;
    assert(c->is_writing && (result || files));
    c->is_writing = false;
    store_cut_end(&c->rows, c->is_full && !result);
    if (c->is_full && !result)
        c->base = c->number;
    if (s->state == SESSION_ENDED)
        return;
    s->now_ms = now_ms;
    if (result)
        snprintf(c->sentence, sizeof c->sentence, "%s", err_message());
    else
        c->files = must_strdup(files);
    send_written(s);
    session_retry_pushes(s);
}

bool session_has_waiting_pushes(const Session *s) {
    return s->pushes.first != NULL;
}

void session_on_retry(Session *s, uint64_t now_ms) {
    if (s->state == SESSION_ENDED)
        return;
    s->now_ms = now_ms;
    session_retry_pushes(s);
}

/* Pushes have gone on since the mark; what is left is to see that both mean the same cut. */
Err session_resume(Session *s, Message *m) {
    if (m->resume.cut > s->cut.tried || m->resume.map != s->view.map)
        return err_fail(ERR_PROTOCOL, "the scheduler resumes cut %lu with map %lu; this server is at cut %lu, map %lu",
                        (unsigned long)m->resume.cut, (unsigned long)m->resume.map, (unsigned long)s->cut.tried,
                        (unsigned long)s->view.map);
    return OK;
}
