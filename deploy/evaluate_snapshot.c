#include "deploy/evaluate_snapshot.h"

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/files.h"
#include "common/log.h"
#include "deploy/derive.h"
#include "deploy/local_client.h"
#include "server/snapshot.h"
#include "worker/trainer.h"

enum { PATH_BYTES = 4096, MAX_EVALUATION_BYTES = 1 << 20 };

/* The scores of one domain, in the order of the batches. */
typedef struct Sheet {
    float *scores;
    uint32_t *users;
    uint32_t n, capacity, n_candidates;
} Sheet;

typedef struct Scoring {
    Snapshot *snapshot;
    Dataset *data;
    Config config;
    Schema schema;
    Store *store;
    Geometry geometry;
    Trainer *trainer;
    Sheet sheet;
} Scoring;

/* ---- which snapshots ---------------------------------------------------------------------------------------- */

/* The newest epoch of the run that has been evaluated; 0: none. */
static uint32_t newest_evaluated(const char *run_dir) {
    char path[PATH_BYTES];
    uint32_t newest = 0, epoch;
    snprintf(path, sizeof path, "%s/snapshots", run_dir);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (sscanf(e->d_name, "epoch-%u", &epoch) != 1 || epoch <= newest)
            continue;
        snprintf(path, sizeof path, "%s/snapshots/%s/evaluation.json", run_dir, e->d_name);
        if (!access(path, R_OK))
            newest = epoch;
    }
    if (dir)
        closedir(dir);
    return newest;
}

static void epoch_path(char *out, const char *run_dir, uint32_t epoch, const char *file) {
    snprintf(out, PATH_BYTES, "%s/snapshots/epoch-%04u%s", run_dir, epoch, file);
}

/* The directory that each domain is read from. */
static Err find_snapshots(const char *dir, char found[N_DOMAINS][PATH_BYTES]) {
    static const char *const DOMAIN_NAMES[N_DOMAINS] = {"A", "B"};
    char path[PATH_BYTES], *text;
    size_t size;
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    for (int d = 0; d < N_DOMAINS; d++)
        snprintf(found[d], PATH_BYTES, "%s", dir);
    if (!access(path, F_OK))
        return OK;
    uint32_t newest = newest_evaluated(dir);
    if (!newest)
        return err_fail(ERR_IO, "%s is neither a snapshot (it has no manifest.json) nor a run with an evaluated one",
                        dir);
    epoch_path(path, dir, newest, "/evaluation.json");
    Err err = read_file(path, MAX_EVALUATION_BYTES, &text, &size);
    if (err)
        return err;
    json_t *json = json_loadb(text, size, 0, NULL);
    free(text);
    for (int d = 0; d < N_DOMAINS && !err; d++) {
        json_int_t epoch = json_integer_value(json_object_get(json_object_get(json, DOMAIN_NAMES[d]), "best_epoch"));
        if (epoch < 1 || epoch > newest)
            err = err_fail(ERR_CORRUPT, "%s does not tell domain %s's best epoch", path, DOMAIN_NAMES[d]);
        else
            epoch_path(found[d], dir, (uint32_t)epoch, "");
    }
    json_decref(json);
    return err;
}

/* ---- scoring ------------------------------------------------------------------------------------------------ */

static bool goes_on(void *ctx, const Assignment *a, uint64_t n_steps, uint64_t n_instances) {
    (void)ctx, (void)a, (void)n_steps, (void)n_instances;
    return true;
}

static Err keep_scores(void *ctx, const Assignment *a, const Scored *s) {
    (void)a;
    Sheet *sheet = &((Scoring *)ctx)->sheet;
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

static Err score_domain(Scoring *s, int domain, Split split, RankingMetrics *out) {
    Err err = OK;
    s->sheet.n = 0;
    for (uint32_t chunk = 0; chunk < s->geometry.n_chunks && !err; chunk++) {
        Assignment a;
        TrainerResult result;
        assignment_evaluate(&a, &s->geometry, store_epoch(s->store), chunk, domain, split);
        err = trainer_run(s->trainer, &a, &result);
        if (!err && !result.is_done)
            err = err_fail(ERR_FAILED, "chunk %u of domain %c could not be scored", chunk, "AB"[domain]);
        assignment_free(&a);
    }
    if (!err && s->sheet.n > 0)
        ranking_metrics(s->sheet.scores, s->sheet.users, s->sheet.n, s->sheet.n_candidates, s->config.eval.ks,
                        s->config.eval.n_ks, out);
    return err;
}

/* ---- opening and closing ------------------------------------------------------------------------------------ */

static Err check_data(const Scoring *s, const char *dir, const char *data_dir) {
    uint64_t want = snapshot_data(s->snapshot)->fingerprint, found = dataset_info(s->data)->fingerprint;
    if (want == found)
        return OK;
    return err_fail(ERR_DATA, "the data set in %s has fingerprint %016lx; %s was trained on %016lx, whose ids differ",
                    data_dir, (unsigned long)found, dir, (unsigned long)want);
}

static Err open_model(Scoring *s) {
    const DataInfo *info = dataset_info(s->data);
    const TrainConfig *train = &s->config.train;
    uint32_t ranks = train->consistency == CONSISTENCY_SYNC ? (uint32_t)train->ranks : 1;
    Err err = derive_schema(NULL, &s->config, info, &s->schema);
    if (!err)
        err = store_open(&s->store, &s->schema, &s->config.optimizer, train->seed, ranks);
    if (!err)
        err = snapshot_load(s->snapshot, &s->schema, s->store);
    if (!err)
        err = geometry_init(&s->geometry, info->counts[s->config.eval.protocol], info->n_chunks, ranks,
                            (uint32_t)train->batch, (uint32_t)s->config.eval.batch);
    if (err)
        return err;
    TrainerEnv env = {.ctx = s, .client = local_client(s->store), .stepped = goes_on, .scored = keep_scores};
    trainer_open(&s->trainer, s->data, &s->geometry, &s->config, &s->schema, model_find(s->config.model.name), &env);
    return OK;
}

static Err open_scoring(Scoring *s, const char *dir, const EvaluateOptions *o) {
    Err err = snapshot_open(&s->snapshot, dir);
    if (!err)
        err = dataset_open(&s->data, o->data_dir);
    if (!err)
        err = check_data(s, dir, o->data_dir);
    if (err)
        return err;
    s->config = *snapshot_config(s->snapshot);
    if (o->protocol >= 0)
        s->config.eval.protocol = (Protocol)o->protocol;
    return open_model(s);
}

static void close_scoring(Scoring *s) {
    trainer_close(&s->trainer);
    geometry_free(&s->geometry);
    store_close(&s->store);
    dataset_close(&s->data);
    snapshot_close(&s->snapshot);
    free(s->sheet.scores);
    free(s->sheet.users);
    free(s);
}

/* What is the same for both domains of a run. */
static void describe(const Scoring *s, EvaluatedSnapshot *out) {
    memcpy(out->model, s->config.model.name, sizeof out->model);
    out->is_backbone = s->config.model.backbone_only;
    out->protocol = s->config.eval.protocol;
    out->eval = s->config.eval;
}

static Err evaluate_domain(const char *dir, int domain, const EvaluateOptions *o, EvaluatedSnapshot *out) {
    Scoring *s = must_calloc(1, sizeof *s);
    Err err = open_scoring(s, dir, o);
    if (!err)
        err = score_domain(s, domain, o->split, &out->metrics[domain]);
    if (!err) {
        describe(s, out);
        out->epoch[domain] = snapshot_epoch(s->snapshot);
        memcpy(out->probes[domain], dataset_info(s->data)->probes[out->protocol][domain][o->split],
               sizeof out->probes[domain]);
    }
    close_scoring(s);
    return err;
}

Err evaluate_snapshot(const char *dir, const EvaluateOptions *options, EvaluatedSnapshot *out) {
    char found[N_DOMAINS][PATH_BYTES];
    *out = (EvaluatedSnapshot){0};
    Err err = find_snapshots(dir, found);
    for (int d = 0; d < N_DOMAINS && !err; d++)
        err = evaluate_domain(found[d], d, options, out);
    return err;
}
