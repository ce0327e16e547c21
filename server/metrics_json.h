/* Ranking metrics as JSON, wherever they are written: {"n", "wauc", "auc", "mrr", "ndcg@10", ..., "hr@10", ...,
 * "logloss"}. What is not a number becomes null. */
#ifndef MANGROVE_SERVER_METRICS_JSON_H
#define MANGROVE_SERVER_METRICS_JSON_H

#include <jansson.h>

#include "common/ranking.h"

/* Caller owns. */
json_t *metrics_json(const RankingMetrics *m, const EvalConfig *eval);
json_t *metrics_json_number(double x);

/* The reverse; what is missing or null becomes NaN. */
void metrics_json_read(const json_t *json, const EvalConfig *eval, RankingMetrics *out);

#endif
