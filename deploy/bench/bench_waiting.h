/* Workers that wait for as long as they would compute: many clients in this process, each with the worker's parameter
 * client and a connection of its own, against one server, which is a process and keeps real tables. They send pulls and
 * pushes of real batches, one pull ahead, as the trainer does; so a machine of few cores shows how many workers one
 * server feeds. This process is the server's scheduler too, in so far as it opens one endless epoch. */
#ifndef MANGROVE_DEPLOY_BENCH_BENCH_WAITING_H
#define MANGROVE_DEPLOY_BENCH_BENCH_WAITING_H

#include "deploy/bench/bench_cluster.h"
#include "deploy/bench/bench_model.h"

enum { BENCH_WAITING_MOST = 64 };

typedef struct BenchWaiting BenchWaiting;

typedef struct BenchWaitingRates {
    double instances_per_s;
    double server_cpu_s, server_thread_cpu_s; /* of each second: all threads, and the busiest alone */
    double clients_cpu_s;                     /* likewise, of this process's loop thread */
} BenchWaitingRates;

/* Dense rows go with every step, whatever config.dense says.
 * Starts the server and computes a few batches, to have their keys and gradients; step_s: how long one took. */
Err bench_waiting_open(BenchWaiting **out, const Config *config, const BenchRoom *room, double *step_s) MUST_CHECK;
void bench_waiting_close(BenchWaiting **w);

/* n_workers <= BENCH_WAITING_MOST, each of which waits step_s in every step, for seconds. */
Err bench_waiting_run(BenchWaiting *w, int n_workers, double step_s, double seconds, BenchWaitingRates *out) MUST_CHECK;

/* Sets the bytes of a step, mean of its batches. */
void bench_waiting_bytes(const BenchWaiting *w, ModelStep *out);

#endif
