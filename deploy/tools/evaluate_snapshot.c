#include "deploy/tools/evaluate_snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/options.h"
#include "deploy/tools/restored_model.h"
#include "deploy/tools/snapshot_choice.h"
#include "worker/data/paper.h"
#include "worker/data/published_set.h"
#include "worker/model/step.h"

enum { N = RANKING_CANDIDATES };

/* Of one domain. */
typedef struct Scoring {
    char dir[SNAPSHOT_CHOICE_PATH];
    RestoredModel *model; /* where one snapshot serves both domains the same */
    const Model *code;
    Geometry geometry;
    Evalset set;
    bool exists;
    float *scores; /* (set.n, N) */
} Scoring;

/* ---- metrics ------------------------------------------------------------------------------------------------ */

/* scores: NULL without a model. */
static void measure(const Evalset *set, const float *scores, const EvaluateOptions *o, const Evaluated *e,
                    Evaluation *out) {
    *out = (Evaluation){.n = set->n};
    if (set->n == 0)
        return;
    if (scores)
        ranking_metrics_tied(scores, set->users, set->n, N, e->eval.ks, e->eval.n_ks, set->ties, &out->metrics);
    if (e->has_unknown)
        unknown_probe(set, &e->eval, o->seed, o->n_draws, out->unknown);
}

static void measure_domain(const Evalset *set, const float *scores, const EvaluateOptions *o, const Evaluated *e,
                           EvaluatedDomain *out) {
    out->exists = true;
    measure(set, scores, o, e, &out->whole);
    for (int g = 0; g < N_LENGTH_GROUPS && o->with_groups; g++) {
        Evalset group;
        float *group_scores;
        evalset_pick_group(&group, &group_scores, set, scores, g);
        measure(&group, group_scores, o, e, &out->groups[g]);
        evalset_close(&group);
        free(group_scores);
    }
}

/* ---- scoring ------------------------------------------------------------------------------------------------ */

static void score_batch(const Scoring *s, Step *step, uint32_t batch_number, float *scores, size_t *at) {
    Batch batch;
    uint32_t n_keys;
    size_t n_values;
    step_reset(step);
    s->set.make(s->set.self, batch_number, step_arena(step), &batch);
    step_begin(step, &batch, false);
    const uint64_t *keys = step_pull_keys(step, &n_keys, &n_values);
    store_pull(s->model->store, keys, n_keys, step_values(step));
    size_t n = (size_t)batch.n_instances * N;
    memcpy(scores + *at, step_forward(step), n * sizeof *scores);
    *at += n;
}

static Err score_set(Scoring *s, int domain) {
    size_t at = 0;
    Step *step = step_open(s->code, &s->model->config, &s->model->schema);
    s->scores = must_alloc(((size_t)s->set.n * N + 1) * sizeof *s->scores);
    for (uint32_t batch = 0; batch < s->set.n_batches; batch++)
        score_batch(s, step, batch, s->scores, &at);
    step_close(&step);
    if (ranking_are_finite(s->scores, at))
        return OK;
    return err_fail(ERR_FAILED, "scores of domain %c are not finite: the training of %s has diverged", "AB"[domain],
                    s -> dir);
}

/* ---- what is scored ----------------------------------------------------------------------------------------- */

static Err open_own(Scoring *s, int domain, const EvaluateOptions *o, EvalProtocol protocol) {
    RestoredModel *m = s->model;
    const DataInfo *info = dataset_info(m->data);
    m->config.eval.protocol = protocol == EVAL_PAPER ? PROTOCOL_ALL : (Protocol)protocol;
    Err err = geometry_init(&s->geometry, info->counts[m->config.eval.protocol], info->n_chunks, m->ranks,
                            (uint32_t)m->config.train.batch, (uint32_t)m->config.eval.batch);
    if (err)
        return err;
    if (protocol == EVAL_PAPER)
        return paper_open(&s->set, m->data, &s->geometry, &m->config, s->code->inputs, domain, o->split, o->seed);
    evalset_open(&s->set, m->data, &s->geometry, &m->config, s->code->inputs, domain, o->split);
    return OK;
}

static PublishedSource published_source(const EvaluateOptions *o, EvalProtocol protocol) {
    return (PublishedSource){.dir = o->published_dir, .protocol = protocol, .split = o->split};
}

static Err open_set(Scoring *s, int domain, const EvaluateOptions *o, EvalProtocol protocol) {
    s->exists = true;
    if (!o->published_dir)
        return open_own(s, domain, o, protocol);
    PublishedSource source = published_source(o, protocol);
    source.data = s->model->data;
    source.config = &s->model->config;
    return published_set_open(&s->set, &source, domain, &s->exists);
}

/* What is the same for both domains of a run. */
static void describe(const Config *config, const EvaluateOptions *o, Evaluated *out) {
    memcpy(out->model, config->model.name, sizeof out->model);
    out->is_backbone = config->model.backbone_only;
    out->eval = config->eval;
    out->protocol = o->protocol >= 0   ? (EvalProtocol)o->protocol
                    : o->published_dir ? EVAL_PAPER
                                       : (EvalProtocol)config->eval.protocol;
    out->has_unknown = o->published_dir || out->protocol == EVAL_PAPER;
}

static Err score_domain(Scoring *s, int domain, const EvaluateOptions *o, Evaluated *out) {
    EvaluatedDomain *d = &out->domains[domain];
    if (!s->exists)
        return OK;
    Err err = restored_model_load(s->model);
    if (!err)
        err = score_set(s, domain);
    if (err)
        return err;
    measure_domain(&s->set, s->scores, o, out, d);
    d->epoch = snapshot_epoch(s->model->snapshot);
    if (!out->has_unknown)
        memcpy(d->rules, dataset_info(s->model->data)->probes[out->protocol][domain][o->split], sizeof d->rules);
    return OK;
}

/* ---- both domains ------------------------------------------------------------------------------------------- */

/* other: of the domain before, or NULL. */
static Err open_model(Scoring *s, const Scoring *other, const EvaluateOptions *o) {
    if (other && !strcmp(s->dir, other->dir))
        s->model = other->model;
    else {
        Err err = restored_model_open(&s->model, s->dir, o->data_dir);
        if (err)
            return err;
    }
    s->code = model_find(s->model->config.model.name);
    return OK;
}

/* All that is small, and what is asked: it can be wrong. */
static Err open_scorings(Scoring s[N_DOMAINS], const char *dir, const EvaluateOptions *o, Evaluated *out) {
    Err err = OK;
    for (int d = 0; d < N_DOMAINS && !err; d++)
        err = snapshot_choose_best(dir, d, s[d].dir);
    for (int d = 0; d < N_DOMAINS && !err; d++)
        err = open_model(&s[d], d ? &s[d - 1] : NULL, o);
    if (err)
        return err;
    describe(snapshot_config(s->model->snapshot), o, out);
    out->data = dataset_info(s->model->data)->fingerprint;
    out->trained_on = snapshot_data(s->model->snapshot)->fingerprint;
    for (int d = 0; d < N_DOMAINS && !err; d++)
        err = open_set(&s[d], d, o, out->protocol);
    return err;
}

static void close_scoring(Scoring *s) {
    evalset_close(&s->set);
    geometry_free(&s->geometry);
    free(s->scores);
    restored_model_close(&s->model);
    *s = (Scoring){0};
}

/* The first domain's model goes before the other's rows come, if they are of another snapshot. */
static Err score_domains(Scoring s[N_DOMAINS], const EvaluateOptions *o, Evaluated *out) {
    Err err = OK;
    for (int d = 0; d < N_DOMAINS && !err; d++) {
        err = score_domain(&s[d], d, o, out);
        if (d + 1 < N_DOMAINS && s[d + 1].model == s[d].model)
            s[d].model = NULL;
        close_scoring(&s[d]);
    }
    return err;
}

/* ---- interface ---------------------------------------------------------------------------------------------- */

static Err check_exists(const EvaluateOptions *o, const Evaluated *e) {
    const char *split = o->split == SPLIT_VALID ? "valid" : "test";
    if (e->domains[DOMAIN_A].exists || e->domains[DOMAIN_B].exists)
        return OK;
    return err_fail(ERR_DATA, "%s holds neither %s_A.tsv nor %s_B.tsv, plain or .gz", o->published_dir, split, split);
}

Err evaluate_describe(const char *dir, const EvaluateOptions *options, Evaluated *out) {
    char chosen[SNAPSHOT_CHOICE_PATH];
    Snapshot *snapshot = NULL;
    *out = (Evaluated){0};
    Err err = snapshot_choose_best(dir, DOMAIN_A, chosen);
    if (!err)
        err = snapshot_open(&snapshot, chosen);
    if (!err)
        describe(snapshot_config(snapshot), options, out);
    snapshot_close(&snapshot);
    return err;
}

Err evaluate_snapshot(const char *dir, const EvaluateOptions *options, Evaluated *out) {
    Scoring *scorings = must_calloc(N_DOMAINS, sizeof *scorings);
    *out = (Evaluated){0};
    Err err = open_scorings(scorings, dir, options, out);
    for (int d = 0; d < N_DOMAINS; d++)
        out->domains[d].exists = scorings[d].exists;
    if (!err)
        err = check_exists(options, out);
    if (!err)
        err = score_domains(scorings, options, out);
    if (scorings[0].model == scorings[1].model)
        scorings[0].model = NULL;
    for (int d = 0; d < N_DOMAINS; d++)
        close_scoring(&scorings[d]);
    free(scorings);
    return err;
}

Err evaluate_probes(const EvaluateOptions *options, Evaluated *out) {
    Config defaults;
    config_defaults(&defaults);
    *out = (Evaluated){.eval = defaults.eval, .has_unknown = true};
    out->protocol = options->protocol >= 0 ? (EvalProtocol)options->protocol : EVAL_PAPER;
    const PublishedSource source = published_source(options, out->protocol);
    Err err = OK;
    for (int d = 0; d < N_DOMAINS && !err; d++) {
        Evalset set;
        bool exists;
        err = published_set_open(&set, &source, d, &exists);
        if (!err && exists)
            measure_domain(&set, NULL, options, out, &out->domains[d]);
        evalset_close(&set);
    }
    return err ? err : check_exists(options, out);
}
