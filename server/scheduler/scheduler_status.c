/* What people ask and see: STATUS and the progress line. Nothing here changes what happens. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "server/scheduler/scheduler_parts.h"

enum { SHOW_MS = 1000, REPORT_MS = 2000, COUNT_MS = 200 /* where a snapshot is due by steps */ };

static const char *const PHASE_NAMES[N_PHASES] = {
    [PHASE_JOINING] = "waiting",  [PHASE_OPENING] = "opening",       [PHASE_TRAINING] = "training",
    [PHASE_CUTTING] = "snapshot", [PHASE_EVALUATING] = "evaluating", [PHASE_ENDING] = "ending",
    [PHASE_OVER] = "over",
};

static const char *phase_name(const Scheduler *s) {
    bool is_saving = s->phase == PHASE_CUTTING && (s->cut.reason == CUT_EPOCH || s->cut.reason == CUT_STOP);
    return PHASE_NAMES[s->phase == PHASE_CUTTING && !is_saving ? PHASE_TRAINING : s->phase];
}

static uint64_t trained_instances(const Scheduler *s) {
    const Member *worker;
    uint64_t n = s->totals.n_instances;
    bool is_training = s->phase == PHASE_TRAINING || s->phase == PHASE_CUTTING;
    for (uint32_t i = 0; is_training && (worker = members_next(s, ROLE_WORKER, &i));)
        n += worker->figures.lease ? worker->figures.n_instances : 0;
    return n;
}

static void sum_figures(const Scheduler *s, SchedulerProgress *p) {
    const Member *m;
    for (uint32_t i = 0; (m = members_next(s, ROLE_ANY, &i));) {
        p->n_rows += m->figures.n_rows;
        p->used_bytes += m->figures.used_bytes;
        p->sent_bytes += m->figures.sent_bytes;
        p->received_bytes += m->figures.received_bytes;
    }
}

static SchedulerProgress progress_of(const Scheduler *s) {
    EpochResult losses = {0};
    SchedulerProgress p = {.epoch = s->epoch,
                           .epochs = (uint32_t)s->config->train.epochs,
                           .steps_done = s->phase < PHASE_TRAINING ? 0 : reports_least(s),
                           .steps_total = s->data.n_steps[DOMAIN_A] + (uint64_t)s->data.n_steps[DOMAIN_B],
                           .n_instances = trained_instances(s),
                           .instances_per_s = s->totals.rate,
                           .n_workers = members_count(s, ROLE_WORKER),
                           .n_servers = members_count(s, ROLE_SERVER),
                           .phase = phase_name(s)};
    if (s->phase >= PHASE_TRAINING)
        reports_losses(s, &losses);
    memcpy(p.loss, losses.data_loss, sizeof p.loss);
    sum_figures(s, &p);
    return p;
}

/* Instances a second since the last look, smoothed over about four looks. */
static void measure_rate(Scheduler *s) {
    Totals *t = &s->totals;
    uint64_t n = trained_instances(s), elapsed_ms = s->clock_ms - t->shown_ms;
    if (s->phase == PHASE_TRAINING && elapsed_ms && n > t->shown_instances) {
        double rate = (double)(n - t->shown_instances) * 1000 / (double)elapsed_ms;
        t->rate += (rate - t->rate) * (t->rate > 0 ? 0.25 : 1);
    }
    t->shown_ms = s->clock_ms;
    t->shown_instances = n;
}

void status_progress(Scheduler *s) {
    SchedulerProgress p = progress_of(s);
    if (s->env.progress)
        s->env.progress(s->env.ctx, &p);
}

void status_tick(Scheduler *s) {
    const Member *server;
    if (s->phase == PHASE_TRAINING && s->clock_ms >= s->totals.report_ms) {
        s->totals.report_ms = s->clock_ms + (s->config->snapshot.every_steps ? COUNT_MS : REPORT_MS);
        for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));)
            reports_ask(s, server);
    }
    if (s->clock_ms - s->totals.shown_ms < SHOW_MS || s->phase >= PHASE_ENDING)
        return;
    measure_rate(s);
    status_progress(s);
}

/* ---- STATUS --------------------------------------------------------------------------------------------------- */

static json_t *member_status(const Scheduler *s, const Member *m) {
    static const char *const STATES[] = {"present", "silent", "gone"};
    json_t *o = json_pack("{s:s, s:s, s:s, s:I}", "name", m->name, "host", m->host, "state", STATES[m->state],
                          "silent_ms", (json_int_t)(s->clock_ms - m->heard_ms));
    if (!o) /* a host name that is no UTF-8 */
        return json_pack("{s:s, s:s}", "name", m->name, "state", STATES[m->state]);
    if (m->role == ROLE_SERVER) {
        json_object_set_new(o, "endpoint", json_string(m->endpoint));
        json_object_set_new(o, "rows", json_integer((json_int_t)m->figures.n_rows));
        json_object_set_new(o, "bytes", json_integer((json_int_t)m->figures.used_bytes));
    } else
        json_object_set_new(o, "lease", json_integer((json_int_t)m->figures.lease));
    json_object_set_new(o, "sent_bytes", json_integer((json_int_t)m->figures.sent_bytes));
    json_object_set_new(o, "received_bytes", json_integer((json_int_t)m->figures.received_bytes));
    return o;
}

/* Of the last one that is complete, of the one that is being written, and of the request of whoever asks. */
static json_t *snapshot_status(const Scheduler *s, uint64_t peer, MessageType question) {
    static const char *const STATES[] = {"pending", "writing", "committed", "failed"};
    const Saving *v = &s->saving;
    static const SnapshotRequest REFUSED = {.state = REQUEST_FAILED,
                                            .text = "too many requests are open: ask again when one has its answer"};
    const SnapshotRequest *own = saving_request(s, peer);
    if (!own && question == MESSAGE_SNAPSHOT_ASK)
        own = &REFUSED;
    uint32_t n_pending = 0;
    for (int i = 0; i < MAX_REQUESTS; i++)
        n_pending += v->requests[i].peer && v->requests[i].state == REQUEST_PENDING;
    json_t *o = json_pack("{s:I, s:s, s:b, s:I, s:s}", "number", (json_int_t)v->last.cut, "dir", v->last.dir, "writing",
                          saving_is_under_way(s), "pending", (json_int_t)n_pending, "failure", v->failure);
    if (o && own)
        json_object_set_new(o, "request", json_pack("{s:s, s:s}", "state", STATES[own->state], "text", own->text));
    return o ? o : json_object(); /* a directory's name that is no UTF-8 */
}

static json_t *status_json(const Scheduler *s, uint64_t peer, MessageType question) {
    const Standing *standing = &s->evaluation.standing;
    SchedulerProgress p = progress_of(s);
    json_t *members = json_array();
    for (uint32_t i = 0; i < s->members.n; i++)
        json_array_append_new(members, member_status(s, s->members.list[i]));
    return json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:f, s:{s:f, s:f}, s:[I,I], s:[I,I], s:o, s:o}", "phase",
                     p.phase, "stopping", (int)s->is_stopping, "epoch", (json_int_t)p.epoch, "epochs",
                     (json_int_t)p.epochs, "steps_done", (json_int_t)p.steps_done, "steps_total",
                     (json_int_t)p.steps_total, "instances", (json_int_t)p.n_instances, "instances_per_s",
                     p.instances_per_s, "loss", "A", p.loss[DOMAIN_A], "B", p.loss[DOMAIN_B], "best_epoch",
                     (json_int_t)standing->best_epoch[DOMAIN_A], (json_int_t)standing->best_epoch[DOMAIN_B], "stale",
                     (json_int_t)standing->stale[DOMAIN_A], (json_int_t)standing->stale[DOMAIN_B], "members", members,
                     "snapshot", snapshot_status(s, peer, question));
}

void status_answer(Scheduler *s, uint64_t peer, const Message *ask) {
    json_t *status = status_json(s, peer, ask->type);
    char *text = status ? json_dumps(status, JSON_COMPACT) : NULL;
    Message *m = scheduler_message(s, MESSAGE_STATUS);
    m->sequence = ask->sequence;
    message_add_bytes(m, text ? text : "{}", text ? strlen(text) : 2);
    scheduler_send(s, peer);
    free(text);
    json_decref(status);
}
