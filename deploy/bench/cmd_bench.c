/* mangrove bench WHAT [CONFIG]: the benchmarks. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "deploy/bench/bench_snapshot.h"
#include "deploy/bench/bench_step.h"
#include "deploy/commands.h"
#include "deploy/config_arguments.h"

enum { KEY_HISTORY = 256, KEY_ROUNDS, KEY_YARDSTICK, KEY_GIB, KEY_CUTS, KEY_DIR };
enum { GROUP_STEP = 1, GROUP_SNAPSHOT, GROUP_EITHER, N_GROUPS };

typedef struct BenchArguments {
    const struct Benchmark *what;
    ConfigArguments config;
    BenchStepOptions step;
    BenchSnapshotOptions snapshot;
    const char *given[N_GROUPS]; /* an option of the group, or NULL */
} BenchArguments;

/* ---- the benchmarks --------------------------------------------------------------------------------------------- */

static Err run_step(const Config *config, const BenchArguments *a) {
    return bench_step(config, &a->step);
}

static Err run_snapshot(const Config *config, const BenchArguments *a) {
    return bench_snapshot(config, &a->snapshot);
}

typedef struct Benchmark {
    const char *name;
    Err (*run)(const Config *config, const BenchArguments *a);
    int foreign; /* the group of options that it does not have */
} Benchmark;

static const Benchmark BENCHMARKS[] = {{"step", run_step, GROUP_SNAPSHOT}, {"snapshot", run_snapshot, GROUP_STEP}};

static const Benchmark *find_benchmark(struct argp_state *state, const char *name) {
    for (size_t i = 0; i < sizeof BENCHMARKS / sizeof *BENCHMARKS; i++)
        if (!strcmp(BENCHMARKS[i].name, name))
            return &BENCHMARKS[i];
    argp_error(state, "WHAT is \"%s\", there are: step, snapshot", name);
    return NULL;
}

/* ---- the command line ------------------------------------------------------------------------------------------- */

static const struct argp_option ARGUMENTS[] = {
    {NULL, 0, NULL, 0, "step:", GROUP_STEP},
    {"data", 'd', "DIR", 0, "Batches of this prepared data set (default: made up)", GROUP_STEP},
    {"batch", 'b', "N", 0, "Instances in a batch (train.batch)", GROUP_STEP},
    {"seconds", 't', "S", 0, "Length of a round (default 5)", GROUP_STEP},
    {"rounds", KEY_ROUNDS, "N", 0, "Rounds, each followed by the yardstick (default 3)", GROUP_STEP},
    {"history", KEY_HISTORY, "N", 0, "Mean length of made-up histories (default 10)", GROUP_STEP},
    {"yardstick", KEY_YARDSTICK, "COMMAND", 0,
     "Compare with a command whose last line of output holds \"speed N instances/s\"", GROUP_STEP},
    {NULL, 0, NULL, 0, "snapshot:", GROUP_SNAPSHOT},
    {"gib", KEY_GIB, "N", 0, "GiB of rows with their moments (default 0.25)", GROUP_SNAPSHOT},
    {"cuts", KEY_CUTS, "N", 0, "Snapshots (default 10)", GROUP_SNAPSHOT},
    {"dir", KEY_DIR, "DIR", 0, "Where they are written, and deleted (default: the current directory)", GROUP_SNAPSHOT},
    {NULL, 0, NULL, 0, "Either:", GROUP_EITHER},
    {"json", 'j', NULL, 0, "Print one JSON object a line", GROUP_EITHER},
    {0},
};

static double positive(struct argp_state *state, const char *option, const char *text) {
    char *end;
    double x = strtod(text, &end);
    if (*end || !(x > 0) || x > 1e6)
        argp_error(state, "--%s is \"%s\", expected a number above 0 and up to a million", option, text);
    return x;
}

static int count(struct argp_state *state, const char *option, const char *text) {
    char *end;
    long n = strtol(text, &end, 10);
    if (end == text || *end || n < 1 || n > 1000000)
        argp_error(state, "--%s is \"%s\", expected a whole number from 1 to a million", option, text);
    return (int)n;
}

static void note_option(BenchArguments *a, int key) {
    for (const struct argp_option *o = ARGUMENTS; o->doc; o++)
        if (o->name && o->key == key)
            a->given[o->group] = o->name;
}

static void check(const BenchArguments *a, struct argp_state *state) {
    if (!a->what)
        find_benchmark(state, "");
    else if (a->given[a->what->foreign])
        argp_error(state, "bench %s has no --%s", a->what->name, a->given[a->what->foreign]);
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    BenchArguments *a = state->input;
    static char batch[64];
    note_option(a, key);
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->config;
        return 0;
    case 'd':
        a->step.data_dir = arg;
        return 0;
    case 'b':
        snprintf(batch, sizeof batch, "train.batch=%s", arg);
        config_arguments_add(&a->config, state, batch);
        return 0;
    case 't':
        a->step.seconds = positive(state, "seconds", arg);
        return 0;
    case KEY_HISTORY:
        a->step.mean_history = positive(state, "history", arg);
        return 0;
    case KEY_ROUNDS:
        a->step.rounds = count(state, "rounds", arg);
        return 0;
    case KEY_YARDSTICK:
        a->step.yardstick = arg;
        return 0;
    case KEY_GIB:
        a->snapshot.gib = positive(state, "gib", arg);
        return 0;
    case KEY_CUTS:
        a->snapshot.cuts = count(state, "cuts", arg);
        return 0;
    case KEY_DIR:
        a->snapshot.dir = arg;
        return 0;
    case 'j':
        a->step.is_json = a->snapshot.is_json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (a->what)
            return ARGP_ERR_UNKNOWN; /* CONFIG */
        a->what = find_benchmark(state, arg);
        return 0;
    case ARGP_KEY_END:
        check(a, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int cmd_bench(int argc, char **argv) {
    BenchArguments a = {.config.is_optional = true,
                        .step = {.seconds = 5, .rounds = 3, .mean_history = 10},
                        .snapshot = {.gib = 0.25, .cuts = 10, .dir = "."}};
    static const struct argp PARSER = {
        ARGUMENTS,
        parse,
        "step [CONFIG]\nsnapshot [CONFIG]",
        "step: trains in one process with its own store as fast as it can; prints instances per second and what "
        "each phase of a step takes.\n"
        "snapshot: pushes as fast as it can while snapshots are written; prints how long a push waits at a cut, the "
        "rate of row updates meanwhile, and that of writing beside plain writing of as many bytes.",
        CONFIG_CHILDREN,
        NULL,
        NULL};
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    argp_parse(&PARSER, argc, argv, 0, NULL, &a);
    Config config;
    Err err = config_arguments_load(&a.config, &config);
    if (!err)
        err = a.what->run(&config, &a);
    if (err)
        log_error("%s", err_message());
    return err_exit_code(err);
}
