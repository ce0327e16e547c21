/* What the benchmarks share: their options, and a measurement beside its yardstick.
 *
 * Both sides of a comparison run in this process's run, taking turns, because machines are shared and noisy: what
 * counts is the ratio of a round's two values, and of these the median. */
#ifndef MANGROVE_DEPLOY_BENCH_BENCH_H
#define MANGROVE_DEPLOY_BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/err.h"

/* From the command line; 0 or NULL: not given, and then the benchmark's own default, unless said otherwise. */
typedef struct BenchOptions {
    int rounds;            /* default 5 */
    double seconds;        /* of one side in one round */
    bool is_json;          /* one object a line instead of a table */
    const char *csv;       /* append a row for each result */
    const char *data_dir;  /* a prepared data set */
    const char *yardstick; /* a shell command whose last line of output holds "speed N instances/s" */
    const char *dir;       /* where files are written, and deleted; default "." */
    double mean_history;   /* of made-up batches */
    double gib;
    int cuts;
    uint64_t rows;
    double gbit;           /* of a host's network, a second */
    const char *constants; /* of the cluster's model: "NAME=NUMBER,..." */
} BenchOptions;

/* One side in one round: a rate, a time, a size. ctx: the case's. */
typedef Err (*BenchSide)(void *ctx, double *value);

typedef struct BenchCase {
    const char *bench, *name; /* "table", "gather 4000 x 40" */
    const char *unit;         /* of both values: "rows/s" */
    const char *yardstick;    /* what it is, "plain array"; NULL: none, and no ratio */
    double target;   /* of the ratio ours / yardstick's (of ours itself where there is no yardstick); 0: none */
    bool is_at_most; /* the target is an upper bound: times, sizes */
    BenchSide ours, theirs;
    void *ctx;
} BenchCase;

typedef struct BenchSpread {
    double median, least, most;
} BenchSpread;

typedef struct BenchResult {
    int rounds;
    BenchSpread ours, theirs, ratio; /* ratio: of the rounds' ratios */
} BenchResult;

/* Runs both sides options->rounds times by turns (one unmeasured round before, to warm up) and reports the result.
 * result may be NULL. */
Err bench_compare(const BenchCase *c, const BenchOptions *options, BenchResult *result) MUST_CHECK;
/* Reports what was measured otherwise: a line of the table or a JSON object, and a row in options->csv. The table's
 * head is printed before the first one of the process. ERR_IO: the file cannot be written. */
Err bench_report(const BenchCase *c, const BenchOptions *options, const BenchResult *result) MUST_CHECK;
/* The same of the values of rounds, which it keeps as they are. */
Err bench_report_rounds(const BenchCase *c, const BenchOptions *options, const double *ours, const double *theirs,
                        int rounds) MUST_CHECK;
/* Median, least and most of n > 0 values, which it sorts. */
BenchSpread bench_spread(double *values, int n);

/* Runs the command and finds "speed N instances/s" in the last line of what it prints. ERR_FAILED. */
Err bench_yardstick(const char *command, double *instances_per_s) MUST_CHECK;

/* Any configuration as benchmarks of workers and servers take it: async, one rank. */
void bench_make_async(Config *config);

double bench_now_s(void); /* CLOCK_MONOTONIC */
double bench_cpu_s(void); /* CLOCK_THREAD_CPUTIME_ID */

/* ---- the benchmarks, each in a file of its own */

Err bench_step(const Config *config, const BenchOptions *options) MUST_CHECK;
Err bench_gemm(const Config *config, const BenchOptions *options) MUST_CHECK;
Err bench_snapshot(const Config *config, const BenchOptions *options) MUST_CHECK;
Err bench_table(const Config *config, const BenchOptions *options) MUST_CHECK;
Err bench_grow(const Config *config, const BenchOptions *options) MUST_CHECK;
Err bench_prepare(const Config *config, const BenchOptions *options) MUST_CHECK;
Err bench_link(const Config *config, const BenchOptions *options) MUST_CHECK;
Err bench_rtt(const Config *config, const BenchOptions *options) MUST_CHECK;
Err bench_model(const Config *config, const BenchOptions *options) MUST_CHECK;
Err bench_train(const Config *config, const BenchOptions *options) MUST_CHECK;
Err bench_scale(const Config *config, const BenchOptions *options) MUST_CHECK;
Err bench_wire(const Config *config, const BenchOptions *options) MUST_CHECK;

#endif
