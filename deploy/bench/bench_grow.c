/* The same steps over tables of ever more items: does a step cost what it touches, or what there is?
 *
 * Three stores whose sparse tables are full, a tenth and a hundredth as large. Each round every one of them trains for
 * a while on made-up batches whose items are drawn uniformly, so that hardly a row is in a cache of the larger ones. */
#include "deploy/bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/rng.h"
#include "deploy/bench/bench_batches.h"
#include "server/store/store.h"
#include "worker/model/step.h"
#include "worker/ops/gemm.h"

enum { N_SIZES = 3, SMALLER = 10, DEFAULT_ITEMS = 10000000, LEAST_ITEMS = 1000, DEFAULT_ROUNDS = 5 };
static const double DEFAULT_SECONDS = 1, DEFAULT_HISTORY = 10, MOST_RATIO = 1.3;

/* One size. */
typedef struct Grown {
    uint32_t n_items;
    BenchBatches *batches;
    Schema *schema;
    Store *store;
    Step *step;
    Rng rng;
    double *rates; /* (rounds) */
} Grown;

static void open_epoch(Grown *g, uint32_t epoch) {
    uint32_t n_steps[N_DOMAINS];
    for (int d = 0; d < N_DOMAINS; d++)
        n_steps[d] = bench_batches_steps(g->batches, d);
    store_open_epoch(g->store, epoch, n_steps);
}

/* Every row is there, as after a long training: small values, and moments that are not 0. */
static void fill(Grown *g) {
    for (int t = 0; t < g->schema->n_tables; t++) {
        const Table *table = &g->schema->tables[t];
        uint32_t n = store_row_reals(g->store, t);
        real *row = must_calloc(n, sizeof *row);
        for (uint32_t k = 0; k < n; k++)
            row[k] = (real)(k % 7 + 1) * (real)1e-3;
        for (uint64_t id = 0; table->is_sparse && id < table->n_rows; id++)
            store_put(g->store, key_of(t, id), row);
        free(row);
    }
}

static Err open_size(Grown *g, const Config *config, const BenchOptions *o, uint32_t n_items, int rounds) {
    const Model *model = model_find(config->model.name);
    if (!model)
        return ERR_CONFIG;
    g->n_items = n_items;
    g->rng = rng_stream(config->train.seed, RNG_TEST, 1, n_items);
    g->rates = must_calloc((size_t)rounds, sizeof *g->rates);
    Err err =
        bench_batches_open(&g->batches, config, model, NULL, o->mean_history > 0 ? o->mean_history : DEFAULT_HISTORY);
    if (err)
        return err;
    g->schema = must_calloc(1, sizeof *g->schema);
    err = model_schema(config, n_items, bench_batches_users(g->batches), g->schema);
    if (err || (err = store_open(&g->store, g->schema, &config->optimizer, config->train.seed, 1)))
        return err;
    g->step = step_open(model, config, g->schema);
    open_epoch(g, 1);
    fill(g);
    return OK;
}

static void close_size(Grown *g) {
    step_close(&g->step);
    store_close(&g->store);
    free(g->schema);
    bench_batches_close(&g->batches);
    free(g->rates);
}

/* Items of an array of the batch, anew. */
static const uint32_t *uniform(Grown *g, Arena *arena, uint32_t n) {
    uint32_t *items = arena_array(arena, uint32_t, n + 1);
    for (uint32_t i = 0; i < n; i++)
        items[i] = 1 + rng_below(&g->rng, g->n_items - 1);
    return items;
}

static Err run_step(Grown *g, uint64_t *n_instances) {
    Work work = bench_batches_next(g->batches);
    if (work.epoch != store_epoch(g->store))
        open_epoch(g, work.epoch);
    Batch batch;
    uint32_t n_keys;
    size_t n_values;
    step_reset(g->step);
    Arena *arena = step_arena(g->step);
    bench_batches_make(g->batches, &work, arena, &batch);
    batch.hist = uniform(g, arena, (uint32_t)batch.n_positions);
    batch.cand = uniform(g, arena, (uint32_t)(batch.n_instances * batch.n_candidates));
    step_begin(g->step, &batch, true);
    const uint64_t *keys = step_pull_keys(g->step, &n_keys, &n_values);
    store_pull(g->store, keys, n_keys, step_values(g->step));
    step_forward(g->step);
    step_backward(g->step);
    keys = step_push_keys(g->step, &n_keys, &n_values);
    PushResult result;
    *n_instances += (uint64_t)batch.n_instances;
    return store_push(g->store, &work, keys, n_keys, step_grads(g->step), &result);
}

static Err run_for(Grown *g, double seconds, double *rate) {
    double start = bench_cpu_s(), now = start;
    uint64_t n = 0;
    Err err = OK;
    while (!err && now < start + seconds) {
        err = run_step(g, &n);
        now = bench_cpu_s();
    }
    *rate = (double)n / (now - start);
    return err;
}

/* Fastest over slowest of each round, and the rates. */
static Err report(Grown *sizes, const BenchOptions *o, int rounds) {
    double *ratios = must_calloc((size_t)rounds, sizeof *ratios);
    Err err = OK;
    for (int r = 0; r < rounds; r++) {
        double least = sizes[0].rates[r], most = least;
        for (int i = 1; i < N_SIZES; i++) {
            least = sizes[i].rates[r] < least ? sizes[i].rates[r] : least;
            most = sizes[i].rates[r] > most ? sizes[i].rates[r] : most;
        }
        ratios[r] = most / least;
    }
    for (int i = 0; i < N_SIZES && !err; i++) {
        char name[64];
        snprintf(name, sizeof name, "%u items", sizes[i].n_items);
        BenchCase c = {.bench = "grow", .name = name, .unit = "instances/cpu s"};
        err = bench_report(&c, o, &(BenchResult){.rounds = rounds, .ours = bench_spread(sizes[i].rates, rounds)});
    }
    BenchCase c = {
        .bench = "grow", .name = "fastest over slowest", .unit = "times", .target = MOST_RATIO, .is_at_most = true};
    if (!err)
        err = bench_report(&c, o, &(BenchResult){.rounds = rounds, .ours = bench_spread(ratios, rounds)});
    free(ratios);
    return err;
}

Err bench_grow(const Config *config, const BenchOptions *o) {
    Grown sizes[N_SIZES] = {0};
    int rounds = o->rounds ? o->rounds : DEFAULT_ROUNDS;
    uint64_t n_items = o->rows ? o->rows : DEFAULT_ITEMS;
    double seconds = o->seconds > 0 ? o->seconds : DEFAULT_SECONDS, warm_up;
    if (n_items < LEAST_ITEMS)
        return err_fail(ERR_USAGE, "--rows is %llu, expected at least %d", (unsigned long long)n_items, LEAST_ITEMS);
    Err err = gemm_self_check();
    for (int i = N_SIZES - 1; i >= 0 && !err; i--, n_items /= SMALLER)
        if (!(err = open_size(&sizes[i], config, o, (uint32_t)n_items, rounds)))
            err = run_for(&sizes[i], seconds, &warm_up);
    for (int r = 0; r < rounds; r++)
        for (int i = 0; i < N_SIZES && !err; i++)
            err = run_for(&sizes[i], seconds, &sizes[i].rates[r]);
    if (!err)
        err = report(sizes, o, rounds);
    for (int i = 0; i < N_SIZES; i++)
        close_size(&sizes[i]);
    return err;
}
