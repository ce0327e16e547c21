/* A large table beside a plain array: gathers, lazy adam, memory, and the pauses of its growth.
 *
 * DESIGN. One sparse table of adam rows of 40 is grown by pushes of 4,000 new rows, in an order that has nothing to do
 * with their numbers, each push timed. Then batches of 4,000 random rows are pulled and pushed. The yardstick is an
 * array of rows of the same shape, indexed by the row's number: the same batches, the rows asked for ahead, the same
 * arithmetic, nothing looked up, nothing checked. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/log.h"
#include "common/rng.h"
#include "deploy/bench/bench.h"
#include "server/store/store.h"
#include "server/store/vectorize.h"

enum {
    WIDTH = 40,
    ROW = 3 * WIDTH, /* values, m, v */
    KEYS = 4000,
    BATCHES = 256, /* with a row of each: more than any cache holds */
    AHEAD = 16,    /* rows of the array; more gained nothing */
    LINE = 64 / sizeof(real),
    STEPS = 1 << 26,
};
static const uint64_t DEFAULT_ROWS = 10000000;
static const double DEFAULT_SECONDS = 0.5;

/* Of all pushes of new rows. */
typedef struct Growth {
    double longest_s, longest_cpu_s, bytes_a_row;
} Growth;

typedef struct Bench {
    Schema schema;
    OptimizerConfig optimizer;
    Store *store;
    uint32_t n_rows, step;
    double seconds;
    uint64_t *keys; /* (BATCHES, KEYS) */
    real *grads;    /* (KEYS, WIDTH) */
    real *values;   /* (KEYS, WIDTH) */
    real *array;    /* (n_rows, ROW) */
    size_t array_bytes;
    Growth growth;
} Bench;

/* ---- the table -------------------------------------------------------------------------------------------------- */

static Err push(Bench *b, const uint64_t *keys) {
    PushResult result;
    Work work = {.epoch = 1, .domain = DOMAIN_A, .step = b->step++ % STEPS};
    return store_push(b->store, &work, keys, KEYS, b->grads, &result);
}

/* Bytes of this process in memory. */
static double resident_bytes(void) {
    unsigned long long total, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f || fscanf(f, "%llu %llu", &total, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

/* An odd factor makes every row of a power of two once; those past the end are left out. */
static Err grow(Bench *b) {
    uint64_t size = 1, n = 0;
    double before = resident_bytes();
    Err err = OK;
    while (size < b->n_rows)
        size *= 2;
    for (uint64_t i = 0; i < size && !err; i++) {
        uint64_t row = i * UINT64_C(0x9E3779B97F4A7C15) % size;
        if (row >= b->n_rows)
            continue;
        b->keys[n++ % KEYS] = key_of(0, row);
        if (n % KEYS)
            continue;
        double start = bench_now_s(), cpu = bench_cpu_s();
        err = push(b, b->keys);
        b->growth.longest_cpu_s = fmax(b->growth.longest_cpu_s, bench_cpu_s() - cpu);
        b->growth.longest_s = fmax(b->growth.longest_s, bench_now_s() - start);
    }
    b->growth.bytes_a_row = (resident_bytes() - before) / b->n_rows - ROW * sizeof(real);
    return err;
}

/* One of each KEYS-th part of the rows, so they are distinct, in random order. */
static void draw_batch(Rng *rng, uint32_t n_rows, uint64_t *keys) {
    uint32_t rows[KEYS];
    for (uint32_t i = 0; i < KEYS; i++)
        rows[i] = i * (n_rows / KEYS) + rng_below(rng, n_rows / KEYS);
    rng_shuffle(rng, rows, KEYS);
    for (uint32_t i = 0; i < KEYS; i++)
        keys[i] = key_of(0, rows[i]);
}

static void open_array(Bench *b) {
    b->array_bytes = (size_t)b->n_rows * ROW * sizeof(real);
    void *map = mmap(NULL, b->array_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        log_die(ERR_MEMORY, "cannot map %zu bytes for the array: lower --rows", b->array_bytes);
    madvise(map, b->array_bytes, MADV_HUGEPAGE);
    memset(map, 0, b->array_bytes);
    b->array = map;
}

static Err open_bench(Bench *b, const Config *config, const BenchOptions *o) {
    uint64_t rows = o->rows ? o->rows : DEFAULT_ROWS;
    if (rows < KEYS || rows > UINT32_MAX)
        return err_fail(ERR_USAGE, "--rows is %llu, expected from %d to %u", (unsigned long long)rows, KEYS,
                        UINT32_MAX);
    b->n_rows = (uint32_t)(rows / KEYS * KEYS);
    b->seconds = o->seconds > 0 ? o->seconds : DEFAULT_SECONDS;
    b->optimizer = config->optimizer;
    b->optimizer.kind = OPTIMIZER_ADAM;
    schema_add_sparse(&b->schema, "item.A", REACHED_BY_A, b->n_rows, WIDTH, 0.01);
    schema_finish(&b->schema);
    Err err = store_open(&b->store, &b->schema, &b->optimizer, config->train.seed, 1);
    if (err)
        return err;
    b->keys = must_alloc(BATCHES * KEYS * sizeof *b->keys);
    b->grads = must_alloc(KEYS * WIDTH * sizeof *b->grads);
    b->values = must_calloc(KEYS * WIDTH, sizeof *b->values);
    for (int i = 0; i < KEYS * WIDTH; i++)
        b->grads[i] = (real)(i % 7 - 3) * (real)1e-3;
    store_open_epoch(b->store, 1, (uint32_t[]){STEPS, 0});
    if ((err = grow(b)))
        return err;
    Rng rng = rng_stream(config->train.seed, RNG_TEST, 0, 0);
    for (int i = 0; i < BATCHES; i++)
        draw_batch(&rng, b->n_rows, b->keys + (size_t)i * KEYS);
    open_array(b);
    return OK;
}

static void close_bench(Bench *b) {
    store_close(&b->store);
    free(b->keys);
    free(b->grads);
    free(b->values);
    if (b->array)
        munmap(b->array, b->array_bytes);
}

/* ---- the sides -------------------------------------------------------------------------------------------------- */

static Err table_gather(Bench *b, const uint64_t *keys) {
    store_pull(b->store, keys, KEYS, b->values);
    return OK;
}

static const real *prefetch_row(const Bench *b, const uint64_t *keys, uint32_t i, uint32_t n_reals) {
    const real *row = b->array + key_row(keys[i]) * ROW;
    for (uint32_t k = 0; k < n_reals; k += LINE)
        __builtin_prefetch(row + k);
    __builtin_prefetch(row + n_reals - 1);
    return row;
}

static Err array_gather(Bench *b, const uint64_t *keys) {
    for (uint32_t i = 0; i < AHEAD; i++)
        prefetch_row(b, keys, i, WIDTH);
    for (uint32_t i = 0; i < KEYS; i++) {
        if (i + AHEAD < KEYS)
            prefetch_row(b, keys, i + AHEAD, WIDTH);
        memcpy(b->values + i * WIDTH, b->array + key_row(keys[i]) * ROW, WIDTH * sizeof(real));
    }
    return OK;
}

VECTORIZE static void array_adam_rows(const Bench *b, const uint64_t *keys, const OptimizerConfig *c, real rate) {
    const real beta1 = (real)c->beta1, beta2 = (real)c->beta2, eps = (real)c->eps, l2 = (real)c->l2;
    const real rest1 = 1 - beta1, rest2 = 1 - beta2;
    for (uint32_t i = 0; i < KEYS; i++) {
        if (i + AHEAD < KEYS)
            prefetch_row(b, keys, i + AHEAD, ROW);
        real *restrict x = b->array + key_row(keys[i]) * ROW, *restrict m = x + WIDTH, *restrict v = m + WIDTH;
        const real *restrict grad = b->grads + i * WIDTH;
        for (int k = 0; k < WIDTH; k++) {
            real g = grad[k] + l2 * x[k];
            m[k] = beta1 * m[k] + rest1 * g;
            v[k] = beta2 * v[k] + rest2 * (g * g);
            x[k] -= rate * m[k] / (REAL_SQRT(v[k]) + eps);
        }
    }
}

static Err array_adam(Bench *b, const uint64_t *keys) {
    for (uint32_t i = 0; i < AHEAD; i++)
        prefetch_row(b, keys, i, ROW);
    array_adam_rows(b, keys, &b->optimizer, (real)b->optimizer.lr);
    return OK;
}

/* Batches one after the other, over and over. */
static Err run_for(Bench *b, Err (*side)(Bench *b, const uint64_t *keys), double *rows_per_s) {
    double start = bench_cpu_s(), now = start;
    uint64_t n = 0;
    Err err = OK;
    while (!err && now < start + b->seconds) {
        err = side(b, b->keys + n++ % BATCHES * KEYS);
        now = bench_cpu_s();
    }
    *rows_per_s = (double)n * KEYS / (now - start);
    return err;
}

static Err gather_ours(void *ctx, double *value) {
    return run_for(ctx, table_gather, value);
}

static Err gather_theirs(void *ctx, double *value) {
    return run_for(ctx, array_gather, value);
}

static Err adam_ours(void *ctx, double *value) {
    return run_for(ctx, push, value);
}

static Err adam_theirs(void *ctx, double *value) {
    return run_for(ctx, array_adam, value);
}

/* ---- the report ------------------------------------------------------------------------------------------------- */

static Err report_one(const BenchOptions *o, const char *name, const char *unit, double target, double value) {
    BenchCase c = {.bench = "table", .name = name, .unit = unit, .target = target, .is_at_most = true};
    BenchSpread spread = {value, value, value};
    return bench_report(&c, o, &(BenchResult){.rounds = 1, .ours = spread});
}

static Err report_growth(const Bench *b, const BenchOptions *o) {
    Err err = report_one(o, "memory beside the payload", "bytes/row", 24, b->growth.bytes_a_row);
    if (!err)
        err = report_one(o, "longest push while growing", "ms", 10, b->growth.longest_s * 1e3);
    if (!err)
        err = report_one(o, "the same, processor time", "ms", 10, b->growth.longest_cpu_s * 1e3);
    return err;
}

Err bench_table(const Config *config, const BenchOptions *options) {
    Bench b = {0};
    BenchCase gather = {.bench = "table",
                        .name = "gather 4000 x 40",
                        .unit = "rows/s",
                        .yardstick = "plain array",
                        .target = 0.6,
                        .ours = gather_ours,
                        .theirs = gather_theirs,
                        .ctx = &b};
    BenchCase adam = {.bench = "table",
                      .name = "lazy adam 4000 x 40",
                      .unit = "rows/s",
                      .yardstick = "plain array",
                      .target = 0.6,
                      .ours = adam_ours,
                      .theirs = adam_theirs,
                      .ctx = &b};
    Err err = open_bench(&b, config, options);
    if (!err)
        err = report_growth(&b, options);
    if (!err)
        err = bench_compare(&gather, options, NULL);
    if (!err)
        err = bench_compare(&adam, options, NULL);
    close_bench(&b);
    return err;
}
