/* DESIGN. The three state machines of a cluster — scheduler, session, member — run here as they are; between them lies
 * a queue instead of a network. Only pulls and pushes take a shorter way: the trainer's client calls the session's
 * store. Everything happens on one thread: turn() delivers what is queued, does what was asked for and ticks. While the
 * trainer runs, stepped() takes such turns between steps, so that heartbeats, progress and ctrl-C come through. */
#include "deploy/local.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/files.h"
#include "common/log.h"
#include "common/options.h"
#include "deploy/derive.h"
#include "deploy/local_client.h"
#include "deploy/local_mail.h"
#include "deploy/local_rounding.h"
#include "server/run_record.h"
#include "server/scheduler/scheduler.h"
#include "server/session/session.h"
#include "server/snapshot/snapshot.h"
#include "worker/member.h"
#include "worker/ops/gemm.h"
#include "worker/trainer.h"

enum { TICK_MS = 100 };

typedef struct Local {
    Config config;
    char *config_text;
    Dataset *data;
    Scheduler *scheduler;
    Session *session;
    Member *member;
    RunRecord *record;
    Trainer *trainer; /* NULL before the first lease */
    LocalRounding rounding;
    const Geometry *geometry;
    const Config *worker_config;
    Schema schema;
    Mail mail;
    Assignment inbox; /* lease 0: none */
    uint64_t revoked; /* the lease that is to be given back */
    MemberStats stats;
    const SnapshotStart *start; /* NULL: from nothing */
    const SessionLoad *to_load; /* NULL: none asked for */
    StoreCut *to_write;         /* a snapshot's rows; NULL: none asked for */
    const Schema *written_schema;
    char write_dir[MESSAGE_TEXT];
    uint64_t clock_ms, ticked_ms;
    bool is_finished;
    Err code;
    char sentence[MESSAGE_TEXT];
} Local;

/* ---- the queue ---------------------------------------------------------------------------------------------- */

static void from_scheduler(void *ctx, uint64_t peer, Message *m) {
    mail_post(&((Local *)ctx)->mail, AT_SCHEDULER, (Place)peer, m);
}

static void from_server(void *ctx, uint64_t peer, Message *m) {
    (void)peer; /* nobody but the scheduler talks to it by message */
    mail_post(&((Local *)ctx)->mail, AT_SERVER, AT_SCHEDULER, m);
}

static void from_worker(void *ctx, Message *m) {
    mail_post(&((Local *)ctx)->mail, AT_WORKER, AT_SCHEDULER, m);
}

static void deliver(Local *l, Envelope *e) {
    if (e->to == AT_SERVER)
        session_on_scheduler(l->session, &e->m, l->clock_ms);
    else if (e->to == AT_WORKER)
        member_on_message(l->member, &e->m, l->clock_ms);
    else
        scheduler_on_message(l->scheduler, e->m.incarnation, &e->m, l->clock_ms);
}

static void deliver_all(Local *l) {
    for (Envelope *e; (e = mail_take(&l->mail));) {
        deliver(l, e);
        mail_recycle(&l->mail, e);
    }
}

/* ---- the server's effects ----------------------------------------------------------------------------------- */

/* Put off until the session has returned. */
static void on_write(void *ctx, StoreCut *cut, const Schema *schema, uint32_t rank, const char *dir) {
    (void)rank; /* the only one: 0 */
    Local *l = ctx;
    l->to_write = cut;
    l->written_schema = schema;
    snprintf(l->write_dir, sizeof l->write_dir, "%s", dir);
}

static void on_load(void *ctx, const SessionLoad *load) {
    ((Local *)ctx)->to_load = load;
}

static void load_rows(Local *l) {
    const SessionLoad *load = l->to_load;
    Store *store;
    l->to_load = NULL;
    Err err = snapshot_load_store(&store, load->dir, load->schema, load->optimizer, load->n_ranks, &load->how, NULL);
    session_on_loaded(l->session, err, store, l->clock_ms);
}

static void write_tables(Local *l) {
    char *files = NULL;
    Err err = snapshot_write_tables(l->to_write, l->written_schema, 0, l->write_dir, NULL, &files);
    if (err)
        log_error("the snapshot in %s was not written: %s", l->write_dir, err_message());
    l->to_write = NULL;
    session_on_written(l->session, err, files, l->clock_ms);
    free(files);
}

static void on_server_finished(void *ctx, Err code, const char *sentence) {
    (void)ctx;
    log_debug("the server has ended: %s %s", err_text(code), sentence); /* the scheduler ends the run */
}

/* ---- the scheduler's effects -------------------------------------------------------------------------------- */

static Err on_schema(void *ctx, const Config *config, const DataInfo *data, Schema *out) {
    const SnapshotStart *start = ((Local *)ctx)->start;
    Err err = derive_schema(NULL, config, data, out);
    if (!err && start)
        err = snapshot_start_check(start, data, out);
    if (!err && start)
        snapshot_start_tell(start, out);
    return err;
}

static void on_commit(void *ctx, const SnapshotFacts *facts) {
    Local *l = ctx;
    Err err = run_record_commit(l->record, facts);
    scheduler_on_committed(l->scheduler, err, l->clock_ms);
}

static void on_rank(void *ctx, const RankJob *job) {
    Local *l = ctx;
    RankingMetrics metrics;
    ranking_metrics(job->scores, job->users, job->n, job->n_candidates, l->config.eval.ks, l->config.eval.n_ks,
                    &metrics);
    scheduler_on_ranked(l->scheduler, job, &metrics, l->clock_ms);
}

static void on_epoch_done(void *ctx, const EpochResult *result, const char *snapshot_dir) {
    run_record_epoch(((Local *)ctx)->record, result, snapshot_dir);
}

static void on_progress(void *ctx, const SchedulerProgress *progress) {
    run_record_progress(((Local *)ctx)->record, progress);
}

static void on_finished(void *ctx, Err code, const char *sentence) {
    Local *l = ctx;
    l->is_finished = true;
    l->code = code;
    snprintf(l->sentence, sizeof l->sentence, "%s", sentence);
}

/* ---- the worker's effects ----------------------------------------------------------------------------------- */

static Err on_welcomed(void *ctx, const Config *config, const Geometry *geometry, const WorkerIdentity *who) {
    (void)who;
    Local *l = ctx;
    l->worker_config = config;
    l->geometry = geometry;
    return derive_schema(NULL, config, dataset_info(l->data), &l->schema);
}

/* The server is in this process, and welcomed before the VIEW was sent. */
static Err on_viewed(void *ctx, const ClusterView *view) {
    (void)view;
    member_on_connected(((Local *)ctx)->member);
    return OK;
}

static void on_work(void *ctx, Assignment *a) {
    ((Local *)ctx)->inbox = *a;
    *a = (Assignment){0};
}

static void on_revoke(void *ctx, uint64_t lease) {
    ((Local *)ctx)->revoked = lease;
}

static MemberStats on_stats(void *ctx) {
    return ((Local *)ctx)->stats;
}

static void on_worker_finished(void *ctx, Err code, const char *sentence) {
    (void)ctx;
    log_debug("the worker has ended: %s %s", err_text(code), sentence);
}

/* ---- signals ------------------------------------------------------------------------------------------------ */

/* All that a handler may touch. A handler it has to be: signals that are blocked here and waited for would go to
 * OpenBLAS's idle threads, which were there before main, and end the process. */
static volatile sig_atomic_t is_asked_to_stop;

static void on_signal(int number) {
    (void)number;
    is_asked_to_stop = 1;
}

static void handle_signals(void (*handler)(int)) {
    const struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- turns -------------------------------------------------------------------------------------------------- */

/* Steps of at most a second: a process that was stopped meanwhile blames nobody for it. */
static bool advance_clock(Local *l) {
    uint64_t now_ms = clock_now_ms(), gap = now_ms - l->ticked_ms;
    if (gap < TICK_MS)
        return false;
    l->ticked_ms = now_ms;
    l->clock_ms += gap < 1000 ? gap : 1000;
    return true;
}

/* The first ctrl-C asks for the end; after it the signals do again what they do. */
static void take_signals(Local *l) {
    if (!is_asked_to_stop)
        return;
    is_asked_to_stop = 0;
    handle_signals(SIG_DFL);
    log_info("stopping: a snapshot is written first; once more ends at once");
    scheduler_on_stop(l->scheduler, l->clock_ms);
}

/* Heartbeats are delivered before the scheduler looks for silence. */
static void turn(Local *l) {
    if (advance_clock(l)) {
        take_signals(l);
        member_on_tick(l->member, l->clock_ms);
        session_on_tick(l->session, l->clock_ms);
        deliver_all(l);
        scheduler_on_tick(l->scheduler, l->clock_ms);
    }
    deliver_all(l);
    if (l->to_load)
        load_rows(l);
    if (l->to_write)
        write_tables(l);
}

static bool stepped(void *ctx, const Assignment *a, uint64_t n_steps, uint64_t n_instances) {
    Local *l = ctx;
    l->stats = (MemberStats){.n_steps = n_steps, .n_instances = n_instances};
    turn(l);
    return l->revoked != a->lease && !l->is_finished;
}

static Err scored(void *ctx, const Assignment *a, const Scored *s) {
    Message m;
    assignment_write_scores(a, s, &m);
    mail_post(&((Local *)ctx)->mail, AT_WORKER, AT_SCHEDULER, &m);
    return OK;
}

static void open_trainer(Local *l) {
    ParameterClient client = local_client(session_store(l->session));
    if (l->config.train.wire != WIRE_FP32)
        client = local_rounding_init(&l->rounding, client, &l->schema, l->config.train.wire);
    TrainerEnv env = {.ctx = l, .client = client, .stepped = stepped, .scored = scored};
    trainer_open(&l->trainer, l->data, l->geometry, l->worker_config, &l->schema, model_find(l->config.model.name),
                 &env);
}

static void work(Local *l) {
    Assignment a = l->inbox;
    TrainerResult result;
    l->inbox = (Assignment){0};
    if (!l->trainer)
        open_trainer(l);
    Err err = trainer_run(l->trainer, &a, &result);
    if (err)
        on_finished(l, err, err_message()); /* there is no other worker to wait for */
    assignment_free(&a);
    l->stats = (MemberStats){0};
    member_on_lease_over(l->member, err, err_message(), &result);
}

static void run(Local *l) {
    while (!l->is_finished) {
        turn(l);
        if (l->inbox.lease)
            work(l);
        else if (!l->mail.first && !l->is_finished)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); /* only time moves things now */
    }
}

/* ---- opening and closing ------------------------------------------------------------------------------------ */

static Err open_roles(Local *l) {
    SchedulerEnv scheduler = {.ctx = l,
                              .outbox = {l, from_scheduler},
                              .schema = on_schema,
                              .commit = on_commit,
                              .rank = on_rank,
                              .epoch_done = on_epoch_done,
                              .progress = on_progress,
                              .finished = on_finished};
    SessionEnv session = {.ctx = l,
                          .outbox = {l, from_server},
                          .host = "this process",
                          .schema = derive_schema,
                          .load = on_load,
                          .write = on_write,
                          .finished = on_server_finished};
    MemberEnv member = {.ctx = l,
                        .send = from_worker,
                        .welcomed = on_welcomed,
                        .viewed = on_viewed,
                        .work = on_work,
                        .revoke = on_revoke,
                        .stats = on_stats,
                        .finished = on_worker_finished};
    Err err = scheduler_open(&l->scheduler, &l->config, l->config_text, AT_SCHEDULER, &scheduler,
                             l->start ? &l->start->scheduler : NULL, l->clock_ms);
    if (!err)
        err = session_open(&l->session, AT_SERVER, "no address", &session, l->clock_ms);
    if (!err)
        member_open(&l->member, dataset_info(l->data), dataset_manifest(l->data), "this process", &member, l->clock_ms);
    return err;
}

static Err open_all(Local *l, const Config *config, const SnapshotStart *start) {
    l->config = *config;
    l->start = start;
    l->config.cluster.servers = l->config.cluster.workers = 1;
    mail_init(&l->mail);
    l->clock_ms = 1;
    l->ticked_ms = clock_now_ms();
    gemm_use_one_thread();
    Err err = gemm_self_check();
    if (!err)
        err = dataset_open(&l->data, config->data_dir);
    if (!err)
        err = run_record_directory(&l->config);
    if (err)
        return err;
    l->config_text = config_text(&l->config);
    err = run_record_open(&l->record, &l->config, l->config_text, start);
    if (!err)
        err = open_roles(l);
    return err;
}

static void close_all(Local *l) {
    trainer_close(&l->trainer);
    local_rounding_free(&l->rounding);
    member_close(&l->member);
    session_close(&l->session);
    scheduler_close(&l->scheduler);
    run_record_close(&l->record);
    dataset_close(&l->data);
    assignment_free(&l->inbox);
    mail_free(&l->mail);
    free(l->config_text);
}

Err local_train(const Config *config, const SnapshotStart *start) {
    Local *l = must_calloc(1, sizeof *l);
    handle_signals(on_signal);
    Err err = open_all(l, config, start);
    if (!err) {
        run(l);
        run_record_finish(l->record, dataset_info(l->data));
        err = l->code ? err_fail(l->code, "%s", l->sentence) : OK;
    }
    if (err)
        log_error("%s", err_message());
    else
        log_info("%s", l->sentence);
    close_all(l);
    free(l);
    return err;
}
