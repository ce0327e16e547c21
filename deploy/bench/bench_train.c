/* Training through the wire beside training without it: what pulls and pushes cost a worker. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "deploy/bench/bench_cluster.h"

enum { DEFAULT_ROUNDS = 5, DEFAULT_SECONDS = 4 };

static const double TARGET = 0.85;

typedef struct Train {
    Config config;
    BenchRoom room;
    double seconds;
    double *wire, *local;         /* (rounds) instances/s */
    double *wire_cpu, *local_cpu; /* likewise, of what a machine with nothing else to do allows */
} Train;

/* The busiest thread of the worker's is the one that computes. All processes together cannot have more than the
 * processors of the machine. */
static double allowed_by(const BenchRates *r) {
    double all_s = r->scheduler.cpu_s + r->server.cpu_s + r->worker.cpu_s;
    return fmin(1 / r->worker.thread_cpu_s, (double)sysconf(_SC_NPROCESSORS_ONLN) / all_s);
}

static Err measure_round(Train *t, int round) {
    BenchRates rates;
    double cpu_s;
    Err err = bench_cluster_run(&t->config, &t->room, t->seconds, &rates);
    if (!err)
        err = bench_local_run(&t->config, &t->room, t->seconds, &t->local[round], &cpu_s);
    if (err)
        return err;
    t->wire[round] = rates.instances_per_s;
    t->wire_cpu[round] = allowed_by(&rates);
    t->local_cpu[round] = 1 / cpu_s;
    return OK;
}

static Err report(const Train *t, const BenchOptions *options, int rounds) {
    const Config *config = &t->config;
    char name[64], by_cpu[96];
    snprintf(name, sizeof name, "%s D %d batch %d", config->model.name, config->model.dim, config->train.batch);
    snprintf(by_cpu, sizeof by_cpu, "%s by CPU time", name);
    BenchCase c = {.bench = "train",
                   .name = name,
                   .unit = "instances/s",
                   .yardstick = "the same worker with local tables",
                   .target = TARGET};
    Err err = bench_report_rounds(&c, options, t->wire, t->local, rounds);
    c.name = by_cpu;
    return err ? err : bench_report_rounds(&c, options, t->wire_cpu, t->local_cpu, rounds);
}

Err bench_train(const Config *config, const BenchOptions *options) {
    Train t = {.config = *config, .seconds = options->seconds > 0 ? options->seconds : DEFAULT_SECONDS};
    int rounds = options->rounds ? options->rounds : DEFAULT_ROUNDS;
    size_t n = (size_t)rounds;
    t.config.cluster.servers = t.config.cluster.workers = 1;
    t.wire = must_calloc(4 * n, sizeof *t.wire);
    t.local = t.wire + n, t.wire_cpu = t.local + n, t.local_cpu = t.wire_cpu + n;
    Err err = bench_room_open(&t.room, options);
    for (int i = 0; i < rounds && !err; i++)
        err = measure_round(&t, i);
    if (!err)
        err = report(&t, options, rounds);
    bench_room_close(&t.room);
    free(t.wire);
    return err;
}
