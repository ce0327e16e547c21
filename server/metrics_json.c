/* Ranking metrics as JSON. */
#include "server/metrics_json.h"

#include <math.h>
#include <stdio.h>

json_t *metrics_json_number(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

json_t *metrics_json(const RankingMetrics *m, const EvalConfig *eval) {
    NamedMetric named[RANKING_MAX_NAMED];
    json_t *json = json_pack("{s:I}", "n", (json_int_t)m->n);
    int n = ranking_named(m, eval, named);
    for (int i = 0; i < n; i++)
        json_object_set_new(json, named[i].name, metrics_json_number(named[i].value));
    return json;
}

static double read_number(const json_t *json, const char *name, int k) {
    char with_k[32];
    snprintf(with_k, sizeof with_k, k ? "%s@%d" : "%s", name, k);
    const json_t *number = json_object_get(json, with_k);
    return json_is_number(number) ? json_number_value(number) : NAN;
}

void metrics_json_read(const json_t *json, const EvalConfig *eval, RankingMetrics *out) {
    *out = (RankingMetrics){.n = (uint64_t)json_integer_value(json_object_get(json, "n")),
                            .auc = read_number(json, "auc", 0),
                            .wauc = read_number(json, "wauc", 0),
                            .mrr = read_number(json, "mrr", 0),
                            .logloss = read_number(json, "logloss", 0)};
    for (int i = 0; i < eval->n_ks; i++) {
        out->ndcg[i] = read_number(json, "ndcg", eval->ks[i]);
        out->hr[i] = read_number(json, "hr", eval->ks[i]);
    }
}
