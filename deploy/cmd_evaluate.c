/* mangrove evaluate: the metrics of a snapshot, without a cluster. The same trainer scores, over the same batches, as
 * in training, and the same code ranks; so the numbers are training's to the last digit. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/ranking.h"
#include "deploy/commands.h"
#include "deploy/derive.h"
#include "deploy/local_client.h"
#include "server/snapshot.h"
#include "worker/ops/gemm.h"
#include "worker/trainer.h"

static const char *const PROTOCOL_NAMES[N_PROTOCOLS] = {[PROTOCOL_WARM] = "warm", [PROTOCOL_ALL] = "all"};
static const char *const SPLIT_NAMES[N_SPLITS] = {[SPLIT_VALID] = "valid", [SPLIT_TEST] = "test"};

typedef struct Arguments {
    const char *snapshot_dir, *data_dir;
    int protocol; /* -1: the training's */
    Split split;
    bool is_json;
} Arguments;

/* The scores of one domain, in the order of the batches. */
typedef struct Sheet {
    float *scores;
    uint32_t *users;
    uint32_t n, capacity, n_candidates;
} Sheet;

typedef struct Evaluation {
    Snapshot *snapshot;
    Dataset *data;
    Config config;
    Schema schema;
    Store *store;
    Geometry geometry;
    Trainer *trainer;
    Sheet sheet;
    RankingMetrics metrics[N_DOMAINS];
} Evaluation;

/* ---- scoring ------------------------------------------------------------------------------------------------ */

static bool goes_on(void *ctx, const Assignment *a, uint64_t n_steps, uint64_t n_instances) {
    (void)ctx, (void)a, (void)n_steps, (void)n_instances;
    return true;
}

static Err keep_scores(void *ctx, const Assignment *a, const Scored *s) {
    (void)a;
    Sheet *sheet = &((Evaluation *)ctx)->sheet;
    if (sheet->n + s->n > sheet->capacity) {
        sheet->capacity = 2 * sheet->capacity + s->n;
        sheet->scores = must_realloc(sheet->scores, (size_t)sheet->capacity * s->n_candidates * sizeof *sheet->scores);
        sheet->users = must_realloc(sheet->users, sheet->capacity * sizeof *sheet->users);
    }
    memcpy(sheet->scores + (size_t)sheet->n * s->n_candidates, s->scores,
           (size_t)s->n * s->n_candidates * sizeof *s->scores);
    memcpy(sheet->users + sheet->n, s->users, s->n * sizeof *s->users);
    sheet->n += s->n;
    sheet->n_candidates = s->n_candidates;
    return OK;
}

static Err evaluate_domain(Evaluation *e, int domain, Split split) {
    Err err = OK;
    e->sheet.n = 0;
    for (uint32_t chunk = 0; chunk < e->geometry.n_chunks && !err; chunk++) {
        Assignment a;
        TrainerResult result;
        assignment_evaluate(&a, &e->geometry, store_epoch(e->store), chunk, domain, split);
        err = trainer_run(e->trainer, &a, &result);
        if (!err && !result.is_done)
            err = err_fail(ERR_FAILED, "chunk %u could not be scored: %s", chunk, err_message());
        assignment_free(&a);
    }
    if (!err && e->sheet.n > 0)
        ranking_metrics(e->sheet.scores, e->sheet.users, e->sheet.n, e->sheet.n_candidates, e->config.eval.ks,
                        e->config.eval.n_ks, &e->metrics[domain]);
    return err;
}

/* ---- printing ----------------------------------------------------------------------------------------------- */

/* Calls print for every metric that is not a count, in the order in which they are shown. */
typedef void (*PrintRow)(void *ctx, const char *name, const double value[N_DOMAINS]);

static void for_each_metric(const Evaluation *e, PrintRow print, void *ctx) {
    const RankingMetrics *a = &e->metrics[DOMAIN_A], *b = &e->metrics[DOMAIN_B];
    print(ctx, "auc", (double[]){a->auc, b->auc});
    print(ctx, "wauc", (double[]){a->wauc, b->wauc});
    print(ctx, "mrr", (double[]){a->mrr, b->mrr});
    for (int i = 0; i < e->config.eval.n_ks; i++) {
        char name[32];
        snprintf(name, sizeof name, "ndcg@%d", e->config.eval.ks[i]);
        print(ctx, name, (double[]){a->ndcg[i], b->ndcg[i]});
        snprintf(name, sizeof name, "hr@%d", e->config.eval.ks[i]);
        print(ctx, name, (double[]){a->hr[i], b->hr[i]});
    }
    print(ctx, "logloss", (double[]){a->logloss, b->logloss});
}

static void print_row(void *ctx, const char *name, const double value[N_DOMAINS]) {
    (void)ctx;
    printf("%-26s %10.6f %10.6f\n", name, value[DOMAIN_A], value[DOMAIN_B]);
}

static void print_table(const Evaluation *e, const Arguments *a) {
    const Probe(*probes)[N_SPLITS][N_PROBES] = dataset_info(e->data)->probes[e->config.eval.protocol];
    printf("epoch %u of %s, split %s, protocol %s\n\n", snapshot_epoch(e->snapshot), a->snapshot_dir,
           SPLIT_NAMES[a->split], PROTOCOL_NAMES[e->config.eval.protocol]);
    printf("%-26s %10s %10s\n", "", "domain A", "domain B");
    printf("%-26s %10llu %10llu\n", "positives", (unsigned long long)e->metrics[DOMAIN_A].n,
           (unsigned long long)e->metrics[DOMAIN_B].n);
    for_each_metric(e, print_row, NULL);
    printf("\nrules blind to the user    %10s %10s   (.50 +- .02 where the candidates are sound)\n", "auc A", "auc B");
    for (int i = 0; i < N_PROBES; i++)
        printf("%-26s %10.6f %10.6f\n", PROBE_NAMES[i], probes[DOMAIN_A][a->split][i].auc,
               probes[DOMAIN_B][a->split][i].auc);
}

static void print_json_member(void *ctx, const char *name, const double value[N_DOMAINS]) {
    printf(",\"%s\":%.17g", name, value[*(const int *)ctx]);
}

static void print_json(const Evaluation *e, const Arguments *a) {
    printf("{\"epoch\":%u,\"split\":\"%s\",\"protocol\":\"%s\"", snapshot_epoch(e->snapshot), SPLIT_NAMES[a->split],
           PROTOCOL_NAMES[e->config.eval.protocol]);
    for (int d = 0; d < N_DOMAINS; d++) {
        const Probe *probes = dataset_info(e->data)->probes[e->config.eval.protocol][d][a->split];
        printf(",\"%c\":{\"n\":%llu", "AB"[d], (unsigned long long)e -> metrics[d].n);
        for_each_metric(e, print_json_member, &d);
        printf(",\"probes\":{");
        for (int i = 0; i < N_PROBES; i++)
            printf("%s\"%s\":{\"auc\":%.17g,\"wauc\":%.17g,\"mrr\":%.17g}", i ? "," : "", PROBE_NAMES[i], probes[i].auc,
                   probes[i].wauc, probes[i].mrr);
        printf("}}");
    }
    printf("}\n");
}

/* ---- opening and closing ------------------------------------------------------------------------------------ */

static Err check_data(const Evaluation *e, const Arguments *a) {
    uint64_t want = snapshot_data(e->snapshot)->fingerprint, found = dataset_info(e->data)->fingerprint;
    if (want == found)
        return OK;
    return err_fail(ERR_DATA, "the data set in %s has fingerprint %016lx; %s was trained on %016lx, whose ids differ",
                    a->data_dir, (unsigned long)found, a->snapshot_dir, (unsigned long)want);
}

static Err open_model(Evaluation *e) {
    const DataInfo *info = dataset_info(e->data);
    const TrainConfig *train = &e->config.train;
    uint32_t ranks = train->consistency == CONSISTENCY_SYNC ? (uint32_t)train->ranks : 1;
    Err err = derive_schema(NULL, &e->config, info, &e->schema);
    if (!err)
        err = store_open(&e->store, &e->schema, &e->config.optimizer, train->seed, ranks);
    if (!err)
        err = snapshot_load(e->snapshot, &e->schema, e->store);
    if (!err)
        err = geometry_init(&e->geometry, info->counts[e->config.eval.protocol], info->n_chunks, ranks,
                            (uint32_t)train->batch, (uint32_t)e->config.eval.batch);
    if (err)
        return err;
    TrainerEnv env = {.ctx = e, .client = local_client(e->store), .stepped = goes_on, .scored = keep_scores};
    trainer_open(&e->trainer, e->data, &e->geometry, &e->config, &e->schema, model_find(e->config.model.name), &env);
    return OK;
}

static Err open_all(Evaluation *e, const Arguments *a) {
    gemm_use_one_thread();
    Err err = gemm_self_check();
    if (!err)
        err = snapshot_open(&e->snapshot, a->snapshot_dir);
    if (!err)
        err = dataset_open(&e->data, a->data_dir);
    if (!err)
        err = check_data(e, a);
    if (err)
        return err;
    e->config = *snapshot_config(e->snapshot);
    if (a->protocol >= 0)
        e->config.eval.protocol = (Protocol)a->protocol;
    return open_model(e);
}

static void close_all(Evaluation *e) {
    trainer_close(&e->trainer);
    geometry_free(&e->geometry);
    store_close(&e->store);
    dataset_close(&e->data);
    snapshot_close(&e->snapshot);
    free(e->sheet.scores);
    free(e->sheet.users);
}

static Err evaluate(const Arguments *a) {
    static Evaluation e; /* large: the schema */
    Err err = open_all(&e, a);
    for (int d = 0; d < N_DOMAINS && !err; d++)
        err = evaluate_domain(&e, d, a->split);
    if (!err && a->is_json)
        print_json(&e, a);
    else if (!err)
        print_table(&e, a);
    close_all(&e);
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
        a->data_dir = arg;
        return 0;
    case 'p':
        if ((a->protocol = find_name(PROTOCOL_NAMES, N_PROTOCOLS, arg)) < 0)
            argp_error(state, "the protocol is warm or all, not \"%s\"", arg);
        return 0;
    case 't':
        if ((found = find_name(SPLIT_NAMES, N_SPLITS, arg)) < 0)
            argp_error(state, "the split is valid or test, not \"%s\"", arg);
        a->split = (Split)found;
        return 0;
    case 'j':
        a->is_json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (a->snapshot_dir)
            argp_error(state, "one SNAPSHOT, please; \"%s\" is a second", arg);
        a->snapshot_dir = arg;
        return 0;
    case ARGP_KEY_END:
        if (!a->snapshot_dir)
            argp_error(state, "which SNAPSHOT? A directory like run/snapshots/epoch-0003");
        if (!a->data_dir)
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
    {"json", 'j', NULL, 0, "One JSON object with all digits instead of the table", 0},
    {0},
};

int cmd_evaluate(int argc, char **argv) {
    Arguments a = {.protocol = -1, .split = SPLIT_TEST};
    const struct argp argp = {
        OPTIONS,
        parse,
        "SNAPSHOT",
        "Example: mangrove evaluate run/quickstart/snapshots/epoch-0003 --data data/quickstart\n\n"
        "Prints the ranking metrics of a snapshot, with the rules that are blind to the user beside "
        "them. Needs no cluster.",
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
