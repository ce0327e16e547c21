/* Ranking metrics as JSON. */
#include "server/metrics_json.h"

#include <math.h>

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
