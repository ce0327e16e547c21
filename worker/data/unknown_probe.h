/* The unknown-item probe: what rules score that know nothing of a candidate but whether it is id 0. Where items unseen
 * in training become id 0 and positives are more often unseen than negatives, such a rule beats models; a result under
 * protocol paper is to be read beside it. */
#ifndef MANGROVE_WORKER_DATA_UNKNOWN_PROBE_H
#define MANGROVE_WORKER_DATA_UNKNOWN_PROBE_H

#include "worker/data/evalset.h"

typedef enum UnknownRule {
    UNKNOWN_FIRST, /* the unknown above all others, which come uniformly at random */
    UNKNOWN_LAST,
    ALL_EQUAL, /* what the rule for ties alone is worth */
    N_UNKNOWN_RULES,
} UnknownRule;

extern const char *const UNKNOWN_RULE_NAMES[N_UNKNOWN_RULES];

/* Over the random part: mean and standard deviation (of a sample: n - 1); logloss means nothing here and is NaN. */
typedef struct UnknownProbe {
    RankingMetrics mean, sd;
} UnknownProbe;

/* out (N_UNKNOWN_RULES). set->is_unknown is there, set->n > 0, n_draws > 1. Draw i is a function of (seed, i). */
void unknown_probe(const Evalset *set, const EvalConfig *eval, uint64_t seed, int n_draws, UnknownProbe *out);

#endif
