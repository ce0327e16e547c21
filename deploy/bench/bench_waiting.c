/* DESIGN. One thread, one loop. A client goes the trainer's way: values of step k have come -> ask for those of step
 * k + 1 -> compute k, which here is to wait -> push k. Timers of the loop know milliseconds only, a step may be
 * shorter: so each client keeps the time at which its computing ends as a number, and the next one begins there and not
 * when the timer came round, unless its values were late. */
#include "deploy/bench/bench_waiting.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/options.h"
#include "deploy/bench/bench_batches.h"
#include "deploy/bench/bench_lone_server.h"
#include "server/store/store.h"
#include "worker/model/step.h"
#include "worker/ops/gemm.h"
#include "worker/remote.h"

enum { N_RECORDS = 32, TICK_MS = 1, SILENT_MS = 30000, LINGER_MS = 0 };

static const double MORE_S = 0.01; /* where a busy machine has not got far enough */

/* What a step asks for and what it pushes. */
typedef struct Record {
    uint8_t domain;
    uint32_t n_pull, n_push, n_instances;
    size_t n_values, n_grads;
    uint64_t *pull, *push;
    real *grads;
} Record;

typedef struct Client {
    struct BenchWaiting *all;
    Remote *remote;
    Link *link;
    Exchange pulls[2];
    const Record *records[2];
    uint64_t n_pulled, n_pushed; /* steps begun and done; step i lies at i % 2 */
    bool is_computing;
    double until_s; /* when the step in hand is, or was, computed */
} Client;

struct BenchWaiting {
    Config config;
    BenchBatches *batches;
    Dataset *data;
    Schema schema;
    Record records[N_RECORDS];
    real *values; /* room for any record's: what comes is not looked at */
    Loop *loop;
    Network *network;
    LoneServer server;
    ClusterView view;
    char *endpoint;
    int n_clients;
    Client clients[BENCH_WAITING_MOST];
    uint32_t next_record, n_steps[N_DOMAINS];
    double step_s;
    uint64_t n_instances;
};

/* ---- real batches ----------------------------------------------------------------------------------------------- */

static void *copy_of(const void *data, size_t size) {
    void *copy = must_alloc(size + 1);
    return memcpy(copy, data, size);
}

static void record_step(BenchWaiting *w, Step *step, Store *store, Record *r) {
    Work work = bench_batches_next(w->batches);
    Batch batch;
    step_reset(step);
    bench_batches_make(w->batches, &work, step_arena(step), &batch);
    step_begin(step, &batch, true);
    const uint64_t *keys = step_pull_keys(step, &r->n_pull, &r->n_values);
    r->domain = work.domain;
    r->n_instances = (uint32_t)batch.n_instances;
    r->pull = copy_of(keys, r->n_pull * sizeof *keys);
    store_pull(store, keys, r->n_pull, step_values(step));
    step_forward(step);
    step_backward(step);
    keys = step_push_keys(step, &r->n_push, &r->n_grads);
    r->push = copy_of(keys, r->n_push * sizeof *keys);
    r->grads = copy_of(step_grads(step), r->n_grads * sizeof(real));
}

/* Twice through: the arena finds its size first. The time includes copying the record, a few hundredths of it. */
static Err record_all(BenchWaiting *w, const Model *model, double *step_s) {
    Store *store;
    Err err = store_open(&store, &w->schema, &w->config.optimizer, w->config.train.seed, 1);
    if (err)
        return err;
    Step *step = step_open(model, &w->config, &w->schema);
    size_t most = 0;
    Record unused;
    record_step(w, step, store, &unused);
    free(unused.pull);
    free(unused.push);
    free(unused.grads);
    double begin_s = bench_cpu_s();
    for (int i = 0; i < N_RECORDS; i++) {
        record_step(w, step, store, &w->records[i]);
        most = w->records[i].n_values > most ? w->records[i].n_values : most;
    }
    *step_s = (bench_cpu_s() - begin_s) / N_RECORDS;
    w->values = must_calloc(most + 1, sizeof *w->values);
    step_close(&step);
    store_close(&store);
    return OK;
}

/* ---- a client --------------------------------------------------------------------------------------------------- */

static void pump(Client *c) {
    uint32_t server;
    uint64_t now_ms = loop_now_ms(c->all->loop);
    for (Message m; remote_next(c->remote, &server, &m, now_ms);)
        if (link_send(c->link, 0, &m))
            remote_on_fault(c->remote, server, err_message());
}

static void start_pull(Client *c) {
    BenchWaiting *w = c->all;
    int at = (int)(c->n_pulled++ % 2);
    const Record *r = c->records[at] = &w->records[w->next_record++ % N_RECORDS];
    c->pulls[at] = (Exchange){.work = {.epoch = 1, .domain = r->domain, .step = w->n_steps[r->domain]++},
                              .keys = r->pull,
                              .n_keys = r->n_pull,
                              .n_values = r->n_values,
                              .values = w->values};
    remote_pull(c->remote, &c->pulls[at]);
}

/* As far as it comes without waiting. */
static Err advance(Client *c) {
    Err result = OK;
    for (bool moves = true; moves && !result;) {
        moves = false;
        double now_s = bench_now_s();
        if (!c->is_computing && remote_take_pull(c->remote, &result) && !result) {
            bool was_late = now_s > c->until_s + 2e-3 * TICK_MS;
            c->until_s = (was_late ? now_s : c->until_s) + c->all->step_s;
            c->is_computing = moves = true;
            start_pull(c);
        } else if (c->is_computing && now_s >= c->until_s && remote_has_room(c->remote)) {
            int at = (int)(c->n_pushed++ % 2);
            const Record *r = c->records[at];
            remote_push(c->remote, &c->pulls[at].work, r->push, r->n_push, r->grads);
            c->all->n_instances += r->n_instances;
            c->is_computing = false;
            moves = true;
        }
    }
    pump(c);
    return result;
}

static void end_run(BenchWaiting *w, Err err) {
    if (!w->server.code)
        w->server.code = err;
    loop_stop(w->loop);
}

static void check(Client *c, Err err) {
    const char *sentence;
    Err failure = remote_failure(c->remote, &sentence);
    if (failure)
        err = err_fail(failure, "%s", sentence);
    if (err)
        end_run(c->all, err);
}

static void from_server(void *ctx, Link *link, uint64_t peer, Message *m) {
    (void)link, (void)peer;
    Client *c = ctx;
    remote_on_message(c->remote, 0, m, loop_now_ms(c->all->loop));
    if (c->n_pulled == 0 && remote_is_connected(c->remote)) {
        c->until_s = bench_now_s();
        start_pull(c);
    }
    check(c, c->n_pulled ? advance(c) : OK);
}

static void server_fault(void *ctx, Link *link, uint64_t peer, const char *sentence) {
    (void)link, (void)peer;
    Client *c = ctx;
    remote_on_fault(c->remote, 0, sentence);
    check(c, OK);
}

static Err open_client(BenchWaiting *w, Client *c, uint32_t number) {
    RemoteOptions options = {.schema = &w->schema,
                             .config = config_fingerprint(&w->config),
                             .job = LONE_SERVER_JOB,
                             .sender = number,
                             .wire = w->config.train.wire,
                             .limits = {.silent_ms = SILENT_MS, .request_ms = 2 * SILENT_MS}};
    LinkOptions link = {.incarnation = network_new_incarnation(),
                        .window_messages = CHANNEL_OUTSTANDING,
                        .receive = from_server,
                        .fault = server_fault,
                        .ctx = c};
    *c = (Client){.all = w};
    remote_open(&c->remote, &options);
    remote_set_view(c->remote, &w->view, loop_now_ms(w->loop));
    Err err = link_dial(&c->link, w->network, w->endpoint, &link);
    if (!err)
        pump(c);
    return err;
}

static void close_clients(BenchWaiting *w) {
    for (int i = 0; i < w->n_clients; i++) {
        link_close(&w->clients[i].link);
        remote_close(&w->clients[i].remote);
    }
    w->n_clients = 0;
}

/* ---- a run ------------------------------------------------------------------------------------------------------ */

static void on_tick(void *ctx) {
    BenchWaiting *w = ctx;
    Err err = lone_server_check(&w->server);
    for (int i = 0; i < w->n_clients && !err; i++) {
        Client *c = &w->clients[i];
        remote_on_tick(c->remote, loop_now_ms(w->loop));
        if (c->n_pulled)
            err = advance(c);
        else
            pump(c);
        check(c, err);
    }
    if (err)
        end_run(w, err);
}

static void on_time(void *ctx) {
    loop_stop(((BenchWaiting *)ctx)->loop);
}

/* Runs the loop for so long. */
static Err run_for(BenchWaiting *w, double seconds) {
    LoopTimer *end = loop_timer(w->loop, (uint64_t)(seconds * 1000) + 1, 0, on_time, w);
    loop_run(w->loop);
    loop_timer_close(&end);
    return w->server.code;
}

/* Warm: every client has done a step. */
static bool is_warm(const BenchWaiting *w) {
    for (int i = 0; i < w->n_clients; i++)
        if (w->clients[i].n_pushed == 0)
            return false;
    return true;
}

Err bench_waiting_run(BenchWaiting *w, int n_workers, double step_s, double seconds, BenchWaitingRates *out) {
    Err err = OK;
    pid_t pid = w->server.supervisor.children[0].pid;
    w->step_s = step_s;
    LoopTimer *tick = loop_timer(w->loop, TICK_MS, TICK_MS, on_tick, w);
    for (int i = 0; i < n_workers && !err; i++) {
        w->n_clients = i + 1;
        err = open_client(w, &w->clients[i], (uint32_t)i + 2);
    }
    if (!err)
        err = run_for(w, seconds / 2);
    while (!err && !is_warm(w))
        err = run_for(w, MORE_S);
    double begin_s = bench_now_s(), cpu_s = bench_cpu_s();
    uint64_t n_before = w->n_instances;
    double server_s = bench_process_cpu_s(pid), thread_s = bench_busiest_thread_cpu_s(pid);
    if (!err)
        err = run_for(w, seconds);
    while (!err && (w->n_instances == n_before || bench_busiest_thread_cpu_s(pid) <= thread_s))
        err = run_for(w, MORE_S);
    double span_s = bench_now_s() - begin_s;
    *out = (BenchWaitingRates){.instances_per_s = (double)(w->n_instances - n_before) / span_s,
                               .server_cpu_s = (bench_process_cpu_s(pid) - server_s) / span_s,
                               .server_thread_cpu_s = (bench_busiest_thread_cpu_s(pid) - thread_s) / span_s,
                               .clients_cpu_s = (bench_cpu_s() - cpu_s) / span_s};
    loop_timer_close(&tick);
    close_clients(w);
    return err;
}

/* Statistics count as dense, which they are but for being pushed alone. */
void bench_waiting_bytes(const BenchWaiting *w, ModelStep *out) {
    double keys[2] = {0}, pulled[2] = {0}; /* of dense rows, of sparse ones */
    for (int i = 0; i < N_RECORDS; i++) {
        const Record *r = &w->records[i];
        for (uint32_t k = 0; k < r->n_pull; k++) {
            const Table *t = &w->schema.tables[key_table(r->pull[k])];
            pulled[t->is_sparse] += (double)t->width * sizeof(float) / N_RECORDS;
        }
        for (uint32_t k = 0; k < r->n_pull + r->n_push; k++) {
            uint64_t key = k < r->n_pull ? r->pull[k] : r->push[k - r->n_pull];
            keys[w->schema.tables[key_table(key)].is_sparse] += (double)sizeof key / N_RECORDS;
        }
    }
    out->dense_key_bytes = keys[0];
    out->key_bytes = keys[1];
    out->dense_value_bytes = pulled[0];
    out->value_bytes = pulled[1];
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

static Err open_data(BenchWaiting *w, const BenchRoom *room, double *step_s) {
    const Model *model = model_find(w->config.model.name);
    if (!model)
        return ERR_CONFIG;
    gemm_use_one_thread();
    Err err = dataset_open(&w->data, room->data_dir);
    if (!err)
        err = bench_batches_open(&w->batches, &w->config, model, room->data_dir, 0);
    if (!err)
        err = model_schema(&w->config, bench_batches_items(w->batches), bench_batches_users(w->batches), &w->schema);
    return err ? err : record_all(w, model, step_s);
}

Err bench_waiting_open(BenchWaiting **out, const Config *config, const BenchRoom *room, double *step_s) {
    BenchWaiting *w = must_calloc(1, sizeof *w);
    char log_path[BENCH_PATH + 32];
    *out = w;
    w->config = *config;
    bench_make_async(&w->config);
    w->config.dense = (DenseConfig){.fetch = 1, .push = 1};
    snprintf(log_path, sizeof log_path, "%s/lone-server.log", room->dir);
    Err err = open_data(w, room, step_s);
    if (!err)
        err = loop_open(&w->loop);
    if (!err)
        err = network_open(&w->network, w->loop);
    if (!err)
        err = lone_server_open(&w->server, &w->config, dataset_manifest(w->data), w->loop, w->network, log_path);
    w->endpoint = w->server.endpoint;
    w->view = (ClusterView){.map = 1, .n_servers = 1, .endpoints = &w->endpoint};
    return err;
}

void bench_waiting_close(BenchWaiting **out) {
    BenchWaiting *w = *out;
    if (!w)
        return;
    close_clients(w);
    lone_server_close(&w->server);
    if (w->network)
        network_close(&w->network, LINGER_MS);
    if (w->loop)
        loop_close(&w->loop);
    for (int i = 0; i < N_RECORDS; i++) {
        free(w->records[i].pull);
        free(w->records[i].push);
        free(w->records[i].grads);
    }
    free(w->values);
    bench_batches_close(&w->batches);
    dataset_close(&w->data);
    free(w);
    *out = NULL;
}
