/* What `evaluate` prints: tables, or a JSON object a line. */
#ifndef MANGROVE_DEPLOY_TOOLS_EVALUATE_PRINT_H
#define MANGROVE_DEPLOY_TOOLS_EVALUATE_PRINT_H

#include "deploy/tools/evaluate_snapshot.h"

extern const char *const EVAL_PROTOCOL_NAMES[N_EVAL_PROTOCOLS];
extern const char *const EVAL_SPLIT_NAMES[N_SPLITS]; /* of SPLIT_TRAIN NULL */

/* Results (n) side by side, which were measured alike; dirs (n) name their snapshots, and are NULL for probes alone. */
void evaluate_print_tables(const Evaluated *results, int n, const char *const *dirs, const EvaluateOptions *options);

/* One line, with_groups. Real numbers have 17 digits, which give a double back to the last bit. */
void evaluate_print_json(const Evaluated *result, const char *dir, const EvaluateOptions *options);

#endif
