/* The worker's trainer against a store in this process: training without wire, scheduler and evaluation. */
#include "common/log.h"
#include "deploy/bench/bench_cluster.h"
#include "deploy/local_client.h"
#include "proto/message.h"
#include "worker/ops/gemm.h"
#include "worker/trainer.h"

typedef struct Local {
    Dataset *data;
    Geometry geometry;
    Schema schema;
    Store *store;
    Trainer *trainer;
    Assignment epoch;                       /* every step of one */
    uint64_t n_before;                      /* instances of earlier epochs */
    uint64_t n_begin, n_end;                /* instances at begin_s and when time was up */
    double begin_cpu_s, cpu_s;              /* of this thread; cpu_s: between begin_s and end_s */
    double warm_s, begin_s, end_s, seconds; /* begin_s 0: still warming up until warm_s */
} Local;

static bool stepped(void *ctx, const Assignment *a, uint64_t n_steps, uint64_t n_instances) {
    (void)a, (void)n_steps;
    Local *l = ctx;
    double now_s = bench_now_s();
    if (l->begin_s == 0 && now_s >= l->warm_s) {
        l->begin_s = now_s;
        l->begin_cpu_s = bench_cpu_s();
        l->n_begin = l->n_before + n_instances;
    } else if (l->begin_s > 0 && now_s >= l->begin_s + l->seconds) {
        l->end_s = now_s;
        l->cpu_s = bench_cpu_s() - l->begin_cpu_s;
        l->n_end = l->n_before + n_instances;
    }
    return l->end_s == 0;
}

static Err never_scored(void *ctx, const Assignment *a, const Scored *s) {
    (void)ctx, (void)a, (void)s;
    return ERR_FAILED; /* nothing is evaluated here */
}

static Err open_local(Local *l, const Config *config, const BenchRoom *room) {
    const Model *model = model_find(config->model.name);
    if (!model)
        return ERR_CONFIG;
    gemm_use_one_thread();
    Err err = gemm_self_check();
    if (!err)
        err = dataset_open(&l->data, room->data_dir);
    if (err)
        return err;
    const DataInfo *info = dataset_info(l->data);
    err = geometry_init(&l->geometry, info->counts[config->eval.protocol], info->n_chunks, 1,
                        (uint32_t)config->train.batch, (uint32_t)config->eval.batch);
    if (!err)
        err = model_schema(config, info->n_items, info->n_users, &l->schema);
    if (!err)
        err = store_open(&l->store, &l->schema, &config->optimizer, config->train.seed, 1);
    if (err)
        return err;
    if (config->dense.push > 1)
        store_use_groups(l->store);
    TrainerEnv env = {.ctx = l, .client = local_client(l->store), .stepped = stepped, .scored = never_scored};
    trainer_open(&l->trainer, l->data, &l->geometry, config, &l->schema, model, &env);
    return OK;
}

static void close_local(Local *l) {
    trainer_close(&l->trainer);
    store_close(&l->store);
    geometry_free(&l->geometry);
    dataset_close(&l->data);
    assignment_free(&l->epoch);
}

/* All of the epoch, as the one rank of a sync cluster is leased it. */
static Err deal_epoch(Local *l, const Config *config, uint32_t epoch) {
    const uint32_t rank = 0;
    uint32_t n_steps[N_DOMAINS];
    Message m;
    message_init(&m, MESSAGE_LEASE);
    m.lease = (MessageLEASE){.lease = epoch, .kind = LEASE_RANKS, .epoch = epoch};
    message_add_bytes(&m, &rank, sizeof rank);
    assignment_free(&l->epoch);
    Err err = assignment_decode(&l->epoch, &m, &l->geometry, config);
    message_free(&m);
    for (int d = 0; d < N_DOMAINS; d++)
        n_steps[d] = geometry_steps(&l->geometry, d, SPLIT_TRAIN);
    store_open_epoch(l->store, epoch, n_steps);
    return err;
}

Err bench_local_run(const Config *config, const BenchRoom *room, double seconds, double *instances_per_s,
                    double *cpu_s) {
    Local l = {.seconds = seconds};
    Config async = *config;
    bench_make_async(&async);
    Err err = open_local(&l, &async, room);
    l.warm_s = bench_now_s() + seconds / 2;
    for (uint32_t epoch = 1; !err && l.end_s == 0; epoch++) {
        TrainerResult result;
        err = deal_epoch(&l, &async, epoch);
        if (!err)
            err = trainer_run(l.trainer, &l.epoch, &result);
        if (!err)
            l.n_before += result.n_instances;
    }
    *cpu_s = err ? 0 : l.cpu_s / (double)(l.n_end - l.n_begin);
    if (!err)
        *instances_per_s = (double)(l.n_end - l.n_begin) / (l.end_s - l.begin_s);
    close_local(&l);
    return err;
}
