/* `mangrove bench step`: one process with the local store trains as fast as it can. */
#ifndef MANGROVE_DEPLOY_BENCH_BENCH_STEP_H
#define MANGROVE_DEPLOY_BENCH_BENCH_STEP_H

#include <stdbool.h>

#include "common/config.h"
#include "common/err.h"

typedef struct BenchStepOptions {
    const char *data_dir;  /* NULL: made-up batches */
    double mean_history;   /* of made-up batches */
    double seconds;        /* of each round */
    int rounds;            /* ours and the yardstick's take turns */
    const char *yardstick; /* NULL, or a shell command whose output ends in a line with "speed N instances/s" */
    bool is_json;
} BenchStepOptions;

Err bench_step(const Config *config, const BenchStepOptions *options) MUST_CHECK;

#endif
