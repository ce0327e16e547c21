/* The world around a session: sockets, clock, disk and signals.
 *
 * DESIGN. One loop thread owns everything. Only snapshots are read and written elsewhere, on a pool thread: into a
 * store that nobody else knows yet, and from a cut of the store. A run that ends meanwhile waits for it before the
 * store is freed; is_useless then has it stop short.
 */
#include "server/server_shell.h"

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "proto/link.h"
#include "proto/loop.h"
#include "server/session/session.h"
#include "server/snapshot/snapshot.h"

enum { RETRY_MS = 2, TICK_MS = 100, LINGER_MS = 2000, UPSTREAM_WINDOW = 256 };

/* One snapshot's files, between the loop's thread and a pool thread. */
typedef struct WriteJob {
    StoreCut *cut;
    const Schema *schema;
    uint32_t rank;
    char dir[MESSAGE_TEXT];
    Err result;
    char *files;
    char sentence[MESSAGE_TEXT];
} WriteJob;

typedef struct LoadJob {
    const SessionLoad *load;
    Err result;
    Store *store;
    uint64_t n_rows[SCHEMA_MAX_TABLES];
    char sentence[MESSAGE_TEXT];
} LoadJob;

typedef struct Shell {
    const ServerRunOptions *options;
    Loop *loop;
    Network *network;
    Link *upstream, *workers;
    Session *session;
    WriteJob job;
    LoadJob loading;
    LoopTimer *retry; /* while pushes wait */
    bool is_writing, is_loading, is_finished, is_named;
    atomic_bool is_useless; /* finished, for the thread that writes */
    Err code;
    char sentence[MESSAGE_TEXT], host[256];
} Shell;

/* ---- the end ---------------------------------------------------------------------------------------------------- */

static void stop_when_idle(Shell *shell) {
    if (shell->is_finished && !shell->is_writing && !shell->is_loading)
        loop_stop(shell->loop);
}

static void on_finished(void *ctx, Err code, const char *sentence) {
    Shell *shell = ctx;
    shell->is_finished = true;
    atomic_store(&shell->is_useless, true);
    shell->code = code;
    snprintf(shell->sentence, sizeof shell->sentence, "%s", sentence);
    stop_when_idle(shell);
}

static void on_signal(void *ctx) {
    session_on_stop(((Shell *)ctx)->session);
}

/* ---- snapshot files --------------------------------------------------------------------------------------------- */

static void write_files(void *ctx) {
    Shell *shell = ctx;
    WriteJob *job = &shell->job;
    job->result = snapshot_write_tables(job->cut, job->schema, job->rank, job->dir, &shell->is_useless, &job->files);
    if (job->result)
        snprintf(job->sentence, sizeof job->sentence, "%.*s", MESSAGE_TEXT - 1, err_message());
}

static void files_written(void *ctx) {
    Shell *shell = ctx;
    WriteJob *job = &shell->job;
    shell->is_writing = false;
    Err err = job->result ? err_fail(job->result, "%s", job->sentence) : OK; /* moves the sentence to this thread */
    if (err)
        log_error("the snapshot in %s was not written: %s", job->dir, err_message());
    session_on_written(shell->session, err, job->files, loop_now_ms(shell->loop));
    free(job->files);
    job->files = NULL;
    stop_when_idle(shell);
}

static void start_writing(void *ctx, StoreCut *cut, const Schema *schema, uint32_t rank, const char *dir) {
    Shell *shell = ctx;
    shell->is_writing = true;
    shell->job = (WriteJob){.cut = cut, .schema = schema, .rank = rank};
    snprintf(shell->job.dir, sizeof shell->job.dir, "%s", dir);
    loop_work(shell->loop, write_files, files_written, shell);
}

static void load_rows(void *ctx) {
    LoadJob *job = &((Shell *)ctx)->loading;
    const SessionLoad *l = job->load;
    job->result = snapshot_load_store(&job->store, l->dir, l->schema, l->optimizer, l->n_ranks, &l->how, job->n_rows);
    if (job->result)
        snprintf(job->sentence, sizeof job->sentence, "%.*s", MESSAGE_TEXT - 1, err_message());
}

static void rows_loaded(void *ctx) {
    Shell *shell = ctx;
    LoadJob *job = &shell->loading;
    shell->is_loading = false;
    for (int i = 0; !job->result && i < job->load->schema->n_tables; i++)
        log_info("loaded %" PRIu64 " rows of table %s from %s", job->n_rows[i], job->load->schema->tables[i].name,
                 job->load->dir);
    Err err = job->result ? err_fail(job->result, "%s", job->sentence) : OK; /* moves the sentence to this thread */
    session_on_loaded(shell->session, err, job->store, loop_now_ms(shell->loop));
    stop_when_idle(shell);
}

static void start_loading(void *ctx, const SessionLoad *load) {
    Shell *shell = ctx;
    shell->is_loading = true;
    shell->loading = (LoadJob){.load = load};
    loop_work(shell->loop, load_rows, rows_loaded, shell);
}

/* ---- messages --------------------------------------------------------------------------------------------------- */

static void send_message(void *ctx, uint64_t peer, Message *m) {
    Shell *shell = ctx;
    MessageType type = m->type;
    Err err = link_send(peer == PEER_SCHEDULER ? shell->upstream : shell->workers, peer, m);
    if (!err)
        return;
    log_debug("%s was not sent: %s", message_type_name(type), err_message());
    if (peer != PEER_SCHEDULER) /* the scheduler's silence is noticed by the session */
        session_on_fault(shell->session, peer);
}

static void from_scheduler(void *ctx, Link *link, uint64_t peer, Message *m) {
    (void)link, (void)peer;
    Shell *shell = ctx;
    session_on_scheduler(shell->session, m, loop_now_ms(shell->loop));
    if (!shell->is_named && session_rank(shell->session) >= 0) {
        char name[32];
        snprintf(name, sizeof name, "server-%d", session_rank(shell->session));
        log_name(name);
        shell->is_named = true;
    }
}

static void on_retry(void *ctx) {
    Shell *shell = ctx;
    session_on_retry(shell->session, loop_now_ms(shell->loop));
    if (!session_has_waiting_pushes(shell->session))
        loop_timer_close(&shell->retry);
}

static void from_worker(void *ctx, Link *link, uint64_t peer, Message *m) {
    (void)link;
    Shell *shell = ctx;
    uint64_t n_refused = session_stats(shell->session).n_refused;
    session_on_worker(shell->session, peer, m, loop_now_ms(shell->loop));
    if (session_stats(shell->session).n_refused != n_refused)
        log_warn("refused worker %016lx: %s", (unsigned long)peer, err_message());
    if (!shell->retry && session_has_waiting_pushes(shell->session))
        shell->retry = loop_timer(shell->loop, RETRY_MS, RETRY_MS, on_retry, shell);
}

static void scheduler_fault(void *ctx, Link *link, uint64_t peer, const char *sentence) {
    (void)link, (void)peer;
    session_on_scheduler_fault(((Shell *)ctx)->session, sentence);
}

static void worker_fault(void *ctx, Link *link, uint64_t peer, const char *sentence) {
    (void)link;
    log_warn("dropped worker %016lx: %s", (unsigned long)peer, sentence);
    session_on_fault(((Shell *)ctx)->session, peer);
}

static void on_tick(void *ctx) {
    Shell *shell = ctx;
    session_on_tick(shell->session, loop_now_ms(shell->loop));
}

/* ---- addresses -------------------------------------------------------------------------------------------------- */

static Err bind_endpoint(const ServerRunOptions *o, char *out, size_t size) {
    char address[256] = "tcp://127.0.0.1";
    if (o->bind) {
        snprintf(out, size, "%s", o->bind);
        return OK;
    }
    if (!link_is_private(o->scheduler)) {
        Err err = link_local_address(o->scheduler, address, sizeof address);
        if (err)
            return err;
    }
    snprintf(out, size, "%s:0", address);
    return OK;
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

static Err open_links(Shell *shell, uint64_t incarnation) {
    const ServerRunOptions *o = shell->options;
    char endpoint[MESSAGE_TEXT];
    Err err = link_check_private(o->scheduler, "the scheduler's address", o->insecure);
    if (!err)
        err = bind_endpoint(o, endpoint, sizeof endpoint);
    if (!err)
        err = link_check_private(endpoint, "the address", o->insecure);
    if (!err)
        err = network_open(&shell->network, shell->loop);
    LinkOptions for_workers = {.incarnation = incarnation,
                               .window_messages = SESSION_CREDIT_REQUESTS,
                               .receive = from_worker,
                               .fault = worker_fault,
                               .ctx = shell};
    LinkOptions for_scheduler = {.incarnation = incarnation,
                                 .window_messages = UPSTREAM_WINDOW,
                                 .receive = from_scheduler,
                                 .fault = scheduler_fault,
                                 .ctx = shell};
    if (!err)
        err = link_listen(&shell->workers, shell->network, endpoint, &for_workers);
    if (!err)
        err = link_dial(&shell->upstream, shell->network, o->scheduler, &for_scheduler);
    return err;
}

static Err open_session(Shell *shell, uint64_t incarnation) {
    char endpoint[MESSAGE_TEXT];
    if (gethostname(shell->host, sizeof shell->host - 1))
        shell->host[0] = 0;
    Err err = link_advertised(link_endpoint(shell->workers), shell->options->advertise, shell->options->scheduler,
                              endpoint, sizeof endpoint);
    if (err)
        return err;
    log_info("listening for workers on %s, told to others as %s; the scheduler is %s", link_endpoint(shell->workers),
             endpoint, shell->options->scheduler);
    SessionEnv env = {.ctx = shell,
                      .host = shell->host,
                      .pid = (uint64_t)getpid(),
                      .outbox = {shell, send_message},
                      .schema_ctx = shell->options->ctx,
                      .schema = shell->options->schema,
                      .load = start_loading,
                      .write = start_writing,
                      .finished = on_finished};
    return session_open(&shell->session, incarnation, endpoint, &env, loop_now_ms(shell->loop));
}

static Err run(Shell *shell) {
    uint64_t incarnation = network_new_incarnation();
    Err err = loop_open(&shell->loop);
    if (!err)
        err = open_links(shell, incarnation);
    if (!err)
        err = open_session(shell, incarnation);
    if (err)
        return err;
    loop_timer(shell->loop, TICK_MS, TICK_MS, on_tick, shell);
    loop_on_signal(shell->loop, SIGTERM, on_signal, shell);
    loop_on_signal(shell->loop, SIGINT, on_signal, shell);
    loop_run(shell->loop);
    return shell->code ? err_fail(shell->code, "%s", shell->sentence) : OK;
}

Err server_run(const ServerRunOptions *options) {
    Shell shell = {.options = options};
    Err err = run(&shell);
    link_close(&shell.workers);
    link_close(&shell.upstream);
    network_close(&shell.network, LINGER_MS);
    session_close(&shell.session);
    loop_close(&shell.loop);
    return err;
}
