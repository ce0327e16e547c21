/* Snapshots of a large store while one thread pushes as fast as it can.
 *
 * DESIGN. The main thread is the store's: it pushes 4,000 random rows again and again and looks at the clock after each
 * push. A cut goes: a while undisturbed, the mark, pushes until the writer's thread is through, the end of the cut, and
 * a little more. After another while the same number of bytes is written plainly, as dd does it, with nobody else at
 * work. */
#include "deploy/bench/bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/files.h"
#include "common/log.h"
#include "common/rng.h"
#include "deploy/bench/bench_disk.h"
#include "server/snapshot/snapshot.h"
#include "server/snapshot/snapshot_manifest.h"

enum { WIDTH = 40, KEYS = 4000, STEPS = 1 << 26, SLOW_MS = 1, DEFAULT_CUTS = 10 };
static const double DEFAULT_GIB = 0.25;
static const double UNDISTURBED_S = 1, AFTER_S = 0.2, NEAR_MARK_S = 0.25;

/* Of one cut. */
typedef struct CutResult {
    double pause_ms;                    /* the longest gap between two pushes near the mark, less a push */
    double longest_ms;                  /* the same from the mark to a while after the end */
    double push_ms;                     /* undisturbed, median */
    double rows_rate, undisturbed_rate; /* rows pushed a second, while writing and before */
    double write_mb, plain_mb;          /* a second */
    double copied_mib;
    uint64_t n_waits;
} CutResult;

typedef struct Bench {
    const Config *config;
    const BenchOptions *options;
    double gib;
    int cuts;
    Schema schema;
    Store *store;
    uint64_t n_rows;
    Rng rng;
    uint32_t step;
    uint64_t *keys;
    real *grads;
    double *push_s; /* (push_capacity) of the undisturbed pushes before a cut */
    size_t n_push, push_capacity;
    char dir[CONFIG_PATH + 32];
    char *file, *plain;
    size_t rss_before; /* bytes, before the first cut */
} Bench;

/* ---- the store -------------------------------------------------------------------------------------------------- */

static void fill_store(Bench *b) {
    uint32_t n = store_row_reals(b->store, 0);
    real *row = must_calloc(n, sizeof *row);
    for (uint64_t id = 0; id < b->n_rows; id++) {
        for (uint32_t k = 0; k < n; k++)
            row[k] = (real)(rng_u32(&b->rng) >> 8) * 0x1p-30f;
        store_put(b->store, key_of(0, id), row);
    }
    free(row);
}

static Err open_store(Bench *b) {
    double row_bytes = WIDTH * sizeof(real) * (b->config->optimizer.kind == OPTIMIZER_ADAM ? 3 : 1);
    b->n_rows = (uint64_t)(b->gib * 0x1p30 / row_bytes) / KEYS * KEYS;
    if (b->n_rows == 0 || b->n_rows > UINT32_MAX)
        return err_fail(ERR_USAGE, "%g GiB are %.0f rows of %.0f bytes: expected from %d to %u", b->gib,
                        b->gib * 0x1p30 / row_bytes, row_bytes, KEYS, UINT32_MAX);
    schema_add_sparse(&b->schema, "item.A", REACHED_BY_A, (uint32_t)b->n_rows, WIDTH, 0.01);
    schema_finish(&b->schema);
    Err err = store_open(&b->store, &b->schema, &b->config->optimizer, b->config->train.seed, 1);
    if (err)
        return err;
    b->rng = rng_stream(b->config->train.seed, RNG_TEST, 0, 0);
    b->keys = must_alloc(KEYS * sizeof *b->keys);
    b->grads = must_alloc(KEYS * WIDTH * sizeof *b->grads);
    for (int i = 0; i < KEYS * WIDTH; i++)
        b->grads[i] = (real)(i % 7 - 3) * 1e-3f;
    store_open_epoch(b->store, 1, (uint32_t[]){STEPS, 0});
    fill_store(b);
    return OK;
}

/* ---- pushes ----------------------------------------------------------------------------------------------------- */

/* One of each KEYS-th part of the rows: distinct, and all over the store. Pushes that wait are tried again as a server
 * does it; *n_waits counts them. */
static Err push_once(Bench *b, uint64_t *n_waits) {
    PushResult result;
    Work work = {.epoch = 1, .domain = DOMAIN_A, .step = b->step++ % STEPS};
    for (uint64_t i = 0; i < KEYS; i++)
        b->keys[i] = key_of(0, rng_below(&b->rng, (uint32_t)(b->n_rows / KEYS)) * KEYS + i);
    for (;;) {
        Err err = store_push(b->store, &work, b->keys, KEYS, b->grads, &result);
        if (err || result != PUSH_WAIT)
            return err;
        ++*n_waits;
        nanosleep(&(struct timespec){.tv_nsec = SLOW_MS * 1000000}, NULL);
    }
}

/* Pushes for a while with no cut. Returns rows a second; the median of a push out. */
static Err push_undisturbed(Bench *b, double seconds, double *rows_per_s, double *push_s) {
    double start = bench_now_s(), last = start;
    uint64_t n_waits = 0;
    Err err = OK;
    for (b->n_push = 0; !err && (last < start + seconds || b->n_push < 3);) {
        err = push_once(b, &n_waits);
        double now = bench_now_s();
        if (b->n_push == b->push_capacity) {
            b->push_capacity = 2 * b->push_capacity + 1024;
            b->push_s = must_realloc(b->push_s, b->push_capacity * sizeof *b->push_s);
        }
        b->push_s[b->n_push++] = now - last;
        last = now;
    }
    *rows_per_s = (double)b->n_push * KEYS / (last - start);
    *push_s = bench_spread(b->push_s, (int)b->n_push).median;
    return err;
}

/* ---- the writer's thread ---------------------------------------------------------------------------------------- */

typedef struct WriteJob {
    pthread_t thread;
    const Bench *bench;
    StoreCut *cut;
    Err err;
    char sentence[512];
    double seconds;
    atomic_bool is_done;
} WriteJob;

static void *write_snapshot(void *ctx) {
    WriteJob *job = ctx;
    char *files;
    double start = bench_now_s();
    job->err = snapshot_write_tables(job->cut, &job->bench->schema, 0, job->bench->dir, NULL, &files);
    job->seconds = bench_now_s() - start;
    if (job->err)
        snprintf(job->sentence, sizeof job->sentence, "%s", err_message());
    free(files);
    atomic_store(&job->is_done, true);
    return NULL;
}

/* ---- one cut ---------------------------------------------------------------------------------------------------- */

/* The gaps between the ends of pushes, from the last one before the mark. */
typedef struct Gaps {
    double mark, last, longest, longest_near_mark;
} Gaps;

static Err push_and_look(Bench *b, Gaps *gaps, uint64_t *n_waits) {
    Err err = push_once(b, n_waits);
    double now = bench_now_s(), gap = now - gaps->last;
    if (gap > gaps->longest)
        gaps->longest = gap;
    if (gaps->last < gaps->mark + NEAR_MARK_S && gap > gaps->longest_near_mark)
        gaps->longest_near_mark = gap;
    gaps->last = now;
    return err;
}

static Err cut_and_push(Bench *b, WriteJob *job, CutResult *r, double rows_per_s, double push_s) {
    Gaps gaps = {.mark = bench_now_s()};
    uint64_t n_pushes = 0;
    Err err = OK;
    gaps.last = gaps.mark;
    job->cut = store_cut_begin(b->store, false, (size_t)b->config->snapshot.copy_mb << 20);
    if (pthread_create(&job->thread, NULL, write_snapshot, job))
        log_die(ERR_MEMORY, "cannot start a thread");
    for (; !err && !atomic_load(&job->is_done); n_pushes++)
        err = push_and_look(b, &gaps, &r->n_waits);
    double during_s = gaps.last - gaps.mark;
    pthread_join(job->thread, NULL);
    r->copied_mib = (double)store_cut_stats(job->cut).max_copied_bytes / 0x1p20;
    store_cut_end(&job->cut, true);
    while (!err && gaps.last < gaps.mark + during_s + AFTER_S)
        err = push_and_look(b, &gaps, &r->n_waits);
    r->pause_ms = (gaps.longest_near_mark - push_s) * 1e3;
    r->longest_ms = (gaps.longest - push_s) * 1e3;
    r->push_ms = push_s * 1e3;
    r->rows_rate = (double)n_pushes * KEYS / during_s;
    r->undisturbed_rate = rows_per_s;
    return err;
}

static void clean_up(const Bench *b) {
    unlink(b->file);
    unlink(b->plain);
}

/* What was written is deleted, nothing of it is left for the disk to do, and a while goes by: memory that was just
 * given back can be faster to use again than other memory. */
static Err settle(Bench *b, double *rows_per_s, double *push_s) {
    clean_up(b);
    sync();
    return push_undisturbed(b, UNDISTURBED_S, rows_per_s, push_s);
}

static Err measure_cut(Bench *b, CutResult *r) {
    double rows_per_s, push_s, plain_s;
    struct stat st;
    WriteJob job = {.bench = b};
    Err err = settle(b, &rows_per_s, &push_s);
    if (!err)
        err = cut_and_push(b, &job, r, rows_per_s, push_s);
    if (!err && job.err)
        err = err_fail(job.err, "%s", job.sentence);
    if (!err && stat(b->file, &st))
        err = err_fail(ERR_IO, "cannot read %s: %m", b->file);
    if (!err)
        err = settle(b, &rows_per_s, &push_s);
    if (!err)
        err = bench_disk_write(b->plain, (uint64_t)st.st_size, &plain_s);
    if (err)
        return err;
    r->write_mb = (double)st.st_size / job.seconds / 1e6;
    r->plain_mb = (double)st.st_size / plain_s / 1e6;
    return OK;
}

/* ---- output ----------------------------------------------------------------------------------------------------- */

static double rss_bytes(void) {
    unsigned long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%lu %lu", &pages, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double extra_mib(const Bench *b) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024 - (double)b->rss_before / 0x1p20;
}

static void print_cut(const Bench *b, int i, const CutResult *r) {
    if (b->options->is_json)
        printf(
            "{\"bench\": \"snapshot_cut\", \"cut\": %d, \"push_ms\": %.3f, \"pause_ms\": %.3f, \"longest_ms\": %.3f, "
            "\"rows_share\": %.3f, \"write_mb_per_s\": %.1f, \"plain_mb_per_s\": %.1f, \"write_share\": %.3f, "
            "\"copies_mib\": %.1f, \"waits\": %llu}\n",
            i, r->push_ms, r->pause_ms, r->longest_ms, r->rows_rate / r->undisturbed_rate, r->write_mb, r->plain_mb,
            r->write_mb / r->plain_mb, r->copied_mib, (unsigned long long)r->n_waits);
    else
        printf("%3d %9.2f %9.2f %9.2f %9.2f %11.0f %11.0f %7.2f %9.1f %8llu\n", i, r->push_ms, r->pause_ms,
               r->longest_ms, r->rows_rate / r->undisturbed_rate, r->write_mb, r->plain_mb, r->write_mb / r->plain_mb,
               r->copied_mib, (unsigned long long)r->n_waits);
    fflush(stdout);
}

#define AT(field) offsetof(CutResult, field)
static const struct {
    BenchCase c;
    size_t ours, theirs; /* of CutResult */
} CASES[] = {
    {{.name = "pause at the cut", .unit = "ms", .target = 20, .is_at_most = true}, AT(pause_ms), 0},
    {{.name = "longest until the end", .unit = "ms"}, AT(longest_ms), 0},
    {{.name = "row updates while writing", .unit = "rows/s", .yardstick = "undisturbed", .target = 0.5},
     AT(rows_rate),
     AT(undisturbed_rate)},
    {{.name = "writing", .unit = "MB/s", .yardstick = "plain write and fsync", .target = 0.8},
     AT(write_mb),
     AT(plain_mb)},
    {{.name = "copies", .unit = "MiB"}, AT(copied_mib), 0},
};

static Err report(const Bench *b, const CutResult *results) {
    double *values = must_alloc(3 * (size_t)b->cuts * sizeof *values);
    double *ours = values, *theirs = values + b->cuts, *ratios = theirs + b->cuts;
    Err err = OK;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES && !err; i++) {
        BenchCase c = CASES[i].c;
        c.bench = "snapshot";
        for (int k = 0; k < b->cuts; k++) {
            ours[k] = *(const double *)((const char *)&results[k] + CASES[i].ours);
            theirs[k] = *(const double *)((const char *)&results[k] + CASES[i].theirs);
            ratios[k] = ours[k] / theirs[k];
        }
        const BenchResult r = {b->cuts, bench_spread(ours, b->cuts), bench_spread(theirs, b->cuts),
                               bench_spread(ratios, b->cuts)};
        err = bench_report(&c, b->options, &r);
    }
    free(values);
    return err;
}

/* Beside values and moments: index, chunks, what is begun of chunks and regions. */
static double overhead_bytes(const Bench *b) {
    StoreStats stats = store_stats(b->store);
    double payload = (double)store_row_reals(b->store, 0) * sizeof(real);
    return (double)stats.used_bytes / (double)stats.n_rows - payload;
}

static Err measure(Bench *b) {
    CutResult *results = must_calloc((size_t)b->cuts, sizeof *results);
    Err err = OK;
    if (!b->options->is_json)
        printf("%llu rows of width %d, %.2f GiB and %.1f bytes a row; pushes of %d random rows\n"
               "%3s %9s %9s %9s %9s %11s %11s %7s %9s %8s\n",
               (unsigned long long)b->n_rows, WIDTH, b->gib, overhead_bytes(b), KEYS, "cut", "push ms", "pause ms",
               "longest", "rate", "write MB/s", "plain MB/s", "share", "copy MiB", "waits");
    b->rss_before = (size_t)rss_bytes();
    for (int i = 0; i < b->cuts && !err; i++) {
        err = measure_cut(b, &results[i]);
        if (!err)
            print_cut(b, i + 1, &results[i]);
    }
    if (!err) {
        err = report(b, results);
        if (!err && !b->options->is_json)
            printf("%d MiB of copies are allowed; the process grew by %.1f MiB\n", b->config->snapshot.copy_mb,
                   extra_mib(b));
    }
    free(results);
    return err;
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static Err open_directory(Bench *b) {
    snprintf(b->dir, sizeof b->dir, "%s/bench-snapshot-XXXXXX", b->options->dir ? b->options->dir : ".");
    if (!mkdtemp(b->dir)) {
        b->dir[0] = 0;
        return err_fail(ERR_IO, "cannot create a directory in %s: %m", b->options->dir ? b->options->dir : ".");
    }
    b->file = snapshot_path(b->dir, "server-0.A.safetensors");
    b->plain = snapshot_path(b->dir, "plain");
    return OK;
}

static void close_bench(Bench *b) {
    if (b->file)
        clean_up(b);
    if (b->dir[0])
        rmdir(b->dir);
    store_close(&b->store);
    free(b->keys);
    free(b->grads);
    free(b->push_s);
    free(b->file);
    free(b->plain);
}

Err bench_snapshot(const Config *config, const BenchOptions *options) {
    Bench *b = must_calloc(1, sizeof *b);
    b->config = config;
    b->options = options;
    b->gib = options->gib > 0 ? options->gib : DEFAULT_GIB;
    b->cuts = options->cuts ? options->cuts : DEFAULT_CUTS;
    Err err = open_directory(b);
    if (!err)
        err = open_store(b);
    if (!err)
        err = measure(b);
    close_bench(b);
    free(b);
    return err;
}
