/* Training through the wire beside training without it: what pulls and pushes cost a worker. */
#include <stdio.h>

#include "deploy/bench/bench_cluster.h"

typedef struct TrainCase {
    Config config;
    BenchRoom room;
    double seconds;
} TrainCase;

static Err through_the_wire(void *ctx, double *value) {
    TrainCase *c = ctx;
    BenchRates rates;
    Err err = bench_cluster_run(&c->config, &c->room, c->seconds, &rates);
    if (!err)
        *value = rates.instances_per_s;
    return err;
}

static Err in_this_process(void *ctx, double *value) {
    TrainCase *c = ctx;
    return bench_local_run(&c->config, &c->room, c->seconds, value);
}

Err bench_train(const Config *config, const BenchOptions *options) {
    TrainCase c = {.config = *config, .seconds = options->seconds > 0 ? options->seconds : 4};
    char name[64];
    c.config.cluster.servers = c.config.cluster.workers = 1;
    snprintf(name, sizeof name, "%s D %d batch %d", config->model.name, config->model.dim, config->train.batch);
    BenchCase wire = {.bench = "train",
                      .name = name,
                      .unit = "instances/s",
                      .yardstick = "the same worker with local tables",
                      .target = 0.85,
                      .ours = through_the_wire,
                      .theirs = in_this_process,
                      .ctx = &c};
    Err err = bench_room_open(&c.room, options);
    if (!err)
        err = bench_compare(&wire, options, NULL);
    bench_room_close(&c.room);
    return err;
}
