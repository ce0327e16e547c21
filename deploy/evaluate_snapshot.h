/* Scoring and ranking a snapshot without a cluster: the same trainer, batches and metrics as in training, so the
 * numbers are training's to the last digit. */
#ifndef MANGROVE_DEPLOY_EVALUATE_SNAPSHOT_H
#define MANGROVE_DEPLOY_EVALUATE_SNAPSHOT_H

#include "common/config.h"
#include "common/datainfo.h"
#include "common/err.h"
#include "common/ranking.h"
#include "common/work.h"

typedef struct EvaluateOptions {
    const char *data_dir; /* the prepared data set of the training */
    int protocol;         /* -1: the training's */
    Split split;
} EvaluateOptions;

typedef struct EvaluatedSnapshot {
    uint32_t epoch[N_DOMAINS];
    char model[32];
    bool is_backbone;
    Protocol protocol;
    EvalConfig eval;
    RankingMetrics metrics[N_DOMAINS]; /* n 0: the domain has no instance in the split */
    Probe probes[N_DOMAINS][N_PROBES];
} EvaluatedSnapshot;

/* dir is a snapshot, or a run's directory: then each domain is read from the snapshot of its best validation epoch.
 * ERR_DATA if data_dir holds another data set than the training's; ERR_CORRUPT, ERR_IO. */
Err evaluate_snapshot(const char *dir, const EvaluateOptions *options, EvaluatedSnapshot *out) MUST_CHECK;

#endif
