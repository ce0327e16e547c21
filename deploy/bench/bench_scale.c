/* How far a server goes: two workers beside one, the processor time of server and scheduler beside the worker's, and
 * workers that wait instead of computing, for which the processors of one machine suffice. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "deploy/bench/bench_cluster.h"
#include "deploy/bench/bench_waiting.h"

static const double SIGMA = 0.3; /* at most */
static const double OF_LIMIT = 0.85;
static const double OF_PYTORCH = 12;
static const double BENDS_BELOW = 0.85; /* of W times the rate of one */

enum { DEFAULT_ROUNDS = 5, DEFAULT_SECONDS = 4 };

typedef struct Scale {
    const BenchOptions *options;
    Config config;
    BenchRoom room;
    double seconds;
    int rounds;
    double *one, *two, *served, *worked, *command; /* (rounds): instances/s; CPU seconds per instance; instances/s */
} Scale;

static double sigma_of(const Scale *s, int round) {
    return s->served[round] / s->worked[round];
}

static Err measure_round(Scale *s, int round) {
    BenchRates rates;
    s->config.cluster.workers = 1;
    Err err = bench_cluster_run(&s->config, &s->room, s->seconds, &rates);
    if (err)
        return err;
    s->one[round] = rates.instances_per_s;
    s->served[round] = rates.server.cpu_s + rates.scheduler.cpu_s;
    s->worked[round] = rates.worker.cpu_s;
    s->config.cluster.workers = 2;
    err = bench_cluster_run(&s->config, &s->room, s->seconds, &rates);
    s->two[round] = rates.instances_per_s;
    if (!err && s->options->yardstick)
        err = bench_yardstick(s->options->yardstick, &s->command[round]);
    return err;
}

static Err report(const Scale *s, const BenchCase *c, const double *ours, const double *theirs) {
    return bench_report_rounds(c, s->options, ours, theirs, s->rounds);
}

/* 2/(1 + sigma): two cores, of which server and scheduler take a share of every instance. */
static Err report_workers(const Scale *s) {
    double *limits = must_calloc((size_t)s->rounds, sizeof *limits);
    for (int i = 0; i < s->rounds; i++)
        limits[i] = 2 / (1 + sigma_of(s, i));
    double limit = bench_spread(limits, s->rounds).median;
    free(limits);
    char name[64];
    snprintf(name, sizeof name, "2 workers batch %d", s->config.train.batch);
    const BenchCase sigma = {.bench = "scale",
                             .name = "sigma of one worker",
                             .unit = "CPU s/instance",
                             .yardstick = "the worker's",
                             .target = SIGMA,
                             .is_at_most = true};
    const BenchCase workers = {
        .bench = "scale", .name = name, .unit = "instances/s", .yardstick = "1 worker", .target = OF_LIMIT * limit};
    const BenchCase command = {
        .bench = "scale", .name = name, .unit = "instances/s", .yardstick = "given command", .target = OF_PYTORCH};
    Err err = report(s, &sigma, s->served, s->worked);
    if (!err)
        err = report(s, &workers, s->two, s->one);
    if (!err && s->options->yardstick)
        err = report(s, &command, s->two, s->command);
    return err;
}

/* ---- workers that wait ------------------------------------------------------------------------------------------ */

static Err report_waiting(const Scale *s, int n, const BenchWaitingRates *r, double of_one) {
    char name[96];
    double linear = n * of_one, ratio = r->instances_per_s / linear;
    snprintf(name, sizeof name, "%d waiting: server %.0f%% us %.0f%%", n, 100 * r->server_thread_cpu_s,
             100 * r->clients_cpu_s);
    const BenchCase c = {.bench = "scale", .name = name, .unit = "instances/s", .yardstick = "as often as 1 waiting"};
    const BenchResult result = {.rounds = 1,
                                .ours = {r->instances_per_s, r->instances_per_s, r->instances_per_s},
                                .theirs = {linear, linear, linear},
                                .ratio = {ratio, ratio, ratio}};
    return bench_report(&c, s->options, &result);
}

/* most: by the clock. by_cpu: how many keep the server's busiest thread busy all the time, which other work on the
 * machine does not change. */
static Err report_bend(const Scale *s, int most, BenchSpread by_cpu) {
    const double workers = most;
    BenchCase c = {.bench = "scale", .name = "waiting workers that a server feeds", .unit = "workers"};
    const BenchResult by_clock = {.rounds = 1, .ours = {workers, workers, workers}};
    const BenchResult by_thread = {.rounds = 1, .ours = by_cpu};
    Err err = bench_report(&c, s->options, &by_clock);
    c.name = "the same by CPU time";
    return err ? err : bench_report(&c, s->options, &by_thread);
}

static Err measure_waiting(const Scale *s) {
    BenchWaiting *waiting;
    BenchWaitingRates rates;
    double step_s, of_one = 0, by_cpu[8];
    int most = 0, n_rates = 0;
    Err err = bench_waiting_open(&waiting, &s->config, &s->room, &step_s);
    for (int n = 1; n <= BENCH_WAITING_MOST && !err; n *= 2) {
        err = bench_waiting_run(waiting, n, step_s, s->seconds / 2, &rates);
        if (err)
            break;
        if (n == 1)
            of_one = rates.instances_per_s;
        if (rates.instances_per_s >= BENDS_BELOW * n * of_one && most == n / 2)
            most = n;
        by_cpu[n_rates++] = rates.instances_per_s / rates.server_thread_cpu_s * step_s / s->config.train.batch;
        err = report_waiting(s, n, &rates, of_one);
    }
    bench_waiting_close(&waiting);
    return err ? err : report_bend(s, most, bench_spread(by_cpu, n_rates));
}

/* ---- all of it -------------------------------------------------------------------------------------------------- */

Err bench_scale(const Config *config, const BenchOptions *options) {
    Scale s = {.options = options, .config = *config};
    s.seconds = options->seconds > 0 ? options->seconds : DEFAULT_SECONDS;
    s.rounds = options->rounds ? options->rounds : DEFAULT_ROUNDS;
    s.config.cluster.servers = 1;
    bench_make_async(&s.config);
    size_t n = (size_t)s.rounds;
    s.one = must_calloc(5 * n, sizeof *s.one);
    s.two = s.one + n, s.served = s.two + n, s.worked = s.served + n, s.command = s.worked + n;
    Err err = bench_room_open(&s.room, options);
    for (int i = 0; i < s.rounds && !err; i++)
        err = measure_round(&s, i);
    if (!err)
        err = report_workers(&s);
    if (!err)
        err = measure_waiting(&s);
    bench_room_close(&s.room);
    free(s.one);
    return err;
}
