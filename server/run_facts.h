/* What is known of a run and told between its scheduler, its record and its snapshots: how an epoch went, how the
 * domains stand, where a run begins and what a snapshot's manifest says. */
#ifndef MANGROVE_SERVER_RUN_FACTS_H
#define MANGROVE_SERVER_RUN_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ranking.h"
#include "common/schema.h"
#include "common/work.h"
#include "proto/message.h"

/* What one epoch yields; what metrics.jsonl holds. Everything in it is deterministic in sync. */
typedef struct EpochResult {
    uint32_t epoch;
    double data_loss[N_DOMAINS], regulariser[N_DOMAINS]; /* means over the epoch's steps */
    double watch[N_DOMAINS];                             /* likewise, of the figure that the model wants watched */
    uint64_t n_steps[N_DOMAINS];
    RankingMetrics metrics[N_DOMAINS][N_SPLITS]; /* SPLIT_VALID always, SPLIT_TEST where scored */
    bool is_scored[N_DOMAINS][N_SPLITS];
    bool is_best[N_DOMAINS];   /* validation WAUC improved in this epoch */
    uint32_t stale[N_DOMAINS]; /* epochs since the best */
    uint32_t best_epoch[N_DOMAINS];
} EpochResult;

/* Early stopping: how the domains stand after the last evaluated epoch. */
typedef struct Standing {
    double best_wauc[N_DOMAINS];                      /* -1: nothing has been evaluated */
    uint32_t best_epoch[N_DOMAINS], stale[N_DOMAINS]; /* stale: epochs since the best */
} Standing;

/* Where a run begins, if not from nothing: read from a snapshot. */
typedef struct SchedulerStart {
    Restore restore;        /* not RESTORE_NONE */
    char dir[MESSAGE_TEXT]; /* the snapshot that servers load */
    uint64_t seed;          /* of its initial values */
    /* RESTORE_RESUME alone: */
    uint64_t data; /* fingerprint of its data set */
    uint64_t cut;  /* its number; later ones are higher */
    uint32_t epoch, n_steps[N_DOMAINS];
    bool is_evaluated; /* the epoch is complete and evaluated: training goes on with the next */
    Standing standing;
} SchedulerStart;

typedef struct SnapshotFacts {
    uint32_t epoch;
    uint64_t cut;
    uint64_t base_cut;    /* of the full snapshot that this incremental one goes on from; 0: this is full */
    const char *base_dir; /* NULL: full */
    uint64_t seed;        /* of initial values */
    Standing standing;
    bool is_epoch_end;
    const char *dir;
    uint32_t n_servers;
    const char *const *files; /* JSON text of each server */
    const uint8_t *bitmaps[N_DOMAINS];
    uint32_t n_steps[N_DOMAINS];
    uint64_t t[N_DOMAINS];
    const uint16_t *slot_map; /* (N_SLOTS) */
    const char *manifest;     /* of the data set */
} SnapshotFacts;

/* How far the run is, for people and for perf.jsonl. */
typedef struct SchedulerProgress {
    uint32_t epoch, epochs;
    uint64_t steps_done, steps_total; /* of this epoch, as far as servers have reported */
    double loss[N_DOMAINS];           /* data loss, mean over those steps; 0 where there are none */
    uint64_t n_instances;             /* trained since the start of the run */
    double instances_per_s;
    uint64_t n_rows, used_bytes;         /* of the servers' stores */
    uint64_t sent_bytes, received_bytes; /* by servers and workers that are there, since their starts */
    uint32_t n_workers, n_servers;
    const char *phase; /* "waiting", "opening", "training", "snapshot", "evaluating", "ending" */
} SchedulerProgress;

#endif
