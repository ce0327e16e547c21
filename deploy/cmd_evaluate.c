/* mangrove evaluate: metrics of snapshots, side by side, without a cluster. */
#include <argp.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "deploy/commands.h"
#include "deploy/evaluate_snapshot.h"
#include "server/metrics_json.h"
#include "worker/ops/gemm.h"

enum { MAX_SNAPSHOTS = 32, N_DECIMALS = 6 };

static const char *const PROTOCOL_NAMES[N_PROTOCOLS] = {[PROTOCOL_WARM] = "warm", [PROTOCOL_ALL] = "all"};
static const char *const SPLIT_NAMES[N_SPLITS] = {[SPLIT_VALID] = "valid", [SPLIT_TEST] = "test"};

typedef struct Arguments {
    const char *dirs[MAX_SNAPSHOTS];
    int n_dirs;
    EvaluateOptions options;
    bool is_json;
} Arguments;

/* ---- printing ----------------------------------------------------------------------------------------------- */

static void print_domain(const EvaluatedSnapshot *results, const Arguments *a, int d) {
    printf("domain %c%24s", "AB"[d], "epoch");
    ranking_print(NULL, &results->eval, N_DECIMALS);
    printf(" positives\n");
    for (int i = 0; i < a->n_dirs; i++) {
        const EvaluatedSnapshot *r = &results[i];
        const char *kind = r->is_backbone ? " backbone" : "";
        printf("  %.16s%-*s %5u", r->model, 24 - (int)strlen(r->model), kind, r->epoch[d]);
        ranking_print(&r->metrics[d], &r->eval, N_DECIMALS);
        printf(" %9llu  %s\n", (unsigned long long)r->metrics[d].n, a->dirs[i]);
    }
    for (int i = 0; i < N_PROBES; i++) {
        const Probe *p = &results->probes[d][i];
        printf("  %-30s %8.6f %8.6f %8.6f\n", PROBE_NAMES[i], p->wauc, p->auc, p->mrr);
    }
}

static void print_table(const EvaluatedSnapshot *results, const Arguments *a) {
    printf("split %s, protocol %s; the last three rules of each domain know no user: .50 +- .02 if candidates are "
           "fair\n\n",
           SPLIT_NAMES[a->options.split], PROTOCOL_NAMES[results->protocol]);
    for (int d = 0; d < N_DOMAINS; d++)
        print_domain(results, a, d);
}

static json_t *probes_json(const Probe *probes) {
    json_t *json = json_object();
    for (int i = 0; i < N_PROBES; i++)
        json_object_set_new(
            json, PROBE_NAMES[i],
            json_pack("{s:f, s:f, s:f}", "wauc", probes[i].wauc, "auc", probes[i].auc, "mrr", probes[i].mrr));
    return json;
}

static json_t *domain_json(const EvaluatedSnapshot *r, int d) {
    json_t *json = metrics_json(&r->metrics[d], &r->eval);
    json_object_set_new(json, "epoch", json_integer(r->epoch[d]));
    json_object_set_new(json, "probes", probes_json(r->probes[d]));
    return json;
}

/* One line a snapshot; 17 digits give a double back to the last bit. */
static void print_json(const EvaluatedSnapshot *r, const char *dir, Split split) {
    json_t *name = json_string(dir); /* NULL: not UTF-8 */
    json_t *json = json_pack("{s:o, s:s, s:b, s:s, s:s, s:o, s:o}", "snapshot", name ? name : json_null(), "model",
                             r->model, "backbone_only", (int)r->is_backbone, "split", SPLIT_NAMES[split], "protocol",
                             PROTOCOL_NAMES[r->protocol], "A", domain_json(r, DOMAIN_A), "B", domain_json(r, DOMAIN_B));
    if (json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(17)))
        log_die(ERR_MEMORY, "cannot write the metrics of %s as JSON", dir);
    putchar('\n');
    json_decref(json);
}

static Err check_alike(const EvaluatedSnapshot *results, const Arguments *a) {
    for (int i = 1; i < a->n_dirs; i++)
        if (results[i].protocol != results[0].protocol || results[i].eval.n_ks != results[0].eval.n_ks ||
            memcmp(results[i].eval.ks, results[0].eval.ks, sizeof results[0].eval.ks))
            return err_fail(ERR_USAGE,
                            "%s and %s were evaluated differently: add --protocol, or --json for a line each",
                            a->dirs[0], a->dirs[i]);
    return OK;
}

static Err evaluate(const Arguments *a) {
    EvaluatedSnapshot *results = must_calloc((size_t)a->n_dirs, sizeof *results);
    gemm_use_one_thread();
    Err err = gemm_self_check();
    for (int i = 0; i < a->n_dirs && !err; i++) {
        err = evaluate_snapshot(a->dirs[i], &a->options, &results[i]);
        if (!err && a->is_json)
            print_json(&results[i], a->dirs[i], a->options.split);
    }
    if (!err && !a->is_json) {
        err = check_alike(results, a);
        if (!err)
            print_table(results, a);
    }
    free(results);
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

static error_t parse(int key, char *arg, struct argp_state *state) {
    Arguments *a = state->input;
    int found;
    switch (key) {
    case 'd':
        a->options.data_dir = arg;
        return 0;
    case 'p':
        if ((a->options.protocol = find_name(PROTOCOL_NAMES, N_PROTOCOLS, arg)) < 0)
            argp_error(state, "the protocol is warm or all, not \"%s\"", arg);
        return 0;
    case 't':
        if ((found = find_name(SPLIT_NAMES, N_SPLITS, arg)) < 0)
            argp_error(state, "the split is valid or test, not \"%s\"", arg);
        a->options.split = (Split)found;
        return 0;
    case 'j':
        a->is_json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (a->n_dirs == MAX_SNAPSHOTS)
            argp_error(state, "at most %d snapshots", MAX_SNAPSHOTS);
        a->dirs[a->n_dirs++] = arg;
        return 0;
    case ARGP_KEY_END:
        if (!a->n_dirs)
            argp_error(state,
                       "which SNAPSHOT? A directory like runs/quickstart/snapshots/epoch-0003, or runs/quickstart");
        if (!a->options.data_dir)
            argp_error(state, "which data? --data DIR, the prepared data set of the training");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option OPTIONS[] = {
    {"data", 'd', "DIR", 0, "The prepared data set of the training", 0},
    {"protocol", 'p', "warm|all", 0, "Targets and candidates (default: the training's eval.protocol)", 0},
    {"split", 't', "valid|test", 0, "Which instances (default: test)", 0},
    {"json", 'j', NULL, 0, "A JSON object with all digits for each snapshot, one a line, instead of the table", 0},
    {0},
};

int cmd_evaluate(int argc, char **argv) {
    Arguments a = {.options = {.protocol = -1, .split = SPLIT_TEST}};
    const struct argp argp = {
        OPTIONS,
        parse,
        "SNAPSHOT...",
        "Prints the ranking metrics of snapshots side by side, with the rules that are blind to the "
        "user below them. A run's directory stands for its best snapshots: each domain is read from "
        "that of its best validation epoch. Needs no cluster.",
        NULL,
        NULL,
        NULL};
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    Err err = evaluate(&a);
    if (err)
        log_error("%s", err_message());
    return err_exit_code(err);
}
