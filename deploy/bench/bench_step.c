/* A step's phases, timed: make the batch and name its rows, pull, forward, backward, push; then what it was at. */
#include "deploy/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "deploy/bench/bench_batches.h"
#include "server/store/store.h"
#include "worker/model/step.h"
#include "worker/ops/gemm.h"
#include "worker/ops/meter.h"

#define PHASES(X) X(batch) X(lookup) X(pull) X(forward) X(backward) X(push)
enum {
#define X(name) PHASE_##name,
    PHASES(X)
#undef X
        N_PHASES
};
static const char *const PHASE_NAMES[N_PHASES] = {
#define X(name) #name,
    PHASES(X)
#undef X
};

typedef struct Tally {
    double seconds[N_PHASES], total_s, cpu_s; /* cpu_s: what a busy machine left us of total_s */
    uint64_t n_instances, n_steps, n_positions;
} Tally;

typedef struct Bench {
    const Config *config;
    const BenchOptions *options;
    Tally all; /* of all rounds that count */
    bool is_warm;
    BenchBatches *batches;
    Schema *schema;
    Store *store;
    Step *step;
} Bench;

static const double DEFAULT_HISTORY = 10, DEFAULT_SECONDS = 5;

static double seconds_of(const BenchOptions *o) {
    return o->seconds > 0 ? o->seconds : DEFAULT_SECONDS;
}

static void add_tally(Tally *sum, const Tally *t) {
    for (int p = 0; p < N_PHASES; p++)
        sum->seconds[p] += t->seconds[p];
    sum->total_s += t->total_s;
    sum->cpu_s += t->cpu_s;
    sum->n_instances += t->n_instances;
    sum->n_steps += t->n_steps;
    sum->n_positions += t->n_positions;
}

static double lap(Tally *tally, int phase, double since) {
    double now = bench_now_s();
    tally->seconds[phase] += now - since;
    return now;
}

static void open_epoch(Bench *b, uint32_t epoch) {
    uint32_t n_steps[N_DOMAINS];
    for (int d = 0; d < N_DOMAINS; d++)
        n_steps[d] = bench_batches_steps(b->batches, d);
    store_open_epoch(b->store, epoch, n_steps);
}

static Err open_bench(Bench *b, const Config *config, const BenchOptions *o) {
    const Model *model = model_find(config->model.name);
    if (!model)
        return ERR_CONFIG;
    Err err = gemm_self_check();
    if (err || (err = bench_batches_open(&b->batches, config, model, o->data_dir,
                                         o->mean_history > 0 ? o->mean_history : DEFAULT_HISTORY)))
        return err;
    b->config = config;
    b->schema = must_calloc(1, sizeof *b->schema);
    err = model_schema(config, bench_batches_items(b->batches), bench_batches_users(b->batches), b->schema);
    if (err || (err = store_open(&b->store, b->schema, &config->optimizer, config->train.seed, 1)))
        return err;
    b->step = step_open(model, config, b->schema);
    open_epoch(b, 1);
    return OK;
}

static void close_bench(Bench *b) {
    step_close(&b->step);
    store_close(&b->store);
    free(b->schema);
    bench_batches_close(&b->batches);
}

static Err run_step(Bench *b, Tally *tally) {
    Work work = bench_batches_next(b->batches);
    if (work.epoch != store_epoch(b->store))
        open_epoch(b, work.epoch);
    Batch batch;
    uint32_t n_keys;
    size_t n_values;
    double at = bench_now_s();
    step_reset(b->step);
    bench_batches_make(b->batches, &work, step_arena(b->step), &batch);
    at = lap(tally, PHASE_batch, at);
    step_begin(b->step, &batch, true);
    const uint64_t *keys = step_pull_keys(b->step, &n_keys, &n_values);
    at = lap(tally, PHASE_lookup, at);
    store_pull(b->store, keys, n_keys, step_values(b->step));
    at = lap(tally, PHASE_pull, at);
    step_forward(b->step);
    at = lap(tally, PHASE_forward, at);
    step_backward(b->step);
    keys = step_push_keys(b->step, &n_keys, &n_values);
    at = lap(tally, PHASE_backward, at);
    PushResult result;
    Err err = store_push(b->store, &work, keys, n_keys, step_grads(b->step), &result);
    lap(tally, PHASE_push, at);
    tally->n_instances += (uint64_t)batch.n_instances;
    tally->n_positions += (uint64_t)batch.n_positions;
    tally->n_steps++;
    return err;
}

static Err run_for(Bench *b, double seconds, Tally *tally) {
    double start = bench_now_s(), end = start + seconds, cpu = bench_cpu_s();
    Err err = OK;
    while (!err && bench_now_s() < end)
        err = run_step(b, tally);
    tally->total_s += bench_now_s() - start;
    tally->cpu_s += bench_cpu_s() - cpu;
    return err;
}

/* ---- output ----------------------------------------------------------------------------------------------------- */

static void print_table(const Bench *b, const Tally *t) {
    char kernels[GEMM_KERNELS];
    const ModelConfig *m = &b->config->model;
    printf("%s, D %d, T %d, batch %d, mean history %.1f, kernels %s\n", m->name, m->dim, m->seq_len,
           b->config->train.batch, (double)t->n_positions / (double)t->n_instances, gemm_kernels(kernels));
    printf("%-10s %12s %8s\n", "phase", "us per step", "share");
    for (int p = 0; p < N_PHASES; p++)
        printf("%-10s %12.1f %7.1f%%\n", PHASE_NAMES[p], t->seconds[p] / (double)t->n_steps * 1e6,
               100 * t->seconds[p] / t->total_s);
    printf("%-10s %12.1f\n%.0f instances/s, %.0f per second of processor time, in %llu steps\n", "all",
           t->total_s / (double)t->n_steps * 1e6, (double)t->n_instances / t->total_s,
           (double)t->n_instances / t->cpu_s, (unsigned long long)t->n_steps);
}

static void print_json(const Bench *b, const Tally *t) {
    char kernels[GEMM_KERNELS];
    const ModelConfig *m = &b->config->model;
    printf("{\"bench\": \"step_phases\", \"model\": \"%s\", \"dim\": %d, \"seq_len\": %d, \"batch\": %d, "
           "\"mean_history\": %.3f, \"kernels\": \"%s\", \"steps\": %llu, \"instances_per_s\": %.1f, "
           "\"instances_per_cpu_s\": %.1f",
           m->name, m->dim, m->seq_len, b->config->train.batch, (double)t->n_positions / (double)t->n_instances,
           gemm_kernels(kernels), (unsigned long long)t->n_steps, (double)t->n_instances / t->total_s,
           (double)t->n_instances / t->cpu_s);
    for (int p = 0; p < N_PHASES; p++)
        printf(", \"%s_us\": %.2f", PHASE_NAMES[p], t->seconds[p] / (double)t->n_steps * 1e6);
    puts("}");
}

/* ---- what a step is at ------------------------------------------------------------------------------------------ */

enum { SHARE_GATHER = N_METER_KINDS, SHARE_OPTIMIZER, N_SHARES };
static const char *const SHARE_NAMES[N_SHARES] = {
    [METER_GEMM] = "gemm",         [METER_ATTENTION] = "attention", [METER_ELEMENTWISE] = "elementwise",
    [METER_ROWS] = "rows",         [SHARE_GATHER] = "pull",         [SHARE_OPTIMIZER] = "optimizer",
    [METER_OVERHEAD] = "overhead",
};
static const int SHARE_ORDER[N_SHARES] = {METER_GEMM,   METER_ATTENTION, METER_ELEMENTWISE, METER_ROWS,
                                          SHARE_GATHER, SHARE_OPTIMIZER, METER_OVERHEAD};
static const double MOST_OVERHEAD = 5; /* % */

/* Seconds of each kind. Forward and backward by the operations' meter, with what is between the operations as overhead;
 * so are making the batch, finding its distinct rows, and the loop. */
static void split_time(const Tally *t, const Meter *m, double *seconds) {
    double others = t->total_s;
    memcpy(seconds, m->seconds, sizeof m->seconds);
    seconds[SHARE_GATHER] = t->seconds[PHASE_pull];
    seconds[SHARE_OPTIMIZER] = t->seconds[PHASE_push];
    for (int i = 0; i < N_SHARES; i++)
        others -= i == METER_OVERHEAD ? 0 : seconds[i];
    seconds[METER_OVERHEAD] = others;
}

static void print_shares(const Tally *t, const double *seconds, bool is_json) {
    if (is_json)
        printf("{\"bench\": \"step_share\"");
    else
        printf("%-12s %10s %8s\n", "kind", "us per step", "share");
    for (int i = 0; i < N_SHARES; i++) {
        const char *name = SHARE_NAMES[SHARE_ORDER[i]];
        double s = seconds[SHARE_ORDER[i]], us = s / (double)t->n_steps * 1e6, percent = 100 * s / t->total_s;
        if (is_json)
            printf(", \"%s_us\": %.2f, \"%s_percent\": %.2f", name, us, name, percent);
        else
            printf("%-12s %10.1f %7.1f%%\n", name, us, percent);
    }
    if (is_json)
        puts("}");
}

/* In a run of its own: reading the clock at every product slows a step down by a few percent. */
static Err measure_shares(Bench *b, const char *name) {
    Tally tally = {0};
    Meter meter;
    double seconds[N_SHARES], overhead;
    meter_use(&meter);
    Err err = run_for(b, seconds_of(b->options), &tally);
    meter_use(NULL);
    if (err)
        return err;
    split_time(&tally, &meter, seconds);
    print_shares(&tally, seconds, b->options->is_json);
    overhead = 100 * seconds[METER_OVERHEAD] / tally.total_s;
    const BenchCase c = {
        .bench = "step_overhead", .name = name, .unit = "%", .target = MOST_OVERHEAD, .is_at_most = true};
    const BenchResult result = {.rounds = 1, .ours = {overhead, overhead, overhead}};
    return bench_report(&c, b->options, &result);
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static Err our_side(void *ctx, double *rate) {
    Bench *b = ctx;
    Tally tally = {0};
    Err err = run_for(b, seconds_of(b->options), &tally);
    *rate = (double)tally.n_instances / tally.total_s;
    if (b->is_warm)
        add_tally(&b->all, &tally);
    b->is_warm = true;
    return err;
}

static Err yardstick_side(void *ctx, double *rate) {
    return bench_yardstick(((const Bench *)ctx)->options->yardstick, rate);
}

static Err measure(Bench *b) {
    char name[64];
    const ModelConfig *m = &b->config->model;
    snprintf(name, sizeof name, "%s D %d T %d batch %d", m->name, m->dim, m->seq_len, b->config->train.batch);
    const BenchCase c = {.bench = "step",
                         .name = name,
                         .unit = "instances/s",
                         .yardstick = b->options->yardstick ? "given command" : NULL,
                         .ours = our_side,
                         .theirs = b->options->yardstick ? yardstick_side : NULL,
                         .ctx = b};
    Err err = bench_compare(&c, b->options, NULL);
    if (err)
        return err;
    (b->options->is_json ? print_json : print_table)(b, &b->all);
    return measure_shares(b, name);
}

Err bench_step(const Config *config, const BenchOptions *options) {
    Bench b = {.options = options};
    Err err = open_bench(&b, config, options);
    if (!err)
        err = measure(&b);
    close_bench(&b);
    return err;
}
