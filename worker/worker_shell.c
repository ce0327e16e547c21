/* The world around a worker: sockets, clock and signals.
 *
 * DESIGN. The loop thread owns the links, the member and the data set's description; the compute thread owns the
 * trainer (compute.h). pump() moves what the compute thread has left: requests to the servers, scores and then the
 * result to the scheduler. It runs when the compute thread knocks, and after every message and tick, because a reply
 * may return the credit that a request waits for. */
#include "worker/worker_shell.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/options.h"
#include "proto/link.h"
#include "proto/loop.h"
#include "worker/compute.h"
#include "worker/member.h"
#include "worker/ops/gemm.h"

enum {
    TICK_MS = 100,
    MAX_TICK_MS = 1000,
    LINGER_MS = 2000,
    UPSTREAM_WINDOW = 256,
    UPSTREAM_SCORES = UPSTREAM_WINDOW / 4, /* while so many messages wait in the link, scores wait here */
};

typedef struct Shell Shell;

/* The link to one server knows which it is. */
typedef struct ServerLink {
    Shell *shell;
    uint32_t server;
    Link *link;
} ServerLink;

struct Shell {
    const WorkerRunOptions *options;
    uint64_t incarnation;
    Dataset *data;
    Schema schema;
    Loop *loop;
    LoopWake *wake;
    Network *network;
    Link *upstream;
    ServerLink *servers;
    uint32_t n_servers;
    Member *member;
    Compute *compute;
    uint64_t clock_ms, ticked_ms; /* see advance_clock */
    bool is_connecting, is_finished;
    Err code;
    char sentence[MESSAGE_TEXT];
};

/* ---- sending ------------------------------------------------------------------------------------------------ */

static void send_upstream(void *ctx, Message *m) {
    Shell *shell = ctx;
    MessageType type = m->type;
    if (link_send(shell->upstream, 0, m))
        log_debug("%s was not sent: %s", message_type_name(type), err_message());
}

static void send_requests(Shell *shell) {
    uint32_t server;
    for (Message m; compute_next_request(shell->compute, &server, &m, shell->clock_ms);)
        if (link_send(shell->servers[server].link, 0, &m))
            compute_on_fault(shell->compute, server, err_message());
}

static void send_scores(Shell *shell) {
    Message m;
    while (link_stats(shell->upstream).queued_messages < UPSTREAM_SCORES && compute_next_scores(shell->compute, &m))
        send_upstream(shell, &m);
}

static void pump(void *ctx) {
    Shell *shell = ctx;
    ComputeResult result;
    char sentence[MESSAGE_TEXT];
    if (!shell->compute || shell->is_finished)
        return;
    send_requests(shell);
    send_scores(shell);
    if (compute_take_result(shell->compute, &result))
        member_on_lease_over(shell->member, result.code, result.sentence, &result.result);
    Err err = compute_failure(shell->compute, sentence, sizeof sentence);
    if (err) {
        member_on_failure(shell->member, err, sentence);
    } else if (shell->is_connecting && compute_is_connected(shell->compute)) {
        shell->is_connecting = false;
        log_info("connected to %u servers", shell->n_servers);
        member_on_connected(shell->member);
    }
}

/* ---- what the links bring ----------------------------------------------------------------------------------- */

static void from_scheduler(void *ctx, Link *link, uint64_t peer, Message *m) {
    (void)link, (void)peer;
    Shell *shell = ctx;
    member_on_message(shell->member, m, shell->clock_ms);
    pump(shell);
}

static void scheduler_fault(void *ctx, Link *link, uint64_t peer, const char *sentence) {
    (void)link, (void)peer;
    Shell *shell = ctx;
    member_on_failure(shell->member, ERR_PROTOCOL, sentence);
}

static void from_server(void *ctx, Link *link, uint64_t peer, Message *m) {
    (void)link, (void)peer;
    ServerLink *s = ctx;
    compute_on_message(s->shell->compute, s->server, m, s->shell->clock_ms);
    pump(s->shell);
}

static void server_fault(void *ctx, Link *link, uint64_t peer, const char *sentence) {
    (void)link, (void)peer;
    ServerLink *s = ctx;
    compute_on_fault(s->shell->compute, s->server, sentence);
    pump(s->shell);
}

/* All deadlines are on this clock, which ticks advance by at most a second each: a worker that was stopped, or got no
 * processor, blames nobody for it. */
static void advance_clock(Shell *shell) {
    uint64_t now_ms = loop_now_ms(shell->loop), gap = now_ms - shell->ticked_ms;
    shell->ticked_ms = now_ms;
    shell->clock_ms += gap < MAX_TICK_MS ? gap : MAX_TICK_MS;
}

static void on_tick(void *ctx) {
    Shell *shell = ctx;
    advance_clock(shell);
    if (shell->compute)
        compute_on_tick(shell->compute, shell->clock_ms);
    member_on_tick(shell->member, shell->clock_ms);
    pump(shell);
}

static void on_signal(void *ctx) {
    Shell *shell = ctx;
    member_on_stop(shell->member, shell->clock_ms);
}

/* From the compute thread. */
static void knock(void *ctx) {
    loop_wake(((Shell *)ctx)->wake);
}

/* ---- what the member wants ---------------------------------------------------------------------------------- */

static Err on_welcomed(void *ctx, const Config *config, const Geometry *geometry, const WorkerIdentity *who) {
    Shell *shell = ctx;
    char name[32], kernels[GEMM_KERNELS];
    snprintf(name, sizeof name, "worker-%u", who->rank);
    log_name(name);
    log_info("welcome from the scheduler; kernels %s", gemm_kernels(kernels));
    const DataInfo *info = dataset_info(shell->data);
    const Model *model = model_find(config->model.name);
    Err err = model ? model_schema(config, info->n_items, info->n_users, &shell->schema) : ERR_CONFIG;
    if (err)
        return err;
    const ClusterConfig *c = &config->cluster;
    ComputeOptions options = {
        .data = shell->data,
        .geometry = geometry,
        .config = config,
        .schema = &shell->schema,
        .model = model,
        .remote = {.schema = &shell->schema,
                   .config = config_fingerprint(config),
                   .data = info->fingerprint,
                   .job = who->job,
                   .sender = who->id,
                   .wire = config->train.wire,
                   .is_sync = config->train.consistency == CONSISTENCY_SYNC,
                   .limits = {.silent_ms = (uint64_t)c->dead_ms,
                              .request_ms = (uint64_t)c->lease_s * 1000 + (uint64_t)c->dead_ms}},
        .notify = knock,
        .ctx = shell,
    };
    return compute_open(&shell->compute, &options);
}

static void close_servers(Shell *shell) {
    for (uint32_t i = 0; i < shell->n_servers; i++)
        link_close(&shell->servers[i].link);
    free(shell->servers);
    shell->servers = NULL;
    shell->n_servers = 0;
}

static Err on_viewed(void *ctx, const ClusterView *view) {
    Shell *shell = ctx;
    close_servers(shell);
    compute_set_view(shell->compute, view, shell->clock_ms);
    shell->servers = must_calloc(view->n_servers, sizeof *shell->servers);
    shell->n_servers = view->n_servers;
    shell->is_connecting = true;
    for (uint32_t i = 0; i < view->n_servers; i++) {
        ServerLink *s = &shell->servers[i];
        *s = (ServerLink){.shell = shell, .server = i};
        LinkOptions options = {.incarnation = shell->incarnation,
                               .window_messages = CHANNEL_OUTSTANDING,
                               .receive = from_server,
                               .fault = server_fault,
                               .ctx = s};
        Err err = link_dial(&s->link, shell->network, view->endpoints[i], &options);
        if (err)
            return err_wrap(err, "server %u", i);
    }
    return OK;
}

static void on_work(void *ctx, Assignment *a) {
    Shell *shell = ctx;
    log_debug("lease %" PRIu64 ": %u steps of epoch %u for %u ranks", a->lease, a->n_steps, a->epoch, a->n_ranks);
    compute_work(shell->compute, a);
}

static void on_revoke(void *ctx, uint64_t lease) {
    compute_revoke(((Shell *)ctx)->compute, lease);
}

static void add_traffic(MemberStats *stats, const Link *link) {
    LinkStats s = link_stats(link);
    stats->sent_bytes += s.sent_bytes;
    stats->received_bytes += s.received_bytes;
}

static MemberStats on_stats(void *ctx) {
    Shell *shell = ctx;
    MemberStats stats = shell->compute ? compute_stats(shell->compute) : (MemberStats){0};
    add_traffic(&stats, shell->upstream);
    for (uint32_t i = 0; i < shell->n_servers; i++)
        add_traffic(&stats, shell->servers[i].link);
    return stats;
}

static void on_finished(void *ctx, Err code, const char *sentence) {
    Shell *shell = ctx;
    shell->is_finished = true;
    shell->code = code;
    snprintf(shell->sentence, sizeof shell->sentence, "%s", sentence);
    loop_stop(shell->loop);
}

/* ---- opening and closing ------------------------------------------------------------------------------------ */

static Err open_all(Shell *shell) {
    const WorkerRunOptions *o = shell->options;
    gemm_use_one_thread();
    Err err = gemm_self_check();
    if (!err)
        err = dataset_open(&shell->data, o->data_dir);
    if (!err)
        err = loop_open(&shell->loop);
    if (!err)
        err = network_open(&shell->network, shell->loop);
    if (err)
        return err;
    shell->ticked_ms = loop_now_ms(shell->loop);
    shell->wake = loop_wake_open(shell->loop, pump, shell);
    shell->incarnation = network_new_incarnation();
    LinkOptions options = {.incarnation = shell->incarnation,
                           .window_messages = UPSTREAM_WINDOW,
                           .receive = from_scheduler,
                           .fault = scheduler_fault,
                           .ctx = shell};
    return link_dial(&shell->upstream, shell->network, o->scheduler, &options);
}

static Err run(Shell *shell) {
    Err err = open_all(shell);
    if (err)
        return err;
    MemberEnv env = {.ctx = shell,
                     .send = send_upstream,
                     .welcomed = on_welcomed,
                     .viewed = on_viewed,
                     .work = on_work,
                     .revoke = on_revoke,
                     .stats = on_stats,
                     .finished = on_finished};
    log_info("the scheduler is %s, the data %s", shell->options->scheduler, shell->options->data_dir);
    member_open(&shell->member, dataset_info(shell->data), dataset_manifest(shell->data), shell->options->scheduler,
                &env, shell->clock_ms);
    loop_timer(shell->loop, TICK_MS, TICK_MS, on_tick, shell);
    loop_on_signal(shell->loop, SIGTERM, on_signal, shell);
    loop_on_signal(shell->loop, SIGINT, on_signal, shell);
    loop_run(shell->loop);
    return shell->code ? err_fail(shell->code, "%s", shell->sentence) : OK;
}

Err worker_run(const WorkerRunOptions *options) {
    Shell *shell = must_calloc(1, sizeof *shell);
    shell->options = options;
    Err err = run(shell);
    compute_close(&shell->compute); /* the thread knocks on the loop: it ends first */
    close_servers(shell);
    link_close(&shell->upstream);
    network_close(&shell->network, LINGER_MS);
    loop_close(&shell->loop);
    member_close(&shell->member);
    dataset_close(&shell->data);
    free(shell);
    return err;
}
