#include "deploy/evaluate_snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "deploy/local_client.h"
#include "deploy/restored_model.h"
#include "deploy/snapshot_choice.h"
#include "worker/trainer.h"

/* The scores of one domain, in the order of the batches. */
typedef struct Sheet {
    float *scores;
    uint32_t *users;
    uint32_t n, capacity, n_candidates;
} Sheet;

typedef struct Scoring {
    RestoredModel *model;
    Geometry geometry;
    Trainer *trainer;
    Sheet sheet;
} Scoring;

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
        assignment_evaluate(&a, &s->geometry, store_epoch(s->model->store), chunk, domain, split);
        err = trainer_run(s->trainer, &a, &result);
        if (!err && !result.is_done)
            err = err_fail(ERR_FAILED, "chunk %u of domain %c could not be scored", chunk, "AB"[domain]);
        assignment_free(&a);
    }
    if (!err && s->sheet.n > 0)
        ranking_metrics(s->sheet.scores, s->sheet.users, s->sheet.n, s->sheet.n_candidates, s->model->config.eval.ks,
                        s->model->config.eval.n_ks, out);
    return err;
}

/* ---- opening and closing ------------------------------------------------------------------------------------ */

static Err open_trainer(Scoring *s) {
    RestoredModel *m = s->model;
    const DataInfo *info = dataset_info(m->data);
    Err err = geometry_init(&s->geometry, info->counts[m->config.eval.protocol], info->n_chunks, m->ranks,
                            (uint32_t)m->config.train.batch, (uint32_t)m->config.eval.batch);
    if (err)
        return err;
    TrainerEnv env = {.ctx = s, .client = local_client(m->store), .stepped = goes_on, .scored = keep_scores};
    trainer_open(&s->trainer, m->data, &s->geometry, &m->config, &m->schema, model_find(m->config.model.name), &env);
    return OK;
}

static Err open_scoring(Scoring *s, const char *dir, const EvaluateOptions *o) {
    Err err = restored_model_open(&s->model, dir, o->data_dir);
    if (err)
        return err;
    if (o->protocol >= 0)
        s->model->config.eval.protocol = (Protocol)o->protocol;
    return open_trainer(s);
}

static void close_scoring(Scoring *s) {
    trainer_close(&s->trainer);
    geometry_free(&s->geometry);
    restored_model_close(&s->model);
    free(s->sheet.scores);
    free(s->sheet.users);
    free(s);
}

/* What is the same for both domains of a run. */
static void describe(const Scoring *s, EvaluatedSnapshot *out) {
    memcpy(out->model, s->model->config.model.name, sizeof out->model);
    out->is_backbone = s->model->config.model.backbone_only;
    out->protocol = s->model->config.eval.protocol;
    out->eval = s->model->config.eval;
}

static Err evaluate_domain(const char *dir, int domain, const EvaluateOptions *o, EvaluatedSnapshot *out) {
    Scoring *s = must_calloc(1, sizeof *s);
    Err err = open_scoring(s, dir, o);
    if (!err)
        err = score_domain(s, domain, o->split, &out->metrics[domain]);
    if (!err) {
        describe(s, out);
        out->epoch[domain] = snapshot_epoch(s->model->snapshot);
        memcpy(out->probes[domain], dataset_info(s->model->data)->probes[out->protocol][domain][o->split],
               sizeof out->probes[domain]);
    }
    close_scoring(s);
    return err;
}

Err evaluate_snapshot(const char *dir, const EvaluateOptions *options, EvaluatedSnapshot *out) {
    char chosen[N_DOMAINS][SNAPSHOT_CHOICE_PATH];
    *out = (EvaluatedSnapshot){0};
    Err err = snapshot_choose(dir, chosen);
    for (int d = 0; d < N_DOMAINS && !err; d++)
        err = evaluate_domain(chosen[d], d, options, out);
    return err;
}
