#include "deploy/tools/evaluate_print.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "server/metrics_json.h"

enum { N_DECIMALS = 6, N_REAL_DIGITS = 17, NAME_WIDTH = 24, ROW_WIDTH = 30 };

const char *const EVAL_PROTOCOL_NAMES[N_EVAL_PROTOCOLS] = {
    [EVAL_WARM] = "warm", [EVAL_ALL] = "all", [EVAL_PAPER] = "paper"};
const char *const EVAL_SPLIT_NAMES[N_SPLITS] = {[SPLIT_VALID] = "valid", [SPLIT_TEST] = "test"};

/* ---- tables ------------------------------------------------------------------------------------------------- */

typedef struct Page {
    const Evaluated *results;
    int n;
    const char *const *dirs;
    bool with_groups;
} Page;

/* Whole domain: group -1. */
static const Evaluation *evaluation_of(const EvaluatedDomain *d, int group) {
    return group < 0 ? &d->whole : &d->groups[group];
}

static bool has_fair_mrr(const Evaluated *e) {
    return e->protocol == EVAL_PAPER;
}

/* The columns behind the name, a blank before each; NULL: their names. */
static void print_columns(const Evaluated *e, const RankingMetrics *m) {
    ranking_print(m, &e->eval, N_DECIMALS);
    if (has_fair_mrr(e) && m)
        printf(" %8.*f", N_DECIMALS, m->fair_mrr);
    else if (has_fair_mrr(e))
        printf(" %8s", "fair mrr");
}

static void print_models(const Page *t, int domain, int group) {
    for (int i = 0; i < t->n && t->dirs; i++) {
        const Evaluated *e = &t->results[i];
        const EvaluatedDomain *d = &e->domains[domain];
        const char *kind = e->is_backbone ? " backbone" : "";
        printf("  %.16s%-*s %5u", e->model, NAME_WIDTH - (int)strlen(e->model), kind, d->epoch);
        print_columns(e, &evaluation_of(d, group)->metrics);
        printf("  %s\n", t->dirs[i]);
    }
}

static void print_unknown(const Page *t, int domain, int group) {
    const Evaluated *e = t->results;
    for (int rule = 0; rule < N_UNKNOWN_RULES; rule++) {
        const UnknownProbe *p = &evaluation_of(&e->domains[domain], group)->unknown[rule];
        printf("  %-*s", ROW_WIDTH, UNKNOWN_RULE_NAMES[rule]);
        print_columns(e, &p->mean);
        putchar('\n');
        if (rule == ALL_EQUAL)
            continue;
        printf("  %*s", ROW_WIDTH, "+-");
        print_columns(e, &p->sd);
        putchar('\n');
    }
}

static void print_rules(const EvaluatedDomain *d) {
    for (int i = 0; i < N_PROBES; i++)
        printf("  %-*s %8.6f %8.6f %8.6f\n", ROW_WIDTH, PROBE_NAMES[i], d->rules[i].wauc, d->rules[i].auc,
               d->rules[i].mrr);
}

static void print_group(const Page *t, int domain, int group) {
    const Evaluation *e = evaluation_of(&t->results->domains[domain], group);
    printf(" history %s: %u positives\n", LENGTH_GROUP_NAMES[group], e->n);
    if (e->n == 0)
        return;
    print_models(t, domain, group);
    if (t->results->has_unknown)
        print_unknown(t, domain, group);
}

static void print_domain(const Page *t, int domain) {
    const EvaluatedDomain *d = &t->results->domains[domain];
    if (!d->exists)
        return;
    const char *epoch = t->dirs ? "epoch" : "";
    printf("domain %c%*s", "AB"[domain], NAME_WIDTH, epoch);
    print_columns(t->results, NULL);
    printf("  %u positives\n", d->whole.n);
    if (d->whole.n > 0) {
        print_models(t, domain, -1);
        if (t->results->has_unknown)
            print_unknown(t, domain, -1);
        else
            print_rules(d);
    }
    for (int g = 0; g < N_LENGTH_GROUPS && t->with_groups; g++)
        print_group(t, domain, g);
}

static const char *explanation(const Evaluated *e) {
    if (!e->has_unknown)
        return "the last three rules of each domain know no user: .50 +- .02 if candidates are fair";
    if (e->protocol == EVAL_PAPER)
        return "items and users unseen in training are id 0, and ties fall as numpy's heapsort leaves them; the rules "
               "below know only which items are unknown";
    return "the rules of each domain know only which items are unknown";
}

/* What was trained on earlier data has not seen all that these hold. */
static void print_newer_data(const Evaluated *e, const char *dir) {
    if (e->data != e->trained_on)
        printf("%s was trained on the data set %016" PRIx64 ", and is measured on %016" PRIx64
               ", which was made from it\n",
               dir, e->trained_on, e->data);
}

void evaluate_print_tables(const Evaluated *results, int n, const char *const *dirs, const EvaluateOptions *options) {
    const Page t = {.results = results, .n = n, .dirs = dirs, .with_groups = options->with_groups};
    if (options->published_dir)
        printf("published files in %s, ", options->published_dir);
    printf("split %s, protocol %s; %s", EVAL_SPLIT_NAMES[options->split], EVAL_PROTOCOL_NAMES[results->protocol],
           explanation(results));
    if (results->has_unknown)
        printf(" (%d draws of the rest)", options->n_draws);
    putchar('\n');
    for (int i = 0; i < n && dirs; i++)
        print_newer_data(&results[i], dirs[i]);
    putchar('\n');
    for (int d = 0; d < N_DOMAINS; d++)
        print_domain(&t, d);
}

/* ---- JSON --------------------------------------------------------------------------------------------------- */

static json_t *rules_json(const Probe *rules) {
    json_t *json = json_object();
    for (int i = 0; i < N_PROBES; i++)
        json_object_set_new(
            json, PROBE_NAMES[i],
            json_pack("{s:f, s:f, s:f}", "wauc", rules[i].wauc, "auc", rules[i].auc, "mrr", rules[i].mrr));
    return json;
}

static json_t *spread_json(double mean, double sd) {
    return json_pack("{s:f, s:f}", "mean", mean, "sd", sd);
}

static json_t *unknown_json(const UnknownProbe *p, const EvalConfig *eval) {
    NamedMetric means[RANKING_MAX_NAMED], sds[RANKING_MAX_NAMED];
    json_t *json = json_object();
    int n = ranking_named(&p->mean, eval, means);
    (void)ranking_named(&p->sd, eval, sds);
    for (int i = 0; i < n; i++)
        if (!isnan(means[i].value))
            json_object_set_new(json, means[i].name, spread_json(means[i].value, sds[i].value));
    json_object_set_new(json, "fair_mrr", spread_json(p->mean.fair_mrr, p->sd.fair_mrr));
    return json;
}

/* The metrics and, where they stand for this very set, the probes. */
static json_t *evaluation_json(const Evaluated *e, const Evaluation *evaluation) {
    json_t *json = evaluation->metrics.n ? metrics_json(&evaluation->metrics, &e->eval)
                                         : json_pack("{s:I}", "n", (json_int_t)evaluation->n);
    if (evaluation->metrics.n && has_fair_mrr(e))
        json_object_set_new(json, "fair_mrr", json_real(evaluation->metrics.fair_mrr));
    if (!e->has_unknown || evaluation->n == 0)
        return json;
    json_t *probes = json_object();
    for (int rule = 0; rule < N_UNKNOWN_RULES; rule++)
        json_object_set_new(probes, UNKNOWN_RULE_NAMES[rule], unknown_json(&evaluation->unknown[rule], &e->eval));
    json_object_set_new(json, "probes", probes);
    return json;
}

static json_t *domain_json(const Evaluated *e, int domain) {
    const EvaluatedDomain *d = &e->domains[domain];
    if (!d->exists)
        return json_null();
    json_t *json = evaluation_json(e, &d->whole), *groups = json_object();
    if (e->model[0])
        json_object_set_new(json, "epoch", json_integer(d->epoch));
    if (!e->has_unknown)
        json_object_set_new(json, "probes", rules_json(d->rules));
    for (int g = 0; g < N_LENGTH_GROUPS; g++)
        json_object_set_new(groups, LENGTH_GROUP_NAMES[g], evaluation_json(e, &d->groups[g]));
    json_object_set_new(json, "groups", groups);
    return json;
}

/* NULL where it is not UTF-8. */
static json_t *name_json(const char *name) {
    json_t *json = json_string(name);
    return json ? json : json_null();
}

static json_t *fingerprint_json(uint64_t fingerprint) {
    return json_sprintf("%016" PRIx64, fingerprint);
}

void evaluate_print_json(const Evaluated *e, const char *dir, const EvaluateOptions *o) {
    json_t *json = json_object();
    if (dir) {
        json_object_set_new(json, "snapshot", name_json(dir));
        json_object_set_new(json, "model", json_string(e->model));
        json_object_set_new(json, "backbone_only", json_boolean(e->is_backbone));
        json_object_set_new(json, "data", fingerprint_json(e->data));
        json_object_set_new(json, "trained_on", fingerprint_json(e->trained_on));
    }
    if (o->published_dir)
        json_object_set_new(json, "published", name_json(o->published_dir));
    json_object_set_new(json, "split", json_string(EVAL_SPLIT_NAMES[o->split]));
    json_object_set_new(json, "protocol", json_string(EVAL_PROTOCOL_NAMES[e->protocol]));
    if (e->has_unknown) {
        json_object_set_new(json, "draws", json_integer(o->n_draws));
        json_object_set_new(json, "seed", json_integer((json_int_t)o->seed));
    }
    json_object_set_new(json, "A", domain_json(e, DOMAIN_A));
    json_object_set_new(json, "B", domain_json(e, DOMAIN_B));
    if (json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(N_REAL_DIGITS)))
        log_die(ERR_MEMORY, "cannot write the metrics as JSON");
    putchar('\n');
    json_decref(json);
}
