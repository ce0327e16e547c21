/* Starts the roles, asks the scheduler every few milliseconds how far they are, and kills them. */
#include "deploy/bench/bench_cluster.h"

#include <glob.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/files.h"
#include "common/log.h"
#include "common/options.h"
#include "deploy/supervisor.h"
#include "proto/link.h"
#include "proto/loop.h"

enum { ASK_MS = 10, HEARTBEAT_MS = 20, PATIENCE_S = 60, LINGER_MS = 0, WINDOW = 64, N_COSTS = 3, ENDPOINT = 512 };

/* What has been used up so far. */
typedef struct Reading {
    double at_s;
    int64_t epoch, n_instances;
    BenchCost costs[N_COSTS]; /* scheduler, server, worker */
} Reading;

typedef struct Run {
    Supervisor supervisor;
    const Config *config;
    const BenchRoom *room;
    char dir[BENCH_PATH + 16], endpoint[ENDPOINT];
    Loop *loop;
    Network *network;
    Link *link;
    double seconds, warm_s, progress_s; /* progress_s: when instances were last seen to grow */
    bool is_known;                      /* last is of training that goes on */
    int output;                         /* the scheduler's, which nobody reads */
    Reading last, sum;                  /* sum: of the measured intervals; at_s their length */
    Err code;
} Run;

/* ---- the processes ---------------------------------------------------------------------------------------------- */

double bench_process_cpu_s(pid_t pid) {
    clockid_t id;
    struct timespec t;
    if (clock_getcpuclockid(pid, &id) || clock_gettime(id, &t))
        return 0;
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The first number of schedstat is in nanoseconds. */
double bench_busiest_thread_cpu_s(pid_t pid) {
    char pattern[64];
    unsigned long long most = 0;
    glob_t tasks;
    snprintf(pattern, sizeof pattern, "/proc/%d/task/*/schedstat", (int)pid);
    if (glob(pattern, GLOB_NOSORT, NULL, &tasks))
        return 0;
    for (size_t i = 0; i < tasks.gl_pathc; i++) {
        unsigned long long ns;
        FILE *f = fopen(tasks.gl_pathv[i], "re");
        if (f && fscanf(f, "%llu", &ns) == 1 && ns > most)
            most = ns;
        if (f)
            fclose(f);
    }
    globfree(&tasks);
    return (double)most * 1e-9;
}

static int role_of(const Child *c) {
    return c->name[0] == 'w' ? 2 : c->name[1] == 'e';
}

static void read_processes(const Run *r, Reading *out) {
    for (int i = 0; i < r->supervisor.n_children; i++) {
        const Child *c = &r->supervisor.children[i];
        out->costs[role_of(c)].cpu_s += bench_process_cpu_s(c->pid);
        out->costs[role_of(c)].thread_cpu_s += bench_busiest_thread_cpu_s(c->pid);
    }
}

static Err write_config(const Run *r, char *path, size_t size) {
    Config config = *r->config;
    snprintf(config.run_dir, sizeof config.run_dir, "%s", r->dir);
    snprintf(config.data_dir, sizeof config.data_dir, "%s", r->room->data_dir);
    snprintf(config.cluster.bind, sizeof config.cluster.bind, "tcp://127.0.0.1:0");
    config.cluster.advertise[0] = 0;
    config.cluster.heartbeat_ms = HEARTBEAT_MS;
    config.train.epochs = config.train.patience = 1000;
    bench_make_async(&config);
    config.snapshot.enabled = false;
    char *text = config_text(&config);
    snprintf(path, size, "%s.yaml", r->dir);
    Err err = write_file_durably(path, text, strlen(text));
    free(text);
    return err;
}

static Err start(Run *r, const char *name, const char *const *argv) {
    char log_path[SUPERVISOR_PATH];
    snprintf(log_path, sizeof log_path, "%s.%s.log", r->dir, name);
    bool prints = !strcmp(name, "scheduler");
    int child = supervisor_start(&r->supervisor, name, log_path, argv, prints ? &r->output : NULL);
    return child < 0 ? (Err)child : OK;
}

/* A child that failed, a signal for us, or nothing. */
static Err look_around(Run *r) {
    supervisor_wait(&r->supervisor, 0, -1);
    if (r->supervisor.n_stops)
        return err_fail(ERR_STOPPED, "stopped");
    if (r->supervisor.first_failed < 0)
        return OK;
    child_print_failure(&r->supervisor.children[r->supervisor.first_failed]);
    return err_fail(ERR_FAILED, "the cluster that was to be measured has ended");
}

static Err wait_for_scheduler(Run *r) {
    char path[BENCH_PATH + 64], *text;
    size_t size;
    snprintf(path, sizeof path, "%s/scheduler.endpoint", r->dir);
    for (double end_s = bench_now_s() + PATIENCE_S; bench_now_s() < end_s;) {
        Err err = look_around(r);
        if (err)
            return err;
        if (!access(path, R_OK) && !read_file(path, ENDPOINT - 1, &text, &size)) {
            snprintf(r->endpoint, sizeof r->endpoint, "%s", text);
            free(text);
            return OK;
        }
        supervisor_wait(&r->supervisor, ASK_MS, -1);
    }
    return err_fail(ERR_TIMEOUT, "the scheduler has named no endpoint in %s within %d s", path, PATIENCE_S);
}

static Err start_all(Run *r) {
    char config[BENCH_PATH + 24], name[SUPERVISOR_NAME];
    Err err = write_config(r, config, sizeof config);
    if (!err)
        err = supervisor_open(&r->supervisor);
    if (!err)
        err = start(r, "scheduler", (const char *const[]){"mangrove", "scheduler", config, NULL});
    if (!err)
        err = wait_for_scheduler(r);
    for (int i = 0; i < r->config->cluster.servers && !err; i++) {
        snprintf(name, sizeof name, "server-%d", i);
        err = start(r, name, (const char *const[]){"mangrove", "server", "--scheduler", r->endpoint, NULL});
    }
    for (int i = 0; i < r->config->cluster.workers && !err; i++) {
        snprintf(name, sizeof name, "worker-%d", i);
        err = start(
            r, name,
            (const char *const[]){"mangrove", "worker", "--scheduler", r->endpoint, "--data", r->room->data_dir, NULL});
    }
    return err;
}

/* ---- measuring -------------------------------------------------------------------------------------------------- */

static void finish(Run *r, Err code) {
    r->code = code;
    loop_stop(r->loop);
}

static void read_members(const json_t *status, Reading *out) {
    size_t i;
    const json_t *member;
    json_array_foreach(json_object_get(status, "members"), i, member) {
        const char *name = json_string_value(json_object_get(member, "name"));
        BenchCost *cost = &out->costs[name && name[0] == 'w' ? 2 : 1];
        cost->sent_bytes += (double)json_integer_value(json_object_get(member, "sent_bytes"));
        cost->received_bytes += (double)json_integer_value(json_object_get(member, "received_bytes"));
    }
}

static void add_interval(Reading *sum, const Reading *from, const Reading *to) {
    sum->at_s += to->at_s - from->at_s;
    sum->n_instances += to->n_instances - from->n_instances;
    for (int i = 0; i < N_COSTS; i++) {
        BenchCost *s = &sum->costs[i];
        const BenchCost *a = &from->costs[i], *b = &to->costs[i];
        s->cpu_s += b->cpu_s - a->cpu_s;
        s->thread_cpu_s += b->thread_cpu_s - a->thread_cpu_s;
        s->sent_bytes += b->sent_bytes - a->sent_bytes;
        s->received_bytes += b->received_bytes - a->received_bytes;
    }
}

/* Time runs from one growth of the counts to the next. */
static void on_status(Run *r, const json_t *status) {
    const char *phase = json_string_value(json_object_get(status, "phase"));
    Reading now = {.at_s = bench_now_s(),
                   .epoch = json_integer_value(json_object_get(status, "epoch")),
                   .n_instances = json_integer_value(json_object_get(status, "instances"))};
    if (!phase || strcmp(phase, "training")) {
        r->is_known = false;
        r->progress_s = now.at_s;
        return;
    }
    if (r->is_known && now.n_instances <= r->last.n_instances)
        return;
    read_processes(r, &now);
    read_members(status, &now);
    r->progress_s = now.at_s;
    if (r->is_known && now.epoch == r->last.epoch) {
        if (r->warm_s > 0)
            r->warm_s -= now.at_s - r->last.at_s;
        else
            add_interval(&r->sum, &r->last, &now);
    }
    r->is_known = true;
    r->last = now;
    if (r->sum.at_s >= r->seconds)
        finish(r, OK);
}

static void on_receive(void *ctx, Link *link, uint64_t peer, Message *m) {
    (void)link, (void)peer;
    size_t size = 0;
    const char *text = m->n_frames ? message_bytes(m, 0, m->n_frames, &size) : "";
    json_t *status = json_loadb(text, size, 0, NULL);
    if (m->type != MESSAGE_STATUS || !status)
        finish(ctx, err_fail(ERR_PROTOCOL, "the scheduler answers with something else than its status"));
    else
        on_status(ctx, status);
    json_decref(status);
}

static void on_fault(void *ctx, Link *link, uint64_t peer, const char *sentence) {
    (void)link, (void)peer;
    finish(ctx, err_fail(ERR_PROTOCOL, "the scheduler: %s", sentence));
}

static void ask(void *ctx) {
    Run *r = ctx;
    Message m;
    Err err = look_around(r);
    if (!err && bench_now_s() - r->progress_s > PATIENCE_S)
        err = err_fail(ERR_TIMEOUT, "no instance was trained for %d s", PATIENCE_S);
    if (err) {
        finish(r, err);
        return;
    }
    message_init(&m, MESSAGE_STATUS_ASK);
    if (link_send(r->link, 0, &m))
        log_debug("not sent: %s", err_message());
}

static Err measure(Run *r) {
    LinkOptions options = {.incarnation = network_new_incarnation(),
                           .window_messages = WINDOW,
                           .receive = on_receive,
                           .fault = on_fault,
                           .ctx = r};
    Err err = loop_open(&r->loop);
    if (!err)
        err = network_open(&r->network, r->loop);
    if (!err)
        err = link_dial(&r->link, r->network, r->endpoint, &options);
    if (err)
        return err;
    r->progress_s = bench_now_s();
    loop_timer(r->loop, ASK_MS, ASK_MS, ask, r);
    loop_run(r->loop);
    return r->code;
}

/* ---- a run ------------------------------------------------------------------------------------------------------ */

static BenchCost per_instance(const Run *r, int role) {
    BenchCost c = r->sum.costs[role];
    double n = (double)r->sum.n_instances;
    return (BenchCost){c.cpu_s / n, c.thread_cpu_s / n, c.sent_bytes / n, c.received_bytes / n};
}

static void close_run(Run *r) {
    link_close(&r->link);
    network_close(&r->network, LINGER_MS);
    loop_close(&r->loop);
    supervisor_close(&r->supervisor);
    if (r->output > 0)
        close(r->output);
    sigset_t all;
    sigfillset(&all); /* the supervisor had blocked its own */
    sigprocmask(SIG_UNBLOCK, &all, NULL);
}

Err bench_cluster_run(const Config *config, const BenchRoom *room, double seconds, BenchRates *out) {
    static int n_runs; /* each has a directory of its own */
    Run *r = must_calloc(1, sizeof *r);
    r->config = config;
    r->room = room;
    r->seconds = seconds;
    r->warm_s = seconds / 2;
    snprintf(r->dir, sizeof r->dir, "%s/%d", room->dir, ++n_runs);
    Err err = start_all(r);
    if (!err)
        err = measure(r);
    close_run(r);
    if (!err)
        *out = (BenchRates){(double)r->sum.n_instances / r->sum.at_s, per_instance(r, 0), per_instance(r, 1),
                            per_instance(r, 2)};
    free(r);
    return err;
}
