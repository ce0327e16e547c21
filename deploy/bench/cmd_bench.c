/* mangrove bench WHAT [CONFIG]: the benchmarks. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "deploy/bench/bench.h"
#include "deploy/commands.h"
#include "deploy/config_arguments.h"

typedef struct Benchmark {
    const char *name;
    Err (*run)(const Config *config, const BenchOptions *options);
    const char *options; /* the names of those that it takes, besides --json and --csv */
    const char *says;
} Benchmark;

static const Benchmark BENCHMARKS[] = {
    {"step", bench_step, "data batch seconds rounds history yardstick",
     "Trains in one process with its own store as fast as it can; prints instances per second and what each phase of a "
     "step takes."},
    {"snapshot", bench_snapshot, "gib cuts dir",
     "Pushes as fast as it can while snapshots are written; prints how long a push waits at a cut, the rate of row "
     "updates meanwhile, and that of writing beside plain writing of as many bytes."},
    {"gemm", bench_gemm, "batch seconds rounds history",
     "Multiplies the matrices of a step of MAN at the widths of both reference configurations and at 100 and 200; "
     "prints the rate forward, back to the input and back to the matrix beside that of one call of OpenBLAS for each."},
    {"link", bench_link, "rows seconds rounds",
     "Pulls and pushes rows through a server with adam's state over loopback, 4 requests under way; prints rows that "
     "were pulled and pushed per second beside the same bytes through ZeroMQ alone and the same rows through redis."},
    {"rtt", bench_rtt, "rows seconds rounds",
     "Pulls one row at a time; prints the median round trip through both event loops beside that of the same bytes "
     "between blocking ZeroMQ sockets."},
    {"model", bench_model, "data batch seconds dir gbit constants",
     "Measures what a step costs worker, server and network, and prints what bounds clusters of 1 to 512 workers, and "
     "how many servers they need at which settings."},
    {"train", bench_train, "data batch seconds rounds dir",
     "Trains with a scheduler, a server and a worker, each a process, and beside it with the worker's trainer and the "
     "tables in one process; prints instances per second of either."},
    {"scale", bench_scale, "data batch seconds rounds dir yardstick",
     "Trains with one server and one and two workers; prints instances per second, and the processor time of server "
     "and scheduler beside the worker's. Then asks one server as many workers would, which wait instead of computing."},
    {"wire", bench_wire, "data batch rounds",
     "Counts the bytes of pulls and pushes per instance with each setting of the wire beside fp32; a round is a part "
     "of an epoch, about 1,000 instances (default 20)."},
    {"table", bench_table, "rows rounds seconds",
     "Grows a table, 10 million rows unless --rows says otherwise, then gathers and updates random rows of it beside "
     "the same loops over a plain array; prints the rates, the memory beside the payload and the longest push while it "
     "grew."},
    {"grow", bench_grow, "rows rounds seconds history",
     "Trains on items drawn uniformly from tables of --rows (10 million), a tenth and a hundredth as many items; "
     "prints the rates and by how much the slowest falls behind. Takes 1 KB an item."},
    {"prepare", bench_prepare, "rows rounds yardstick dir",
     "Prepares made-up ratings, 3.57 million rows in both domains unless --rows says otherwise; prints rows per "
     "second, "
     "beside a command that does the same and calls rows instances, if there is one (RATINGS_A and RATINGS_B in its "
     "environment are the files), and the memory taken."},
};
enum { N_BENCHMARKS = sizeof BENCHMARKS / sizeof *BENCHMARKS };

typedef struct BenchArguments {
    const Benchmark *what;
    ConfigArguments config;
    BenchOptions options;
    const char *given[16]; /* names of options, NULL behind the last */
    int n_given;
} BenchArguments;

/* ---- the command line ------------------------------------------------------------------------------------------- */

enum {
    KEY_HISTORY = 256,
    KEY_ROUNDS,
    KEY_YARDSTICK,
    KEY_GIB,
    KEY_CUTS,
    KEY_DIR,
    KEY_CSV,
    KEY_ROWS,
    KEY_GBIT,
    KEY_CONSTANTS
};

static const struct argp_option ARGUMENTS[] = {
    {"data", 'd', "DIR", 0, "Batches of this prepared data set (default: made up; of bench wire: data.dir)", 0},
    {"batch", 'b', "N", 0, "Instances in a batch (train.batch)", 0},
    {"seconds", 't', "S", 0, "Length of a round", 0},
    {"rounds", KEY_ROUNDS, "N", 0, "Rounds; in each the yardstick has its turn (default 5)", 0},
    {"history", KEY_HISTORY, "N", 0,
     "Mean length of made-up histories (default 10); from the model's seq_len on, all of them are full", 0},
    {"yardstick", KEY_YARDSTICK, "COMMAND", 0,
     "Compare with a command whose last line of output holds \"speed N instances/s\"", 0},
    {"gib", KEY_GIB, "N", 0, "GiB of rows with their moments (default 0.25)", 0},
    {"cuts", KEY_CUTS, "N", 0, "Snapshots (default 10)", 0},
    {"dir", KEY_DIR, "DIR", 0, "Where files are written, and deleted (default: the current directory)", 0},
    {"rows", KEY_ROWS, "N", 0, "Rows of the table", 0},
    {"gbit", KEY_GBIT, "N", 0, "Gbit/s of each host's network (default: 1, 10 and 25)", 0},
    {"constants", KEY_CONSTANTS, "LIST", 0,
     "Of the configured batch, instead of measuring: NAME=NUMBER,... with what --json prints from step_us to "
     "machine_us",
     0},
    {"json", 'j', NULL, 0, "Print one JSON object a line", 0},
    {"csv", KEY_CSV, "FILE", 0, "Append a row for each result, with the machine and the commit", 0},
    {0},
};

static const Benchmark *find_benchmark(struct argp_state *state, const char *name) {
    char names[512] = "";
    for (int i = 0; i < N_BENCHMARKS; i++) {
        if (!strcmp(BENCHMARKS[i].name, name))
            return &BENCHMARKS[i];
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", BENCHMARKS[i].name);
    }
    argp_error(state, "WHAT is \"%s\", there are: %s", name, names);
    return NULL;
}

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
    if (end == text || *end || n < 1 || n > 1000000000)
        argp_error(state, "--%s is \"%s\", expected a whole number from 1 to 1,000,000,000", option, text);
    return (int)n;
}

static void note_option(BenchArguments *a, int key) {
    for (const struct argp_option *o = ARGUMENTS; o->name; o++)
        if (o->key == key && a->n_given < (int)(sizeof a->given / sizeof *a->given) - 1)
            a->given[a->n_given++] = o->name;
}

/* Whether the word stands in a list of words. */
static bool is_in(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == 0))
            return true;
    return false;
}

static void check(const BenchArguments *a, struct argp_state *state) {
    if (!a->what)
        find_benchmark(state, "");
    for (int i = 0; i < a->n_given; i++)
        if (!is_in("json csv", a->given[i]) && !is_in(a->what->options, a->given[i]))
            argp_error(state, "bench %s has no --%s", a->what->name, a->given[i]);
}

static error_t parse_option(int key, char *arg, BenchArguments *a, struct argp_state *state) {
    static char batch[64];
    BenchOptions *o = &a->options;
    switch (key) {
    case 'd':
        o->data_dir = arg;
        return 0;
    case 'b':
        snprintf(batch, sizeof batch, "train.batch=%s", arg);
        config_arguments_add(&a->config, state, batch);
        return 0;
    case 't':
        o->seconds = positive(state, "seconds", arg);
        return 0;
    case KEY_HISTORY:
        o->mean_history = positive(state, "history", arg);
        return 0;
    case KEY_ROUNDS:
        o->rounds = count(state, "rounds", arg);
        return 0;
    case KEY_YARDSTICK:
        o->yardstick = arg;
        return 0;
    case KEY_GIB:
        o->gib = positive(state, "gib", arg);
        return 0;
    case KEY_CUTS:
        o->cuts = count(state, "cuts", arg);
        return 0;
    case KEY_DIR:
        o->dir = arg;
        return 0;
    case KEY_ROWS:
        o->rows = (uint64_t)count(state, "rows", arg);
        return 0;
    case KEY_GBIT:
        o->gbit = positive(state, "gbit", arg);
        return 0;
    case KEY_CONSTANTS:
        o->constants = arg;
        return 0;
    case KEY_CSV:
        o->csv = arg;
        return 0;
    case 'j':
        o->is_json = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    BenchArguments *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->config;
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
        note_option(a, key);
        return parse_option(key, arg, a, state);
    }
}

/* "step [CONFIG]\nsnapshot [CONFIG]" and a line on each. */
static void describe(char *usage, size_t usage_size, char *doc, size_t doc_size) {
    size_t usage_used = 0, doc_used = 0;
    for (int i = 0; i < N_BENCHMARKS; i++) {
        const Benchmark *b = &BENCHMARKS[i];
        usage_used +=
            (size_t)snprintf(usage + usage_used, usage_size - usage_used, "%s%s [CONFIG]", i ? "\n" : "", b->name);
        doc_used += (size_t)snprintf(doc + doc_used, doc_size - doc_used, "%s%s: %s", i ? "\n" : "", b->name, b->says);
    }
}

int cmd_bench(int argc, char **argv) {
    static char usage[1024], doc[8192];
    static BenchArguments a = {.config.is_optional = true};
    describe(usage, sizeof usage, doc, sizeof doc);
    const struct argp parser = {ARGUMENTS, parse, usage, doc, CONFIG_CHILDREN, NULL, NULL};
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    argp_parse(&parser, argc, argv, 0, NULL, &a);
    Config config;
    Err err = config_arguments_load(&a.config, &config);
    if (!err)
        err = a.what->run(&config, &a.options);
    if (err)
        log_error("%s", err_message());
    return err_exit_code(err);
}
