/* The scheduler: its phases, what it does with each message, and how a run ends. */
#include "server/scheduler/scheduler.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/options.h"
#include "server/scheduler/scheduler_parts.h"

/* ---- sending -------------------------------------------------------------------------------------------------- */

Message *scheduler_message(Scheduler *s, MessageType type) {
    message_init(&s->out, type);
    s->out.job = s->job;
    s->out.incarnation = s->incarnation;
    return &s->out;
}

void scheduler_send(Scheduler *s, uint64_t peer) {
    s->env.outbox.send(s->env.outbox.ctx, peer, &s->out);
}

bool scheduler_asks(Scheduler *s) {
    if (s->clock_ms < s->ask_ms)
        return false;
    s->ask_ms = s->clock_ms + ASK_AGAIN_MS;
    return true;
}

void scheduler_ask_at_once(Scheduler *s) {
    s->ask_ms = 0;
    s->phase_ms = s->clock_ms;
}

uint64_t scheduler_elapsed_ms(const Scheduler *s) {
    return s->clock_ms - s->phase_ms;
}

/* ---- phases --------------------------------------------------------------------------------------------------- */

void scheduler_enter(Scheduler *s, Phase phase) {
    s->phase = phase;
    scheduler_ask_at_once(s);
}

static void send_finish(Scheduler *s, uint64_t peer) {
    MessageFINISH *finish = &scheduler_message(s, MESSAGE_FINISH)->finish;
    finish->code = (uint64_t)-s->ending.code;
    snprintf(finish->text, sizeof finish->text, "%s", s->ending.sentence);
    scheduler_send(s, peer);
}

void scheduler_end(Scheduler *s, Err code, const char *format, ...) {
    if (s->phase >= PHASE_ENDING)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(s->ending.sentence, sizeof s->ending.sentence, format, args);
    va_end(args);
    s->ending.code = code;
    saving_end(s, s->ending.sentence);
    lease_book_clear(&s->book);
    scheduler_enter(s, PHASE_ENDING);
}

void scheduler_stop(Scheduler *s, Err code, const char *sentence) {
    if (s->is_stopping)
        return;
    s->is_stopping = true;
    s->stop.code = code;
    snprintf(s->stop.sentence, sizeof s->stop.sentence, "%s", sentence);
}

static void stop_as_asked(Scheduler *s) {
    scheduler_stop(s, ERR_STOPPED, "stopped as asked");
}

/* The epoch is complete; once it is evaluated the next one comes. */
static bool advance_evaluating(Scheduler *s) {
    Evaluation *e = &s->evaluation;
    if (s->is_stopping && !e->is_committed && s->config->snapshot.enabled) {
        e->standing = e->standing_before; /* the snapshot's epoch will be evaluated anew */
        cut_begin(s, CUT_STOP);
        return true;
    }
    if (s->is_stopping) {
        scheduler_end(s, s->stop.code, "%.250s after epoch %u, before its evaluation%s%.400s", s->stop.sentence,
                      s->epoch, e->is_committed ? "; the state is in " : "", e->is_committed ? s->saving.last.dir : "");
        return true;
    }
    if (evaluation_advance(s))
        return true;
    if (!e->is_complete)
        return false;
    s->env.epoch_done(s->env.ctx, &e->result, e->is_committed ? s->saving.last.dir : NULL);
    opening_next(s);
    return true;
}

/* finished() is not called while an effect is under way: it may use our memory. */
static bool is_waiting_for_effect(const Scheduler *s) {
    bool waits = s->saving.state == SAVING_MANIFEST;
    for (int d = 0; d < N_DOMAINS; d++)
        for (int split = 0; split < N_SPLITS; split++)
            waits = waits || s->evaluation.sheets[d][split].state == SHEET_RANKING;
    return waits;
}

static bool advance_ending(Scheduler *s) {
    const Member *m;
    bool asks = scheduler_asks(s);
    for (uint32_t i = 0; asks && (m = members_next(s, ROLE_ANY, &i));)
        send_finish(s, m->peer);
    if (is_waiting_for_effect(s) || (members_count(s, ROLE_ANY) && scheduler_elapsed_ms(s) < BYE_MS))
        return false;
    s->phase = PHASE_OVER;
    s->env.finished(s->env.ctx, s->ending.code, s->ending.sentence);
    return false;
}

/* Phases and what moves them on; true: look again. */
static bool (*const ADVANCE[N_PHASES])(Scheduler *s) = {
    [PHASE_JOINING] = opening_joining, [PHASE_OPENING] = opening_advance,       [PHASE_TRAINING] = leases_training,
    [PHASE_CUTTING] = cut_advance,     [PHASE_EVALUATING] = advance_evaluating, [PHASE_ENDING] = advance_ending,
};

void scheduler_advance(Scheduler *s) {
    if (s->is_advancing) /* an effect was answered at once: the loop below sees it */
        return;
    s->is_advancing = true;
    while (saving_advance(s) || (ADVANCE[s->phase] && ADVANCE[s->phase](s)))
        ;
    s->is_advancing = false;
}

/* ---- messages ------------------------------------------------------------------------------------------------- */

static void on_heartbeat(Scheduler *s, Member *member, Message *m) {
    const MessageHEARTBEAT *h = &m->heartbeat;
    member->figures = (MemberFigures){h->lease,      h->n_steps,    h->n_instances,   h->n_rows,
                                      h->used_bytes, h->sent_bytes, h->received_bytes};
    const Lease *lease = lease_find(&s->book, h->lease);
    if (lease && lease->worker == member->peer)
        lease_progress(&s->book, h->lease, h->n_steps, s->clock_ms);
}

static void on_lease_ask(Scheduler *s, Member *worker, Message *m) {
    (void)m;
    leases_on_ask(s, worker);
}

static void on_lease_end(Scheduler *s, Member *worker, Message *m) {
    leases_on_end(s, worker, m);
}

typedef struct Handler {
    void (*handle)(Scheduler *s, Member *member, Message *m);
    int role; /* who may say so */
} Handler;

static const Handler HANDLERS[] = {
    [MESSAGE_HEARTBEAT] = {on_heartbeat, ROLE_ANY},       [MESSAGE_BYE] = {members_bye, ROLE_ANY},
    [MESSAGE_READY] = {opening_on_ready, ROLE_SERVER},    [MESSAGE_EPOCH_OPENED] = {opening_on_opened, ROLE_SERVER},
    [MESSAGE_REPORT] = {reports_on_report, ROLE_SERVER},  [MESSAGE_MARKED] = {saving_on_marked, ROLE_SERVER},
    [MESSAGE_WRITTEN] = {saving_on_written, ROLE_SERVER}, [MESSAGE_LEASE_ASK] = {on_lease_ask, ROLE_WORKER},
    [MESSAGE_LEASE_END] = {on_lease_end, ROLE_WORKER},    [MESSAGE_SCORES] = {evaluation_on_scores, ROLE_WORKER},
};

static void on_member_message(Scheduler *s, Member *member, Message *m) {
    const Handler *h = m->type < sizeof HANDLERS / sizeof *HANDLERS ? &HANDLERS[m->type] : NULL;
    char sentence[MESSAGE_TEXT];
    members_heard(s, member);
    if (s->phase == PHASE_ENDING && m->type != MESSAGE_BYE)
        return;
    if (h && h->handle && (h->role == ROLE_ANY || h->role == (int)member->role)) {
        h->handle(s, member, m);
        return;
    }
    snprintf(sentence, sizeof sentence, "%s sent %s, which the scheduler does not take from it", member->name,
             message_type_name(m->type));
    members_drop(s, member, ERR_PROTOCOL, sentence);
}

/* Of another run, or of one that has not said HELLO: only control may speak so. */
static void on_stranger_message(Scheduler *s, uint64_t peer, Message *m) {
    if (m->type == MESSAGE_STOP_ASK)
        stop_as_asked(s);
    if (m->type == MESSAGE_SNAPSHOT_ASK)
        saving_on_ask(s, peer);
    if (m->type == MESSAGE_STATUS_ASK || m->type == MESSAGE_STOP_ASK || m->type == MESSAGE_SNAPSHOT_ASK)
        status_answer(s, peer, m);
    else if (s->phase == PHASE_ENDING)
        send_finish(s, peer);
    else if (m->type != MESSAGE_BYE)
        members_refuse(s, peer, ERR_PEER,
                       "the scheduler does not know this process: it belongs to another run, or its "
                       "place was taken; start it again");
}

void scheduler_on_message(Scheduler *s, uint64_t peer, Message *m, uint64_t now_ms) {
    s->now_ms = now_ms;
    if (s->phase == PHASE_OVER)
        return;
    Member *member = members_find(s, peer);
    if (m->type == MESSAGE_HELLO && s->phase != PHASE_ENDING)
        members_hello(s, peer, m);
    else if (member && member->state != MEMBER_GONE && (m->job == 0 || m->job == s->job))
        on_member_message(s, member, m);
    else if (!member || member->state != MEMBER_GONE)
        on_stranger_message(s, peer, m);
    scheduler_advance(s);
}

/* ---- other events --------------------------------------------------------------------------------------------- */

void scheduler_on_tick(Scheduler *s, uint64_t now_ms) {
    uint64_t gap = now_ms > s->tick_ms ? now_ms - s->tick_ms : 0;
    s->now_ms = s->tick_ms = now_ms;
    s->clock_ms += gap < MAX_CLOCK_STEP_MS ? gap : MAX_CLOCK_STEP_MS;
    if (s->phase == PHASE_OVER)
        return;
    members_tick(s);
    leases_expire(s);
    status_tick(s);
    scheduler_advance(s);
}

void scheduler_on_committed(Scheduler *s, Err result, uint64_t now_ms) {
    s->now_ms = now_ms;
    saving_on_committed(s, result);
    scheduler_advance(s);
}

void scheduler_on_ranked(Scheduler *s, const RankJob *job, const RankingMetrics *metrics, uint64_t now_ms) {
    s->now_ms = now_ms;
    Sheet *sheet = &s->evaluation.sheets[job->domain][job->split];
    assert(sheet->state == SHEET_RANKING);
    sheet->state = SHEET_RANKED;
    s->evaluation.result.metrics[job->domain][job->split] = *metrics;
    s->evaluation.result.is_scored[job->domain][job->split] = true;
    scheduler_advance(s);
}

void scheduler_on_stop(Scheduler *s, uint64_t now_ms) {
    s->now_ms = now_ms;
    if (s->is_signalled)
        scheduler_end(s, ERR_STOPPED, "stopped at once as asked twice: epoch %u is not saved", s->epoch);
    s->is_signalled = true;
    stop_as_asked(s);
    scheduler_advance(s);
}

void scheduler_on_fault(Scheduler *s, uint64_t peer, const char *sentence, uint64_t now_ms) {
    s->now_ms = now_ms;
    Member *member = members_find(s, peer);
    if (!member || member->state == MEMBER_GONE || s->phase == PHASE_OVER)
        return;
    members_drop(s, member, ERR_PROTOCOL, sentence);
    scheduler_advance(s);
}

/* ---- opening and closing -------------------------------------------------------------------------------------- */

Err scheduler_open(Scheduler **out, const Config *config, const char *config_text, uint64_t incarnation,
                   const SchedulerEnv *env, const SchedulerStart *start, uint64_t now_ms) {
    if (strlen(config->run_dir) + 64 > MESSAGE_TEXT)
        return err_fail(ERR_CONFIG, "run.dir is %zu bytes long; at most %d are allowed", strlen(config->run_dir),
                        MESSAGE_TEXT - 64);
    if (config->cluster.servers < 1 || config->cluster.servers > UINT16_MAX || config->cluster.servers > N_SLOTS)
        return err_fail(ERR_CONFIG, "cluster.servers is %d; 1 to %d are possible", config->cluster.servers, N_SLOTS);
    Scheduler *s = must_calloc(1, sizeof *s);
    s->config = config;
    s->env = *env;
    s->config_text = must_strdup(config_text);
    s->config_fingerprint = config_fingerprint(config);
    s->incarnation = incarnation;
    s->job = (uint32_t)(incarnation ^ incarnation >> 32) | 1;
    s->is_sync = config->train.consistency == CONSISTENCY_SYNC;
    s->n_ranks = s->is_sync ? (uint32_t)config->train.ranks : 1;
    s->now_ms = s->tick_ms = s->clock_ms = now_ms;
    if (start)
        s->start = *start;
    s->evaluation.standing =
        start && start->restore == RESTORE_RESUME ? start->standing : (Standing){.best_wauc = {-1, -1}};
    lease_book_init(&s->book, (uint64_t)config->cluster.lease_s * 1000);
    scheduler_enter(s, PHASE_JOINING);
    *out = s;
    return OK;
}

void scheduler_close(Scheduler **out) {
    Scheduler *s = *out;
    if (!s)
        return;
    members_free(s);
    saving_free(s);
    evaluation_free(s);
    lease_book_free(&s->book);
    geometry_free(&s->data.geometry);
    datainfo_free(&s->data.info);
    free(s->data.manifest);
    free(s->config_text);
    free(s);
    *out = NULL;
}
