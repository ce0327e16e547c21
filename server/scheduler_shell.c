/* The world around the scheduler: sockets, clock, disk and signals.
 *
 * DESIGN. One loop thread owns everything. Work that takes longer (sorting scores, writing and deleting files) goes to
 * a pool thread, one job at a time and in order, so that an epoch's clean-up never meets the next one's commit; a run
 * that has ended waits for the jobs that are left, for they use the scheduler's memory. */
#include "server/scheduler_shell.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/files.h"
#include "common/log.h"
#include "common/options.h"
#include "proto/link.h"
#include "proto/loop.h"
#include "server/run_record.h"
#include "server/scheduler/scheduler.h"

enum { TICK_MS = 100, LINGER_MS = 2000, WINDOW = 256 };

typedef struct Shell Shell;

typedef struct Job {
    struct Job *next;
    void (*work)(Shell *shell, struct Job *job); /* on a pool thread */
    void (*done)(Shell *shell, struct Job *job); /* on the loop's */
    Err result;
    char sentence[MESSAGE_TEXT]; /* err_message() of the pool thread */
    SnapshotFacts facts;
    const RankJob *rank;
    RankingMetrics metrics;
    EpochResult epoch;
    char dir[MESSAGE_TEXT]; /* "": no snapshot */
    const Schema *schema;
} Job;

struct Shell {
    const SchedulerRunOptions *options;
    Config config;
    char *config_text;
    Loop *loop;
    Network *network;
    Link *link;
    RunRecord *record;
    Scheduler *scheduler;
    const DataInfo *data; /* the scheduler's; NULL before the first worker */
    Job *first, **last;   /* jobs in order; the first is under way */
    int n_signals;
    bool is_finished;
    Err code;
    char sentence[MESSAGE_TEXT];
};

/* ---- jobs ------------------------------------------------------------------------------------------------------- */

static void start_job(Shell *shell);

static void run_job(void *ctx) {
    Shell *shell = ctx;
    Job *job = shell->first;
    job->work(shell, job);
    if (job->result)
        snprintf(job->sentence, sizeof job->sentence, "%.*s", MESSAGE_TEXT - 1, err_message());
}

static void stop_when_idle(Shell *shell) {
    if (shell->is_finished && !shell->first)
        loop_stop(shell->loop);
}

static void end_job(void *ctx) {
    Shell *shell = ctx;
    Job *job = shell->first;
    shell->first = job->next;
    if (!job->next)
        shell->last = &shell->first;
    else
        start_job(shell);
    if (job->result) /* moves the sentence to this thread */
        job->result = err_fail(job->result, "%s", job->sentence);
    job->done(shell, job);
    free(job);
    stop_when_idle(shell);
}

static void start_job(Shell *shell) {
    loop_work(shell->loop, run_job, end_job, shell);
}

static Job *add_job(Shell *shell, void (*work)(Shell *, Job *), void (*done)(Shell *, Job *)) {
    Job *job = must_calloc(1, sizeof *job);
    job->work = work;
    job->done = done;
    *shell->last = job;
    shell->last = &job->next;
    return job;
}

/* The job is filled in: it starts if it is the only one. */
static void submit(Shell *shell, const Job *job) {
    if (shell->first == job)
        start_job(shell);
}

/* ---- the scheduler's effects ------------------------------------------------------------------------------------ */

static void work_commit(Shell *shell, Job *job) {
    job->result = run_record_commit(shell->record, &job->facts);
}

static void done_commit(Shell *shell, Job *job) {
    scheduler_on_committed(shell->scheduler, job->result, loop_now_ms(shell->loop));
}

static void on_commit(void *ctx, const SnapshotFacts *facts) {
    Job *job = add_job(ctx, work_commit, done_commit);
    job->facts = *facts;
    submit(ctx, job);
}

static void work_rank(Shell *shell, Job *job) {
    const RankJob *r = job->rank;
    const EvalConfig *eval = &shell->config.eval;
    ranking_metrics(r->scores, r->users, r->n, r->n_candidates, eval->ks, eval->n_ks, &job->metrics);
}

static void done_rank(Shell *shell, Job *job) {
    scheduler_on_ranked(shell->scheduler, job->rank, &job->metrics, loop_now_ms(shell->loop));
}

static void on_rank(void *ctx, const RankJob *rank) {
    Job *job = add_job(ctx, work_rank, done_rank);
    job->rank = rank;
    submit(ctx, job);
}

static void work_epoch(Shell *shell, Job *job) {
    job->result = run_record_write_epoch(shell->record, &job->epoch, job->dir[0] ? job->dir : NULL);
}

static void done_epoch(Shell *shell, Job *job) {
    if (job->result)
        log_warn("epoch %u: %s", job->epoch.epoch, err_message());
    run_record_show_epoch(shell->record, &job->epoch);
}

static void on_epoch_done(void *ctx, const EpochResult *result, const char *snapshot_dir) {
    Job *job = add_job(ctx, work_epoch, done_epoch);
    job->epoch = *result;
    if (snapshot_dir)
        snprintf(job->dir, sizeof job->dir, "%s", snapshot_dir);
    submit(ctx, job);
}

static void on_progress(void *ctx, const SchedulerProgress *progress) {
    run_record_progress(((Shell *)ctx)->record, progress);
}

static void on_finished(void *ctx, Err code, const char *sentence) {
    Shell *shell = ctx;
    shell->is_finished = true;
    shell->code = code;
    snprintf(shell->sentence, sizeof shell->sentence, "%s", sentence);
    stop_when_idle(shell);
}

static void work_tell(Shell *shell, Job *job) {
    snapshot_start_tell(shell->options->start, job->schema);
}

static void done_tell(Shell *shell, Job *job) {
    (void)shell, (void)job;
}

static Err on_schema(void *ctx, const Config *config, const DataInfo *data, Schema *out) {
    Shell *shell = ctx;
    const SnapshotStart *start = shell->options->start;
    Err err = shell->options->schema(shell->options->ctx, config, data, out);
    if (!err && start)
        err = snapshot_start_check(start, data, out);
    if (err)
        return err;
    shell->data = data;
    if (start) {
        Job *job = add_job(shell, work_tell, done_tell);
        job->schema = out;
        submit(shell, job);
    }
    return OK;
}

/* ---- messages, time, signals ------------------------------------------------------------------------------------ */

static void send_message(void *ctx, uint64_t peer, Message *m) {
    MessageType type = m->type;
    if (link_send(((Shell *)ctx)->link, peer, m)) /* its silence will be noticed */
        log_debug("%s was not sent: %s", message_type_name(type), err_message());
}

static void on_receive(void *ctx, Link *link, uint64_t peer, Message *m) {
    (void)link;
    Shell *shell = ctx;
    scheduler_on_message(shell->scheduler, peer, m, loop_now_ms(shell->loop));
}

static void on_fault(void *ctx, Link *link, uint64_t peer, const char *sentence) {
    (void)link;
    Shell *shell = ctx;
    log_warn("dropped process %016lx: %s", (unsigned long)peer, sentence);
    scheduler_on_fault(shell->scheduler, peer, sentence, loop_now_ms(shell->loop));
}

static void on_tick(void *ctx) {
    Shell *shell = ctx;
    scheduler_on_tick(shell->scheduler, loop_now_ms(shell->loop));
}

static void on_signal(void *ctx) {
    Shell *shell = ctx;
    if (shell->n_signals++ == 0)
        log_info("stopping: steps in hand are finished and a snapshot is written; once more ends at once");
    scheduler_on_stop(shell->scheduler, loop_now_ms(shell->loop));
}

/* ---- the endpoint ----------------------------------------------------------------------------------------------- */

/* For whoever starts the other roles: a pipe reads the line, a script the file. */
static Err announce(const Shell *shell) {
    char endpoint[MESSAGE_TEXT], path[CONFIG_PATH + 32];
    const char *asked = shell->options->advertise;
    if (!asked && shell->config.cluster.advertise[0])
        asked = shell->config.cluster.advertise;
    Err err = link_advertised(link_endpoint(shell->link), asked, NULL, endpoint, sizeof endpoint);
    if (err)
        return err;
    printf("scheduler %s\n", endpoint);
    if (fflush(stdout))
        return err_fail(ERR_IO, "stdout cannot be written");
    snprintf(path, sizeof path, "%s/scheduler.endpoint", shell->config.run_dir);
    return write_file_durably(path, endpoint, strlen(endpoint));
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

static Err open_record(Shell *shell) {
    Err err = run_record_directory(&shell->config);
    if (err)
        return err;
    shell->config_text = config_text(&shell->config);
    return run_record_open(&shell->record, &shell->config, shell->config_text, shell->options->start);
}

static Err open_link(Shell *shell, uint64_t incarnation) {
    const char *endpoint = shell->options->bind ? shell->options->bind : shell->config.cluster.bind;
    LinkOptions options = {
        .incarnation = incarnation, .window_messages = WINDOW, .receive = on_receive, .fault = on_fault, .ctx = shell};
    Err err = link_check_private(endpoint, "the address", shell->options->insecure || shell->config.cluster.insecure);
    if (err)
        return err_wrap(err, "cluster.insecure is false");
    err = loop_open(&shell->loop);
    if (!err)
        err = network_open(&shell->network, shell->loop);
    if (!err)
        err = link_listen(&shell->link, shell->network, endpoint, &options);
    return err;
}

static Err open_scheduler(Shell *shell, uint64_t incarnation) {
    SchedulerEnv env = {.ctx = shell,
                        .outbox = {shell, send_message},
                        .schema = on_schema,
                        .commit = on_commit,
                        .rank = on_rank,
                        .epoch_done = on_epoch_done,
                        .progress = on_progress,
                        .finished = on_finished};
    const SnapshotStart *start = shell->options->start;
    return scheduler_open(&shell->scheduler, &shell->config, shell->config_text, incarnation, &env,
                          start ? &start->scheduler : NULL, loop_now_ms(shell->loop));
}

static Err run(Shell *shell) {
    uint64_t incarnation = network_new_incarnation();
    Err err = open_record(shell);
    if (!err)
        err = open_link(shell, incarnation);
    if (!err)
        err = open_scheduler(shell, incarnation);
    if (!err)
        err = announce(shell);
    if (err)
        return err;
    loop_timer(shell->loop, TICK_MS, TICK_MS, on_tick, shell);
    loop_on_signal(shell->loop, SIGINT, on_signal, shell);
    loop_on_signal(shell->loop, SIGTERM, on_signal, shell);
    loop_run(shell->loop);
    if (shell->data)
        run_record_finish(shell->record, shell->data);
    if (shell->code)
        return err_fail(shell->code, "%s", shell->sentence);
    log_info("%s", shell->sentence);
    return OK;
}

Err scheduler_run(const Config *config, const SchedulerRunOptions *options) {
    Shell *shell = must_calloc(1, sizeof *shell);
    shell->options = options;
    shell->config = *config;
    shell->last = &shell->first;
    Err err = run(shell);
    link_close(&shell->link);
    network_close(&shell->network, LINGER_MS);
    loop_close(&shell->loop);
    scheduler_close(&shell->scheduler);
    run_record_close(&shell->record);
    free(shell->config_text);
    free(shell);
    return err;
}
