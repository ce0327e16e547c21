/* mangrove evaluate: metrics of snapshots, side by side, without a cluster; and what rules score that know nothing. */
#include <argp.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "deploy/commands.h"
#include "deploy/tools/evaluate_print.h"
#include "worker/ops/gemm.h"

enum { MAX_SNAPSHOTS = 32, DEFAULT_DRAWS = 40, MAX_DRAWS = 100000 };

typedef struct Arguments {
    const char *dirs[MAX_SNAPSHOTS];
    int n_dirs;
    EvaluateOptions options;
    bool is_json;
    const char *probe_option; /* one that was given and concerns the unknown-item probe; or NULL */
} Arguments;

/* In one table: looked at before the first score. results (n_dirs) out. */
static Err check_alike(const Arguments *a, Evaluated *results) {
    Err err = OK;
    for (int i = 0; i < a->n_dirs && !err; i++) {
        err = evaluate_describe(a->dirs[i], &a->options, &results[i]);
        if (!err && (results[i].protocol != results[0].protocol || results[i].eval.n_ks != results[0].eval.n_ks ||
                     memcmp(results[i].eval.ks, results[0].eval.ks, sizeof results[0].eval.ks)))
            err = err_fail(ERR_USAGE, "%s and %s were evaluated differently: add --protocol, or --json for a line each",
                           a->dirs[0], a->dirs[i]);
    }
    return err;
}

static Err evaluate_snapshots(const Arguments *a) {
    Evaluated *results = must_calloc((size_t)a->n_dirs, sizeof *results);
    gemm_use_one_thread();
    Err err = gemm_self_check();
    if (!err && !a->is_json)
        err = check_alike(a, results);
    for (int i = 0; i < a->n_dirs && !err; i++) {
        err = evaluate_snapshot(a->dirs[i], &a->options, &results[i]);
        if (!err && a->is_json)
            evaluate_print_json(&results[i], a->dirs[i], &a->options);
    }
    if (!err && !a->is_json)
        evaluate_print_tables(results, a->n_dirs, a->dirs, &a->options);
    free(results);
    return err;
}

static Err probe_published(const Arguments *a) {
    Evaluated result;
    Err err = evaluate_probes(&a->options, &result);
    if (!err && a->is_json)
        evaluate_print_json(&result, NULL, &a->options);
    else if (!err)
        evaluate_print_tables(&result, 1, NULL, &a->options);
    return err;
}

/* ---- the command -------------------------------------------------------------------------------------------- */

/* Index of the name, or -1. */
static int find_name(const char *const *names, int n, const char *name) {
    for (int i = 0; i < n; i++)
        if (names[i] && !strcmp(names[i], name))
            return i;
    return -1;
}

static long long parse_number(struct argp_state *state, const char *option, const char *arg, long long low,
                              long long high) {
    char *end;
    errno = 0;
    long long x = strtoll(arg, &end, 10);
    if (errno || end == arg || *end || x < low || x > high)
        argp_error(state, "%s is a number from %lld to %lld, not \"%s\"", option, low, high, arg);
    return x;
}

static void check(const Arguments *a, struct argp_state *state) {
    const EvaluateOptions *o = &a->options;
    if (!a->n_dirs && !o->published_dir)
        argp_error(state, "which SNAPSHOT? A directory like runs/quickstart/snapshots/epoch-0003, or runs/quickstart; "
                          "--published DIR alone gives the probes of published files");
    if (a->n_dirs && !o->data_dir)
        argp_error(state, "which data? --data DIR, the prepared data set of the training");
    if (!a->n_dirs && o->data_dir)
        argp_error(state, "--data is a snapshot's, and there is no SNAPSHOT; probes of published files need no data");
    if (a->probe_option && !o->published_dir && o->protocol != EVAL_PAPER)
        argp_error(state, "%s needs --protocol paper or --published: nothing is drawn otherwise", a->probe_option);
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    Arguments *a = state->input;
    int found;
    switch (key) {
    case 'd':
        a->options.data_dir = arg;
        return 0;
    case 'P':
        a->options.published_dir = arg;
        return 0;
    case 'p':
        if ((a->options.protocol = find_name(EVAL_PROTOCOL_NAMES, N_EVAL_PROTOCOLS, arg)) < 0)
            argp_error(state, "the protocol is warm, all or paper, not \"%s\"", arg);
        return 0;
    case 't':
        if ((found = find_name(EVAL_SPLIT_NAMES, N_SPLITS, arg)) < 0)
            argp_error(state, "the split is valid or test, not \"%s\"", arg);
        a->options.split = (Split)found;
        return 0;
    case 'g':
        a->options.with_groups = true;
        return 0;
    case 'n':
        a->options.n_draws = (int)parse_number(state, a->probe_option = "--draws", arg, 2, MAX_DRAWS);
        return 0;
    case 's':
        a->options.seed = (uint64_t)parse_number(state, a->probe_option = "--seed", arg, 0, INT64_MAX);
        return 0;
    case 'j':
        a->is_json = a->options.with_groups = true;
        return 0;
    case ARGP_KEY_ARG:
        if (a->n_dirs == MAX_SNAPSHOTS)
            argp_error(state, "at most %d snapshots", MAX_SNAPSHOTS);
        a->dirs[a->n_dirs++] = arg;
        return 0;
    case ARGP_KEY_END:
        check(a, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option OPTIONS[] = {
    {"data", 'd', "DIR", 0, "The prepared data set of the training, or one made from it with prepare --base", 0},
    {"protocol", 'p', "warm|all|paper", 0,
     "Targets and candidates (default: the training's eval.protocol, of published files paper)", 0},
    {"split", 't', "valid|test", 0, "Which instances (default: test)", 0},
    {"groups", 'g', NULL, 0, "Also by length of the history: at most 10 events, 11-20, 21-30, 31-50, more", 0},
    {"published", 'P', "DIR", 0,
     "Evaluate on the files that MAN's authors published (test_A.tsv.gz, ..); without a SNAPSHOT their probes alone",
     0},
    {"draws", 'n', "N", 0, "Draws of the unknown-item probe (default: 40)", 0},
    {"seed", 's', "N", 0, "Of those draws, and of the candidates of protocol paper (default: 1)", 0},
    {"json", 'j', NULL, 0, "A JSON object with all digits for each snapshot, one a line, instead of tables", 0},
    {0},
};

static const char ABOUT[] =
    "Prints the ranking metrics of snapshots side by side, with the rules that are blind to the user below them. "
    "RUN_DIR stands for the run's best snapshots: each domain is read from that of its best validation epoch, which "
    "need not be the newest. Needs no cluster."
    "\v"
    "Protocols:\n"
    "  warm   positives and candidates that training has seen, ties counted by their expectation\n"
    "  all    every item; one never trained keeps its initial row\n"
    "  paper  as published: negatives from all of the domain's interactions, items and users unseen in training become "
    "id 0, ties fall as numpy's heapsort leaves them. Below it stands the unknown-item probe: what a rule scores that "
    "puts unknown items first, or last, and the rest at random, mean and standard deviation; \"all equal\" is what the "
    "rule for ties alone gives; \"fair mrr\" counts ties by their expectation.\n"
    "\n"
    "Published files have eight fields with tabs between them: label, user, item, category, time, and the history as "
    "items, categories, times; each positive is followed by its nine negatives. Names are looked up in the data set of "
    "the SNAPSHOT, or, without one, in item_vocab.tsv and user_vocab.tsv; protocol warm keeps the positives whose "
    "candidates all are known.\n"
    "\n"
    "A line of JSON: snapshot, model, backbone_only, data and trained_on (the data sets' fingerprints), published, "
    "split, protocol, draws, seed where they apply; A and B: n, the metrics, epoch, probes, and groups with the same "
    "for each length of history (\"<=10\", .. \">50\"). The "
    "unknown-item probe gives {\"mean\", \"sd\"} of each metric.";

int cmd_evaluate(int argc, char **argv) {
    Arguments a = {.options = {.protocol = -1, .split = SPLIT_TEST, .n_draws = DEFAULT_DRAWS, .seed = 1}};
    const struct argp argp = {OPTIONS, parse, "[SNAPSHOT|RUN_DIR...]", ABOUT, NULL, NULL, NULL};
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    Err err = a.n_dirs ? evaluate_snapshots(&a) : probe_published(&a);
    if (err)
        log_error("%s", err_message());
    return err_exit_code(err);
}
