/* Rounds of two sides, and what is made of them: a line, a JSON object, a row of a file. */
#include "deploy/bench/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "worker/ops/gemm.h"

enum { DEFAULT_ROUNDS = 5, TEXT = 128, PATH = 4096 };

static double clock_s(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void bench_make_async(Config *config) {
    config->train.consistency = CONSISTENCY_ASYNC;
    config->train.ranks = 1;
}

double bench_now_s(void) {
    return clock_s(CLOCK_MONOTONIC);
}

double bench_cpu_s(void) {
    return clock_s(CLOCK_THREAD_CPUTIME_ID);
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

BenchSpread bench_spread(double *values, int n) {
    qsort(values, (size_t)n, sizeof *values, compare_doubles);
    double median = n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
    return (BenchSpread){median, values[0], values[n - 1]};
}

/* ---- measuring -------------------------------------------------------------------------------------------------- */

static Err run_side(const BenchCase *c, BenchSide side, double *value) {
    Err err = side(c->ctx, value);
    if (!err && !(*value > 0 && isfinite(*value)))
        err = err_fail(ERR_FAILED, "bench %s, %s: measured %g %s, expected a number above 0", c->bench, c->name, *value,
                       c->unit);
    return err;
}

Err bench_compare(const BenchCase *c, const BenchOptions *options, BenchResult *result) {
    int rounds = options->rounds ? options->rounds : DEFAULT_ROUNDS;
    double *ours = must_calloc(3 * ((size_t)rounds + 1), sizeof *ours);
    double *theirs = ours + rounds + 1, *ratios = theirs + rounds + 1;
    BenchResult measured = {.rounds = rounds};
    Err err = OK;
    for (int round = 0; round <= rounds && !err; round++) { /* the last place is overwritten: it is the first round's */
        int i = round ? round - 1 : rounds;
        err = run_side(c, c->ours, &ours[i]);
        if (!err && c->theirs)
            err = run_side(c, c->theirs, &theirs[i]);
        ratios[i] = c->theirs ? ours[i] / theirs[i] : 0;
    }
    measured.ours = bench_spread(ours, rounds);
    measured.theirs = bench_spread(theirs, rounds);
    measured.ratio = bench_spread(ratios, rounds);
    free(ours);
    if (err)
        return err;
    if (result)
        *result = measured;
    return bench_report(c, options, &measured);
}

/* ---- reporting -------------------------------------------------------------------------------------------------- */

/* "met", "missed", "-": there is none. */
static const char *verdict(const BenchCase *c, const BenchResult *r) {
    double found = c->yardstick ? r->ratio.median : r->ours.median;
    if (c->target == 0)
        return "-";
    return (c->is_at_most ? found <= c->target : found >= c->target) ? "met" : "missed";
}

static void print_line(const BenchCase *c, const BenchResult *r) {
    static bool has_head;
    char target[32] = "-";
    if (!has_head)
        printf("%-10s %-28s %12s %12s %7s %-15s %7s  %s\n", "bench", "case", "mangrove", "yardstick", "ratio",
               "(least, most)", "target", "unit, yardstick");
    has_head = true;
    if (c->target != 0)
        snprintf(target, sizeof target, "%s%.4g", c->is_at_most ? "<=" : ">=", c->target);
    printf("%-10s %-28s %12.5g ", c->bench, c->name, r->ours.median);
    if (c->yardstick)
        printf("%12.5g %7.3g (%5.3g, %5.3g)  %7s  %s, %s\n", r->theirs.median, r->ratio.median, r->ratio.least,
               r->ratio.most, target, c->unit, c->yardstick);
    else
        printf("%12s %7s (%5.3g, %5.3g)  %7s  %s\n", "-", "-", r->ours.least, r->ours.most, target, c->unit);
}

static void print_spread(const char *name, const BenchSpread *s) {
    printf(", \"%s\": %.9g, \"%s_least\": %.9g, \"%s_most\": %.9g", name, s->median, name, s->least, name, s->most);
}

static void print_json(const BenchCase *c, const BenchResult *r) {
    printf("{\"bench\": \"%s\", \"case\": \"%s\", \"unit\": \"%s\", \"rounds\": %d", c->bench, c->name, c->unit,
           r->rounds);
    print_spread("mangrove", &r->ours);
    if (c->yardstick) {
        printf(", \"yardstick_is\": \"%s\"", c->yardstick);
        print_spread("yardstick", &r->theirs);
        print_spread("ratio", &r->ratio);
    }
    if (c->target != 0)
        printf(", \"target\": %g, \"target_is\": \"%s\", \"verdict\": \"%s\"", c->target,
               c->is_at_most ? "at most" : "at least", verdict(c, r));
    puts("}");
}

/* The first line of what a command prints, or what stands for nothing. */
static void first_line(const char *command, const char *otherwise, char out[TEXT]) {
    FILE *f = popen(command, "r");
    if (!f || !fgets(out, TEXT, f) || out[0] == '\n')
        snprintf(out, TEXT, "%s", otherwise);
    if (f)
        pclose(f);
    out[strcspn(out, "\n,")] = 0;
}

static const char *environment(const char *name) {
    const char *value = getenv(name);
    return value ? value : "unset";
}

/* Where the file stands is where the sources are, if anywhere. */
static void find_commit(const char *csv, char out[TEXT]) {
    char command[PATH];
    const char *slash = strrchr(csv, '/');
    if (strchr(csv, '\''))
        snprintf(out, TEXT, "-");
    else if (snprintf(command, sizeof command, "git -C '%.*s' describe --always --dirty 2>/dev/null",
                      slash ? (int)(slash - csv) + 1 : 1, slash ? csv : ".") < (int)sizeof command)
        first_line(command, "-", out);
}

static Err append_row(const BenchCase *c, const BenchResult *r, const char *path) {
    char commit[TEXT] = "-", cpu[TEXT], kernels[GEMM_KERNELS];
    find_commit(path, commit);
    first_line("sed -n 's/^model name[^:]*: //p' /proc/cpuinfo", "-", cpu);
    FILE *f = fopen(path, "ae");
    if (!f)
        return err_fail(ERR_IO, "cannot write %s: %m", path);
    fseek(f, 0, SEEK_END);
    if (ftell(f) == 0)
        fputs(
            "commit,bench,case,unit,mangrove,yardstick_is,yardstick,ratio,ratio_least,ratio_most,target,verdict,rounds,"
            "cpu,cores,kernels,OPENBLAS_CORETYPE,OPENBLAS_L2_SIZE\n",
            f);
    fprintf(f, "%s,%s,%s,%s,%.6g,", commit, c->bench, c->name, c->unit, r->ours.median);
    if (c->yardstick)
        fprintf(f, "%s,%.6g,%.4g,%.4g,%.4g,", c->yardstick, r->theirs.median, r->ratio.median, r->ratio.least,
                r->ratio.most);
    else
        fputs(",,,,,", f);
    if (c->target != 0)
        fprintf(f, "%s %g", c->is_at_most ? "at most" : "at least", c->target);
    fprintf(f, ",%s,%d,%s,%ld,%s,%s,%s\n", verdict(c, r), r->rounds, cpu, sysconf(_SC_NPROCESSORS_ONLN),
            gemm_kernels(kernels), environment("OPENBLAS_CORETYPE"), environment("OPENBLAS_L2_SIZE"));
    return fclose(f) ? err_fail(ERR_IO, "cannot write %s: %m", path) : OK;
}

Err bench_report(const BenchCase *c, const BenchOptions *options, const BenchResult *result) {
    (options->is_json ? print_json : print_line)(c, result);
    fflush(stdout);
    return options->csv ? append_row(c, result, options->csv) : OK;
}

Err bench_report_rounds(const BenchCase *c, const BenchOptions *options, const double *ours, const double *theirs,
                        int rounds) {
    size_t n = (size_t)rounds;
    double *x = must_calloc(3 * n, sizeof *x);
    memcpy(x, ours, n * sizeof *x);
    memcpy(x + n, theirs, n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[2 * n + i] = ours[i] / theirs[i];
    BenchResult result = {.rounds = rounds,
                          .ours = bench_spread(x, rounds),
                          .theirs = bench_spread(x + n, rounds),
                          .ratio = bench_spread(x + 2 * n, rounds)};
    free(x);
    return bench_report(c, options, &result);
}
