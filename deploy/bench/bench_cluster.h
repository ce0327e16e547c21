/* Real clusters for the benchmarks: processes on this machine, over loopback, and what they do while they train.
 *
 * Rates are of training alone: the scheduler is asked for its counts again and again, and time runs only between two
 * answers of the same epoch's training; start-up, evaluation and the first seconds do not count. */
#ifndef MANGROVE_DEPLOY_BENCH_BENCH_CLUSTER_H
#define MANGROVE_DEPLOY_BENCH_BENCH_CLUSTER_H

#include <sys/types.h>

#include "common/config.h"
#include "common/err.h"
#include "deploy/bench/bench.h"

enum { BENCH_PATH = 256 };

/* A directory for the files of one benchmark, and the data set: options->data_dir, or one made up in the directory. */
typedef struct BenchRoom {
    char dir[BENCH_PATH], data_dir[CONFIG_PATH];
} BenchRoom;

Err bench_room_open(BenchRoom *room, const BenchOptions *options) MUST_CHECK;
void bench_room_close(BenchRoom *room); /* removes the directory; of a zeroed struct is legal */

/* Of all processes of the role together, per instance trained. */
typedef struct BenchCost {
    double cpu_s, thread_cpu_s; /* thread_cpu_s: of the busiest thread of each process alone */
    double sent_bytes, received_bytes;
} BenchCost;

typedef struct BenchRates {
    double instances_per_s;
    BenchCost scheduler, server, worker;
} BenchRates;

/* Trains with config's cluster.servers and cluster.workers, in async, for seconds after a warm-up of half as long. */
Err bench_cluster_run(const Config *config, const BenchRoom *room, double seconds, BenchRates *out) MUST_CHECK;

/* The same trainer with the tables in this process. cpu_s: per instance. */
Err bench_local_run(const Config *config, const BenchRoom *room, double seconds, double *instances_per_s,
                    double *cpu_s) MUST_CHECK;

/* Processor time of another process so far: of all its threads, and of the busiest one alone. 0 if it has ended. */
double bench_process_cpu_s(pid_t pid);
double bench_busiest_thread_cpu_s(pid_t pid);

#endif
