/* Bytes of a training on the wire: a worker's trainer and remote client against a server's session, the messages passed
 * as calls and counted as they are. ZeroMQ's own framing, 2 or 9 bytes a frame, is left out. */
#include "deploy/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/options.h"
#include "deploy/derive.h"
#include "server/session/session.h"
#include "worker/data/dataset.h"
#include "worker/ops/gemm.h"
#include "worker/remote.h"
#include "worker/trainer.h"

enum { JOB = 1, SERVER = 2, WORKER = 3, DEAD_MS = 1000, SENTENCE = 512 };

typedef struct Traffic {
    double pull, push; /* bytes, requests and replies */
    uint64_t n_instances;
} Traffic;

typedef struct Setting {
    const char *name; /* NULL: the yardstick */
    Wire wire;
    int dense; /* every how many batches dense rows are fetched, and pushed */
    double target;
} Setting;

static const Setting FP32 = {NULL, WIRE_FP32, 1, 0};
static const Setting SETTINGS[] = {{"bf16", WIRE_BF16, 1, 0.55}, {"bf16 dense 8", WIRE_BF16, 8, 0.3}};

typedef struct Wiring {
    Config config;
    const Dataset *data;
    Geometry geometry;
    Schema schema;
    Session *session;
    Remote *remote;
    ClusterView view;
    Trainer *trainer;
    Traffic traffic;
    Err code; /* of the session's end, and why */
    char sentence[SENTENCE];
} Wiring;

/* ---- the messages ----------------------------------------------------------------------------------------------- */

static void count(Traffic *t, const Message *m) {
    uint8_t head[MESSAGE_HEADER_BYTES + MESSAGE_MAP_BYTES];
    double bytes = (double)(message_encode(m, head) + message_frame_bytes(m));
    if (m->type == MESSAGE_PULL || m->type == MESSAGE_VALUES)
        t->pull += bytes;
    else if (m->type == MESSAGE_PUSH || m->type == MESSAGE_PUSHED)
        t->push += bytes;
}

/* What the session sends: to the scheduler nothing that matters here. */
static void from_server(void *ctx, uint64_t peer, Message *m) {
    Wiring *w = ctx;
    if (peer == WORKER) {
        count(&w->traffic, m);
        remote_on_message(w->remote, 0, m, 0);
    }
    message_free(m);
}

static void on_server_finished(void *ctx, Err code, const char *sentence) {
    Wiring *w = ctx;
    w->code = code ? code : ERR_FAILED;
    snprintf(w->sentence, sizeof w->sentence, "%s", sentence);
}

static void exchange_all(Wiring *w) {
    uint32_t server;
    for (Message m; remote_next(w->remote, &server, &m, 0); message_free(&m)) {
        m.incarnation = WORKER;
        count(&w->traffic, &m);
        session_on_worker(w->session, WORKER, &m, 0);
    }
}

static Err result_of(const Wiring *w) {
    const char *sentence;
    if (w->code)
        return err_fail(w->code, "the server has ended: %s", w->sentence);
    Err err = remote_failure(w->remote, &sentence);
    return err ? err_fail(err, "%s", sentence) : OK;
}

/* ---- the trainer's environment ---------------------------------------------------------------------------------- */

static Err pull_start(void *self, Exchange *x) {
    Wiring *w = self;
    remote_pull(w->remote, x);
    exchange_all(w);
    return result_of(w);
}

static Err pull_wait(void *self, Exchange *x) {
    Wiring *w = self;
    Err result, err = result_of(w);
    (void)x; /* the oldest, and answered by now */
    if (err || remote_take_pull(w->remote, &result))
        return err ? err : result;
    return err_fail(ERR_FAILED, "a pull was not answered");
}

static Err push(void *self, const Work *work, const uint64_t *keys, uint32_t n_keys, const real *grads,
                size_t n_values) {
    Wiring *w = self;
    (void)n_values; /* follows from the keys */
    remote_push(w->remote, work, keys, n_keys, grads);
    exchange_all(w);
    return result_of(w);
}

static Err flush(void *self) {
    return result_of(self);
}

static bool stepped(void *ctx, const Assignment *a, uint64_t n_steps, uint64_t n_instances) {
    (void)ctx, (void)a, (void)n_steps, (void)n_instances;
    return true;
}

/* ---- a cluster without processes -------------------------------------------------------------------------------- */

static void tell_server(Wiring *w, Message *m) {
    m->job = JOB;
    m->incarnation = SERVER;
    session_on_scheduler(w->session, m, 0);
    message_free(m);
}

static void welcome_server(Wiring *w) {
    Message m;
    char *text = config_text(&w->config);
    message_init(&m, MESSAGE_WELCOME);
    m.welcome = (MessageWELCOME){.config = config_fingerprint(&w->config),
                                 .heartbeat_ms = DEAD_MS / 2,
                                 .dead_ms = DEAD_MS,
                                 .version = MANGROVE_VERSION};
    message_add_bytes(&m, text, strlen(text));
    free(text);
    tell_server(w, &m);
}

static void start_server(Wiring *w) {
    Message m;
    const char *manifest = dataset_manifest(w->data);
    welcome_server(w);
    message_init(&m, MESSAGE_VIEW);
    m.view = (MessageVIEW){.map = w->view.map, .n_servers = 1};
    message_add_bytes(&m, w->view.slots, sizeof w->view.slots);
    message_add_bytes(&m, w->view.endpoints[0], strlen(w->view.endpoints[0]));
    message_add_bytes(&m, manifest, strlen(manifest));
    tell_server(w, &m);
    message_init(&m, MESSAGE_EPOCH_OPEN);
    m.epoch_open = (MessageEPOCH_OPEN){.epoch = 1,
                                       .steps_a = geometry_steps(&w->geometry, DOMAIN_A, SPLIT_TRAIN),
                                       .steps_b = geometry_steps(&w->geometry, DOMAIN_B, SPLIT_TRAIN)};
    tell_server(w, &m);
}

static void start_worker(Wiring *w) {
    RemoteOptions options = {.schema = &w->schema,
                             .config = config_fingerprint(&w->config),
                             .job = JOB,
                             .wire = w->config.train.wire,
                             .limits = {.silent_ms = DEAD_MS, .request_ms = DEAD_MS}};
    TrainerEnv env = {
        .ctx = w,
        .client = {.self = w, .pull_start = pull_start, .pull_wait = pull_wait, .push = push, .flush = flush},
        .stepped = stepped};
    remote_open(&w->remote, &options);
    remote_set_view(w->remote, &w->view, 0);
    exchange_all(w); /* HELLO and WELCOME */
    trainer_open(&w->trainer, w->data, &w->geometry, &w->config, &w->schema, model_find(w->config.model.name), &env);
}

static void close_wiring(Wiring *w) {
    trainer_close(&w->trainer);
    remote_close(&w->remote);
    session_close(&w->session);
    geometry_free(&w->geometry);
}

static Err open_wiring(Wiring *w, const Dataset *data) {
    static char *endpoints[] = {"no address"};
    const DataInfo *info = dataset_info(data);
    const SessionEnv env = {
        .ctx = w, .outbox = {w, from_server}, .schema = derive_schema, .finished = on_server_finished};
    w->data = data;
    w->view = (ClusterView){.map = 1, .n_servers = 1, .endpoints = endpoints};
    Err err = geometry_init(&w->geometry, info->counts[w->config.eval.protocol], info->n_chunks, 1,
                            (uint32_t)w->config.train.batch, (uint32_t)w->config.eval.batch);
    if (err || (err = derive_schema(NULL, &w->config, info, &w->schema)) ||
        (err = session_open(&w->session, SERVER, endpoints[0], &env, 0)))
        return err;
    start_server(w);
    if (w->code)
        return result_of(w);
    start_worker(w);
    return result_of(w);
}

/* ---- measuring -------------------------------------------------------------------------------------------------- */

static Err train_part(Wiring *w, uint64_t lease, Part part) {
    Message m;
    Assignment a;
    TrainerResult result = {0};
    message_init(&m, MESSAGE_LEASE);
    m.lease = (MessageLEASE){.lease = lease, .kind = LEASE_PART, .epoch = 1, .chunk = part.chunk, .part = part.index};
    Err err = assignment_decode(&a, &m, &w->geometry, &w->config);
    if (err)
        return err;
    err = trainer_run(w->trainer, &a, &result);
    assignment_free(&a);
    w->traffic.n_instances += result.n_instances;
    return err;
}

/* The first parts of the first epoch. */
static Err train_parts(Wiring *w, uint32_t n_parts) {
    uint32_t n_all = geometry_parts(&w->geometry);
    Part *order = must_alloc(n_all * sizeof *order);
    Err err = OK;
    geometry_part_order(&w->geometry, w->config.train.seed, 1, order);
    for (uint32_t i = 0; i < n_parts && i < n_all && !err; i++)
        err = train_part(w, i + 1, order[i]);
    free(order);
    return err;
}

static Err measure(const Config *config, const Dataset *data, const Setting *setting, uint32_t n_parts, Traffic *out) {
    Wiring *w = must_calloc(1, sizeof *w);
    w->config = *config;
    w->config.train.wire = setting->wire;
    w->config.dense = (DenseConfig){.fetch = setting->dense, .push = setting->dense};
    bench_make_async(&w->config);
    Err err = open_wiring(w, data);
    if (!err)
        err = train_parts(w, n_parts);
    *out = w->traffic;
    close_wiring(w);
    free(w);
    return err;
}

static Err report(const BenchOptions *options, const Setting *setting, const char *what, double ours, double theirs) {
    char name[64];
    snprintf(name, sizeof name, "%s %s", what, setting->name);
    const BenchCase c = {.bench = "wire",
                         .name = name,
                         .unit = "bytes/instance",
                         .yardstick = "fp32",
                         .target = setting->target,
                         .is_at_most = true};
    const BenchResult r = {.rounds = 1,
                           .ours = {ours, ours, ours},
                           .theirs = {theirs, theirs, theirs},
                           .ratio = {ours / theirs, ours / theirs, ours / theirs}};
    return bench_report(&c, options, &r);
}

static Err compare(const Config *config, const BenchOptions *options, const Dataset *data) {
    uint32_t n_parts = options->rounds ? (uint32_t)options->rounds : 20;
    Traffic plain, t;
    Err err = measure(config, data, &FP32, n_parts, &plain);
    for (size_t i = 0; i < sizeof SETTINGS / sizeof *SETTINGS && !err; i++) {
        err = measure(config, data, &SETTINGS[i], n_parts, &t);
        double ours = (double)t.n_instances, theirs = (double)plain.n_instances;
        if (!err)
            err = report(options, &SETTINGS[i], "pull", t.pull / ours, plain.pull / theirs);
        if (!err)
            err = report(options, &SETTINGS[i], "push", t.push / ours, plain.push / theirs);
    }
    return err;
}

Err bench_wire(const Config *config, const BenchOptions *options) {
    Dataset *data = NULL;
    if (!model_find(config->model.name))
        return ERR_CONFIG;
    Err err = gemm_self_check();
    if (!err)
        err = dataset_open(&data, options->data_dir ? options->data_dir : config->data_dir);
    if (!err)
        err = compare(config, options, data);
    dataset_close(&data);
    return err;
}
