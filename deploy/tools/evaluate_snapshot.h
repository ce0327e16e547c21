/* Scoring and ranking a snapshot without a cluster: the same batches, model and metrics as in training, so the numbers
 * are training's to the last digit. */
#ifndef MANGROVE_DEPLOY_TOOLS_EVALUATE_SNAPSHOT_H
#define MANGROVE_DEPLOY_TOOLS_EVALUATE_SNAPSHOT_H

#include "common/config.h"
#include "common/datainfo.h"
#include "common/err.h"
#include "common/length_groups.h"
#include "common/ranking.h"
#include "common/work.h"
#include "worker/data/unknown_probe.h"

typedef struct EvaluateOptions {
    const char *data_dir;      /* the prepared data set of the training, or one made from it with --base */
    const char *published_dir; /* published files to evaluate on; NULL: the data set */
    int protocol;              /* EvalProtocol; -1: the training's, of published files paper */
    Split split;
    bool with_groups; /* also by length of the history */
    int n_draws;      /* of the unknown-item probe */
    uint64_t seed;
} EvaluateOptions;

/* Of a domain, or of one group of it. */
typedef struct Evaluation {
    uint32_t n;                            /* positives; 0: nothing else is set */
    RankingMetrics metrics;                /* n 0 without a model */
    UnknownProbe unknown[N_UNKNOWN_RULES]; /* where has_unknown */
} Evaluation;

typedef struct EvaluatedDomain {
    bool exists;    /* false: the published files have none for it */
    uint32_t epoch; /* of the snapshot */
    Evaluation whole;
    Evaluation groups[N_LENGTH_GROUPS]; /* with_groups */
    Probe rules[N_PROBES];              /* where not has_unknown */
} EvaluatedDomain;

typedef struct Evaluated {
    char model[32]; /* "": probes alone */
    bool is_backbone, has_unknown;
    EvalProtocol protocol;
    EvalConfig eval;
    uint64_t data, trained_on; /* fingerprints; they differ where data_dir was made from the training's data */
    EvaluatedDomain domains[N_DOMAINS];
} Evaluated;

/* What evaluate_snapshot() will tell of the model and of how it is measured, from manifests alone: no domain, no
 * data set. */
Err evaluate_describe(const char *dir, const EvaluateOptions *options, Evaluated *out) MUST_CHECK;

/* dir is a snapshot, or a run's directory: then each domain is read from the snapshot of its best validation epoch.
 * ERR_DATA if data_dir holds another data set than the training's; ERR_FAILED if a score is not
 * finite; ERR_CORRUPT, ERR_IO. */
Err evaluate_snapshot(const char *dir, const EvaluateOptions *options, Evaluated *out) MUST_CHECK;

/* The probes of published files, over their own vocabularies; no model, no data set. ERR_DATA, ERR_IO. */
Err evaluate_probes(const EvaluateOptions *options, Evaluated *out) MUST_CHECK;

#endif
