/* The saving of a snapshot, beside everything else: from MARK over the servers' files to the commit of the manifest.
 * Training goes on meanwhile, so what the manifest needs of the moment of the cut is kept here.
 *
 *   NOTHING --saving_begin: MARK--> FILES --all have written--> MANIFEST --committed--> NOTHING
 *                                   FILES --a server refused, or could not write--> NOTHING
 *   FILES --a server has not written in time--> LATE --it has answered--> NOTHING */
#include "server/scheduler/scheduler_saving.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "server/scheduler/scheduler_parts.h"

/* ---- requests ------------------------------------------------------------------------------------------------- */

static bool is_open(const SnapshotRequest *r) {
    return r->peer && (r->state == REQUEST_PENDING || r->state == REQUEST_WRITING);
}

static void answer(SnapshotRequest *r, RequestState state, const char *text) {
    r->state = state;
    snprintf(r->text, sizeof r->text, "%s", text);
}

/* All that are in one state come into another. */
static void move_requests(Scheduler *s, RequestState from, RequestState to, const char *text) {
    for (int i = 0; i < MAX_REQUESTS; i++)
        if (s->saving.requests[i].peer && s->saving.requests[i].state == from)
            answer(&s->saving.requests[i], to, text);
}

static bool has_pending_request(const Scheduler *s) {
    for (int i = 0; i < MAX_REQUESTS; i++)
        if (s->saving.requests[i].peer && s->saving.requests[i].state == REQUEST_PENDING)
            return true;
    return false;
}

const SnapshotRequest *saving_request(const Scheduler *s, uint64_t peer) {
    for (int i = 0; i < MAX_REQUESTS; i++)
        if (s->saving.requests[i].peer == peer)
            return &s->saving.requests[i];
    return NULL;
}

/* The oldest of those that have their answer gives way: the list is kept in the order in which they came. */
static SnapshotRequest *new_request(Saving *v, uint64_t peer) {
    int i = 0;
    while (i < MAX_REQUESTS && is_open(&v->requests[i]))
        i++;
    if (i == MAX_REQUESTS)
        return NULL;
    memmove(&v->requests[i], &v->requests[i + 1], (size_t)(MAX_REQUESTS - 1 - i) * sizeof *v->requests);
    SnapshotRequest *r = &v->requests[MAX_REQUESTS - 1];
    *r = (SnapshotRequest){.peer = peer};
    return r;
}

/* While nothing is trained the state is that of the last epoch's end, which is saved, or could not be. */
void saving_on_ask(Scheduler *s, uint64_t peer) {
    Saving *v = &s->saving;
    SnapshotRequest *r = saving_request(s, peer) ? NULL : new_request(v, peer);
    if (!r)
        return;
    if (!s->config->snapshot.enabled)
        answer(r, REQUEST_FAILED, "snapshots are off (snapshot.enabled)");
    else if (s->phase >= PHASE_ENDING)
        answer(r, REQUEST_FAILED, "the run is ending");
    else if (s->phase == PHASE_EVALUATING && s->evaluation.is_committed)
        answer(r, REQUEST_COMMITTED, v->last.dir);
}

/* ---- when, and of which kind ---------------------------------------------------------------------------------- */

static bool is_due_by_steps(const Scheduler *s) {
    const Saving *v = &s->saving;
    uint64_t tried_done = v->tried_epoch == s->epoch ? v->tried_done : 0;
    return s->config->snapshot.every_steps &&
           reports_least(s) >= tried_done + (uint64_t)s->config->snapshot.every_steps;
}

bool saving_is_due(const Scheduler *s) {
    const Saving *v = &s->saving;
    const SnapshotConfig *c = &s->config->snapshot;
    if (!c->enabled || v->state != SAVING_NOTHING)
        return false;
    return v->is_due_again || has_pending_request(s) ||
           (c->every_s && s->clock_ms - v->tried_ms >= (uint64_t)c->every_s * 1000) || is_due_by_steps(s);
}

bool saving_is_current(const Scheduler *s, uint32_t n_done) {
    const SavedState *last = &s->saving.last;
    bool is_end_of_previous = last->is_epoch_end && last->epoch + 1 == s->epoch && n_done == 0;
    return last->cut && ((last->epoch == s->epoch && last->n_done == n_done) || is_end_of_previous);
}

bool saving_is_under_way(const Scheduler *s) {
    return s->saving.state == SAVING_FILES || s->saving.state == SAVING_MANIFEST;
}

static void note_try(Scheduler *s, uint32_t n_done) {
    s->saving.tried_epoch = s->epoch;
    s->saving.tried_done = n_done;
    s->saving.tried_ms = s->clock_ms;
}

void saving_answer(Scheduler *s) {
    move_requests(s, REQUEST_PENDING, REQUEST_COMMITTED, s->saving.last.dir);
}

void saving_skip(Scheduler *s, uint32_t n_done) {
    note_try(s, n_done);
    s->saving.is_due_again = false;
    if (saving_is_current(s, n_done))
        saving_answer(s);
    else if (s->saving.state == SAVING_LATE)
        move_requests(s, REQUEST_PENDING, REQUEST_FAILED, s->saving.failure);
    else
        move_requests(s, REQUEST_PENDING, REQUEST_FAILED, "nothing has been trained yet");
}

void saving_start(Scheduler *s) {
    s->saving.number = s->start.cut;
    s->saving.tried_ms = s->clock_ms;
}

void saving_restored(Scheduler *s, bool is_full) {
    SavedState *last = &s->saving.last;
    uint32_t n_done = reports_count(s, reports_first_server(s));
    *last = (SavedState){.cut = s->start.cut, .epoch = s->epoch, .n_done = n_done, .is_epoch_end = is_full};
    memcpy(last->dir, s->start.dir, sizeof last->dir);
    note_try(s, n_done);
}

static void name_state(Scheduler *s, bool is_epoch_end, uint32_t n_done) {
    SavedState *now = &s->saving.now;
    *now = (SavedState){.cut = s->saving.number, .epoch = s->epoch, .n_done = n_done, .is_epoch_end = is_epoch_end};
    int n = snprintf(now->dir, sizeof now->dir, "%s/snapshots/epoch-%04u", s->config->run_dir, s->epoch);
    if (!is_epoch_end)
        snprintf(now->dir + n, sizeof now->dir - (size_t)n, "-step-%06u", n_done);
}

static bool is_full(const Saving *v) {
    return v->base.cut == 0;
}

/* ---- MARK, MARKED, WRITTEN ------------------------------------------------------------------------------------ */

static void send_mark(Scheduler *s, const Member *server) {
    const Saving *v = &s->saving;
    Message *m = scheduler_message(s, MESSAGE_MARK);
    m->mark.cut = v->number;
    m->mark.epoch = v->now.epoch;
    m->mark.map = s->map;
    m->mark.base = v->base.cut;
    snprintf(m->mark.dir, sizeof m->mark.dir, "%s", v->now.dir);
    for (int d = 0; d < N_DOMAINS; d++)
        message_add_bytes(m, v->bitmaps[d], bitmap_bytes(s->data.n_steps[d]));
    scheduler_send(s, server->peer);
}

/* What was said of the cut before it is forgotten. */
static void clear_answers(Scheduler *s) {
    Member *server;
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));) {
        ServerAnswers *a = &server->answers;
        a->is_marked = a->is_refused = a->is_written = a->has_failed = false;
    }
    if (!s->saving.files)
        s->saving.files = must_calloc((size_t)s->config->cluster.servers, sizeof *s->saving.files);
    for (int i = 0; i < s->config->cluster.servers; i++) {
        free(s->saving.files[i]);
        s->saving.files[i] = NULL;
    }
}

void saving_begin(Scheduler *s, bool is_epoch_end, uint32_t n_done) {
    Saving *v = &s->saving;
    const ServerAnswers *state = &reports_first_server(s)->answers;
    assert(v->state == SAVING_NOTHING);
    v->number++;
    name_state(s, is_epoch_end, n_done);
    note_try(s, n_done);
    v->base = v->full.cut && v->n_since_full + 1 < (uint32_t)s->config->snapshot.full_every ? v->full : (SavedState){0};
    for (int d = 0; d < N_DOMAINS; d++) {
        size_t size = bitmap_bytes(s->data.n_steps[d]);
        v->bitmaps[d] = must_realloc(v->bitmaps[d], size + 1);
        memcpy(v->bitmaps[d], state->bitmap[d], size);
        v->t[d] = state->t[d];
    }
    clear_answers(s);
    move_requests(s, REQUEST_PENDING, REQUEST_WRITING, "");
    v->n_refused = v->is_due_again ? v->n_refused : 0;
    v->is_doomed = v->is_due_again = false;
    v->begun_ms = s->clock_ms;
    v->asked_ms = 0;
    v->state = SAVING_FILES;
}

Marks saving_marks(const Scheduler *s) {
    const Member *server;
    bool is_refused = false;
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));) {
        if (!server->answers.is_marked && !server->answers.is_refused)
            return MARKS_AWAITED;
        is_refused = is_refused || server->answers.is_refused;
    }
    return is_refused ? MARKS_REFUSED : MARKS_SET;
}

void saving_on_marked(Scheduler *s, Member *server, Message *m) {
    ServerAnswers *a = &server->answers;
    if (s->saving.state != SAVING_FILES || m->marked.cut != s->saving.number || a->is_marked)
        return;
    if (m->marked.is_ok == 1)
        a->is_marked = true;
    else
        a->is_refused = true;
}

void saving_on_written(Scheduler *s, Member *server, Message *m) {
    Saving *v = &s->saving;
    ServerAnswers *a = &server->answers;
    bool is_awaited = v->state == SAVING_FILES || v->state == SAVING_LATE;
    if (!is_awaited || m->written.cut != v->number || a->is_refused || a->is_written)
        return;
    a->is_written = a->is_marked = true;
    a->has_failed = m->written.is_ok != 1;
    if (a->has_failed) {
        snprintf(v->failure, sizeof v->failure, "%s could not write its part of %.200s: %.200s", server->name,
                 v->now.dir, m->written.text);
        return;
    }
    size_t size = 0;
    const char *text = m->n_frames ? message_bytes(m, 0, m->n_frames, &size) : "";
    char *files = v->files[server->rank] = must_alloc(size + 1);
    memcpy(files, text, size);
    files[size] = 0;
}

/* ---- the end -------------------------------------------------------------------------------------------------- */

/* Whatever some servers may have made their base by now: the next snapshot goes on from none. */
static void give_up(Scheduler *s) {
    s->saving.state = SAVING_NOTHING;
    s->saving.full = (SavedState){0};
}

static void fail(Scheduler *s) {
    log_warn("the snapshot was not written, training goes on without it: %s", s->saving.failure);
    move_requests(s, REQUEST_WRITING, REQUEST_FAILED, s->saving.failure);
    give_up(s);
}

static void commit(Scheduler *s) {
    Saving *v = &s->saving;
    SnapshotFacts facts = {.epoch = v->now.epoch,
                           .cut = v->number,
                           .base_cut = v->base.cut,
                           .base_dir = is_full(v) ? NULL : v->base.dir,
                           .seed = opening_seed(s),
                           .standing = s->evaluation.standing,
                           .is_epoch_end = v->now.is_epoch_end,
                           .dir = v->now.dir,
                           .n_servers = (uint32_t)s->config->cluster.servers,
                           .files = (const char *const *)v->files,
                           .slot_map = s->slots,
                           .manifest = s->data.manifest};
    for (int d = 0; d < N_DOMAINS; d++) {
        facts.bitmaps[d] = v->bitmaps[d];
        facts.n_steps[d] = s->data.n_steps[d];
        facts.t[d] = v->t[d];
    }
    v->state = SAVING_MANIFEST;
    s->env.commit(s->env.ctx, &facts);
}

void saving_on_committed(Scheduler *s, Err result) {
    Saving *v = &s->saving;
    assert(v->state == SAVING_MANIFEST);
    if (result) {
        snprintf(v->failure, sizeof v->failure, "%.200s could not be completed: %.250s", v->now.dir, err_message());
        fail(s);
        return;
    }
    v->state = SAVING_NOTHING;
    v->last = v->now;
    v->n_since_full = is_full(v) ? 0 : v->n_since_full + 1;
    if (is_full(v))
        v->full = v->now;
    move_requests(s, REQUEST_WRITING, REQUEST_COMMITTED, v->last.dir);
    if (!v->last.is_epoch_end)
        log_info("snapshot %s is complete%s", v->last.dir,
                 is_full(v) ? "" : " (it holds what has changed since the last full one)");
}

/* The question is repeated each second until it is answered by MARKED, then now and then until WRITTEN. */
static void ask(Scheduler *s) {
    Saving *v = &s->saving;
    const Member *server;
    bool is_marking = saving_marks(s) == MARKS_AWAITED;
    if (v->asked_ms && s->clock_ms - v->asked_ms < (is_marking ? ASK_AGAIN_MS : ASK_WRITTEN_MS))
        return;
    v->asked_ms = s->clock_ms;
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));)
        if (!server->answers.is_refused && !server->answers.is_written && !(is_marking && server->answers.is_marked))
            send_mark(s, server);
}

/* A server was not in the state that all had reported: a matter of time, so it is tried again, but not for ever. */
static void retry(Scheduler *s) {
    Saving *v = &s->saving;
    if (++v->n_refused >= MAX_MARKS) {
        snprintf(v->failure, sizeof v->failure, "the servers did not come to one state in %d tries", MAX_MARKS);
        fail(s);
        return;
    }
    v->is_due_again = true;
    move_requests(s, REQUEST_WRITING, REQUEST_PENDING, "");
    give_up(s);
}

/* Whoever does not even mark does not live. One that writes is let be: its disk is slow, or hangs. */
static void on_late(Scheduler *s, const Member *server) {
    Saving *v = &s->saving;
    if (!server->answers.is_marked) {
        scheduler_end(s, ERR_TIMEOUT, "%s at %s has not marked its rows for a snapshot within %d s", server->name,
                      server->endpoint, ANSWER_MS / 1000);
        return;
    }
    snprintf(v->failure, sizeof v->failure, "%s at %.200s has not written its part of %.200s within %d minutes",
             server->name, server->endpoint, v->now.dir, WRITE_MS / 60000);
    fail(s);
    v->state = SAVING_LATE;
}

/* It has had its time for what it has not answered yet. */
static bool is_late(const Scheduler *s, const Member *server) {
    return s->clock_ms - s->saving.begun_ms >= (server->answers.is_marked ? WRITE_MS : ANSWER_MS);
}

static void close_files(Scheduler *s, bool has_failed) {
    if (s->saving.state == SAVING_LATE)
        s->saving.state = SAVING_NOTHING;
    else if (s->saving.is_doomed)
        retry(s);
    else if (has_failed)
        fail(s);
    else
        commit(s);
}

static bool collect_files(Scheduler *s) {
    Saving *v = &s->saving;
    const Member *server, *late = NULL;
    bool is_waiting = false, has_failed = false;
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));) {
        const ServerAnswers *a = &server->answers;
        v->is_doomed = v->is_doomed || a->is_refused;
        has_failed = has_failed || a->has_failed;
        if (a->is_refused || a->is_written)
            continue;
        is_waiting = true;
        if (is_late(s, server) && (!late || !a->is_marked))
            late = server;
    }
    if (!is_waiting)
        close_files(s, has_failed);
    else {
        ask(s);
        if (!late || v->state == SAVING_LATE)
            return false;
        on_late(s, late);
    }
    return true;
}

bool saving_advance(Scheduler *s) {
    bool is_awaited = s->saving.state == SAVING_FILES || s->saving.state == SAVING_LATE;
    return is_awaited && s->phase < PHASE_ENDING && collect_files(s);
}

void saving_end(Scheduler *s, const char *sentence) {
    char text[MESSAGE_TEXT];
    snprintf(text, sizeof text, "the run has ended: %.450s", sentence);
    move_requests(s, REQUEST_PENDING, REQUEST_FAILED, text);
    move_requests(s, REQUEST_WRITING, REQUEST_FAILED, text);
}

void saving_free(Scheduler *s) {
    Saving *v = &s->saving;
    for (int i = 0; v->files && i < s->config->cluster.servers; i++)
        free(v->files[i]);
    free(v->files);
    for (int d = 0; d < N_DOMAINS; d++)
        free(v->bitmaps[d]);
}
