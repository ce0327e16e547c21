/* mangrove prepare on files of the paper's size: rows a second, and the memory it takes. */
#include "deploy/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/files.h"
#include "common/log.h"
#include "common/new_directory.h"
#include "deploy/bench/bench_child.h"
#include "worker/data/synth.h"

enum { PATH = CONFIG_PATH + 64, DEFAULT_ROUNDS = 5, LEAST_ROWS = 1000 };
/* Rows of the ratings of games and of toys, and what users of the preset have on average. */
static const double PAPER_ROWS[N_DOMAINS] = {1.32e6, 2.25e6}, ROWS_A_USER[N_DOMAINS] = {10.417, 13.938};

typedef struct Bench {
    char dir[PATH], inputs[N_DOMAINS][PATH + 32], out[PATH + 32];
    const char *yardstick;
    double n_rows, input_bytes;
    double *memory; /* (rounds + 1) of each run, as a multiple of the input */
    int n_runs;
} Bench;

static Err make_inputs(Bench *b, const BenchOptions *o) {
    SynthOptions s = synth_find_preset("amazon")->options;
    uint64_t n_rows[N_DOMAINS];
    for (int d = 0; d < N_DOMAINS; d++) {
        double rows = PAPER_ROWS[d] * (o->rows ? (double)o->rows / (PAPER_ROWS[0] + PAPER_ROWS[1]) : 1);
        double factor = rows / ROWS_A_USER[d] / s.n_users[d];
        s.n_users[d] = (uint32_t)fmax(1, s.n_users[d] * factor);
        s.n_items[d] = (uint32_t)fmax(1, s.n_items[d] * factor);
    }
    s.out_dir = b->dir;
    Err err = synth_write(&s, n_rows);
    for (int d = 0; d < N_DOMAINS && !err; d++) {
        struct stat st;
        snprintf(b->inputs[d], sizeof b->inputs[d], "%s/ratings_%c.csv", b->dir, 'A' + d);
        if (stat(b->inputs[d], &st))
            return err_fail(ERR_IO, "cannot read %s: %s", b->inputs[d], strerror(errno));
        setenv(d ? "RATINGS_B" : "RATINGS_A", b->inputs[d], 1);
        b->n_rows += (double)n_rows[d];
        b->input_bytes += (double)st.st_size;
    }
    return err;
}

static _Noreturn void be_prepare(const Bench *b, pid_t parent) {
    bench_child_tie(parent);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, STDOUT_FILENO);
    execl("/proc/self/exe", "mangrove", "prepare", b->inputs[0], b->inputs[1], "--out", b->out, "--force",
          (char *)NULL);
    _exit(127);
}

static Err ours(void *ctx, double *value) {
    Bench *b = ctx;
    struct rusage used;
    int status;
    double start = bench_now_s();
    fflush(NULL); /* else the child has what is buffered, too */
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        be_prepare(b, parent);
    if (pid < 0)
        return err_fail(ERR_FAILED, "cannot start a process: %s", strerror(errno));
    while (wait4(pid, &status, 0, &used) < 0)
        if (errno != EINTR)
            return err_fail(ERR_FAILED, "cannot wait for mangrove prepare: %s", strerror(errno));
    if (status != 0)
        return err_fail(ERR_FAILED, "mangrove prepare ended with status %d", status);
    *value = b->n_rows / (bench_now_s() - start);
    b->memory[b->n_runs++] = (double)used.ru_maxrss * 1024 / b->input_bytes;
    return OK;
}

static Err theirs(void *ctx, double *value) {
    return bench_yardstick(((Bench *)ctx)->yardstick, value);
}

static Err measure(Bench *b, const BenchOptions *o) {
    BenchCase rate = {.bench = "prepare", .name = "reads, splits, writes", .unit = "rows/s", .ours = ours, .ctx = b};
    BenchCase memory = {
        .bench = "prepare", .name = "memory", .unit = "times the input", .target = 5, .is_at_most = true};
    if (o->yardstick) {
        rate.yardstick = "given command";
        rate.target = 10;
        rate.theirs = theirs;
    }
    Err err = bench_compare(&rate, o, NULL);
    if (err)
        return err;
    BenchResult taken = {.rounds = b->n_runs - 1, .ours = bench_spread(b->memory + 1, b->n_runs - 1)};
    return bench_report(&memory, o, &taken);
}

Err bench_prepare(const Config *config, const BenchOptions *o) {
    Bench b = {.yardstick = o->yardstick};
    (void)config; /* the data set is the same whatever learns from it */
    if (o->rows && o->rows < LEAST_ROWS)
        return err_fail(ERR_USAGE, "--rows is %llu, expected at least %d", (unsigned long long)o->rows, LEAST_ROWS);
    const char *dir = o->dir ? o->dir : ".";
    if (snprintf(b.dir, sizeof b.dir, "%s/mangrove-bench-%d", dir, (int)getpid()) >= (int)sizeof b.dir)
        return err_fail(ERR_USAGE, "--dir is longer than %d bytes", (int)sizeof b.dir - 32);
    snprintf(b.out, sizeof b.out, "%s-set", b.dir);
    b.memory = must_calloc((size_t)(o->rounds ? o->rounds : DEFAULT_ROUNDS) + 1, sizeof *b.memory);
    Err err = make_directories(b.dir);
    if (!err)
        err = make_inputs(&b, o);
    if (!err)
        err = measure(&b, o);
    directory_remove(b.dir);
    directory_remove(b.out);
    free(b.memory);
    return err;
}
