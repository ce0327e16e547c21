/* The worker's trainer against a store in this process: training without wire, scheduler and evaluation. */
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "deploy/bench/bench_cluster.h"
#include "deploy/local_client.h"
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

static void deal_epoch(Local *l, uint64_t seed, uint32_t epoch) {
    uint32_t n_steps[N_DOMAINS], n = 0;
    for (int d = 0; d < N_DOMAINS; d++)
        n += n_steps[d] = geometry_steps(&l->geometry, d, SPLIT_TRAIN);
    Part *parts = must_calloc(geometry_parts(&l->geometry), sizeof *parts);
    StepName *names = must_calloc(n, sizeof *names);
    geometry_epoch_order(&l->geometry, seed, epoch, parts, names);
    assignment_free(&l->epoch);
    l->epoch = (Assignment){.lease = epoch, .kind = LEASE_PART, .epoch = epoch, .n_steps = n, .n_ranks = 1};
    l->epoch.steps = must_calloc(n, sizeof *l->epoch.steps);
    l->epoch.ranks = must_calloc(1, sizeof *l->epoch.ranks);
    for (uint32_t i = 0; i < n; i++)
        l->epoch.steps[i] = (AssignedStep){.step = names[i].step, .domain = names[i].domain};
    free(names);
    free(parts);
    store_open_epoch(l->store, epoch, n_steps);
}

Err bench_local_run(const Config *config, const BenchRoom *room, double seconds, double *instances_per_s,
                    double *cpu_s) {
    Local l = {.seconds = seconds};
    Config async = *config;
    async.train.consistency = CONSISTENCY_ASYNC;
    Err err = open_local(&l, &async, room);
    l.warm_s = bench_now_s() + seconds / 2;
    for (uint32_t epoch = 1; !err && l.end_s == 0; epoch++) {
        TrainerResult result;
        deal_epoch(&l, async.train.seed, epoch);
        err = trainer_run(l.trainer, &l.epoch, &result);
        l.n_before += result.n_instances;
    }
    *cpu_s = err ? 0 : l.cpu_s / (double)(l.n_end - l.n_begin);
    if (!err)
        *instances_per_s = (double)(l.n_end - l.n_begin) / (l.end_s - l.begin_s);
    close_local(&l);
    return err;
}
