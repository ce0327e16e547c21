/* The scheduler's state machine: (message or tick, now) -> messages and effects. No socket, file, clock or thread
 * inside; scheduler_shell.c connects it to the link and the disk, `train --local` to a store and a trainer in its own
 * process, the simulator to a simulated network. PROTOCOL.md is its contract.
 *
 *   JOINING --all here--> OPENING --all opened--> TRAINING --no work left--> CUTTING --committed--> EVALUATING
 *   EVALUATING --another epoch--> OPENING     EVALUATING --no more--> ENDING --all have left--> OVER
 *   CUTTING --a server lacks steps--> TRAINING
 *   TRAINING --a snapshot is due--> CUTTING --all have marked--> TRAINING, while the snapshot is written
 *   OPENING --all have loaded the snapshot that is resumed--> CUTTING
 *   TRAINING --stop asked--> CUTTING --committed--> ENDING
 *   any --a deadline, a server died, an error--> ENDING */
#ifndef MANGROVE_SERVER_SCHEDULER_H
#define MANGROVE_SERVER_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/datainfo.h"
#include "common/err.h"
#include "common/ranking.h"
#include "common/schema.h"
#include "common/work.h"
#include "proto/outbox.h"

typedef struct Scheduler Scheduler;

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

typedef struct RankJob {
    int domain;
    Split split;
    uint32_t n, n_candidates;
    const float *scores;
    const uint32_t *users;
} RankJob;

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

/* The scheduler's effects on the world. commit and rank may take their time: they are answered by
 * scheduler_on_committed() and scheduler_on_ranked(), now (from within the callback) or later. No other function of the
 * scheduler may be called from within a callback: messages that a peer answers at once are queued. */
typedef struct SchedulerEnv {
    void *ctx;
    Outbox outbox;
    /* Derives the schema once the first data set is known (model_schema, given by deploy/). */
    Err (*schema)(void *ctx, const Config *config, const DataInfo *data, Schema *out);
    /* Writes the manifest of a snapshot whose files the servers have written: files[i] = server i's JSON text. What
     * facts point to stays as it is until answered, facts itself does not. Training may go on meanwhile. */
    void (*commit)(void *ctx, const SnapshotFacts *facts);
    /* Sorts and ranks off the loop's thread. scores (n, n_candidates) and users (n) stay valid until answered. */
    void (*rank)(void *ctx, const RankJob *job);
    /* An epoch has been trained and evaluated: metrics.jsonl, evaluation.json, clean-up of old snapshots, progress. */
    void (*epoch_done)(void *ctx, const EpochResult *result, const char *snapshot_dir);
    /* Lines for people and for perf.jsonl. */
    void (*progress)(void *ctx, const SchedulerProgress *progress);
    /* The run is over, and no effect is unanswered. code OK: complete; ERR_STOPPED: as asked; else failed, sentence
     * says why. */
    void (*finished)(void *ctx, Err code, const char *sentence);
} SchedulerEnv;

/* Borrows config; config_text is its canonical form, which WELCOME carries. incarnation: of this process. start: NULL =
 * from nothing; copied. */
Err scheduler_open(Scheduler **out, const Config *config, const char *config_text, uint64_t incarnation,
                   const SchedulerEnv *env, const SchedulerStart *start, uint64_t now_ms) MUST_CHECK;
void scheduler_close(Scheduler **s); /* not while a commit or a ranking is unanswered */

void scheduler_on_message(Scheduler *s, uint64_t peer, Message *m, uint64_t now_ms); /* leaves m to be freed */
/* Every 100 ms or so. Time passes by ticks alone and by at most a second each: after a longer gap it was this process
 * that stood still, and nobody is declared dead for it. Deliver what has come before the tick that follows it. */
void scheduler_on_tick(Scheduler *s, uint64_t now_ms);
/* result not OK: err_message() says why; the run goes on without the snapshot. */
void scheduler_on_committed(Scheduler *s, Err result, uint64_t now_ms);
void scheduler_on_ranked(Scheduler *s, const RankJob *job, const RankingMetrics *metrics, uint64_t now_ms);
/* Finish the steps in hand, cut, snapshot, end with ERR_STOPPED. Called again: end at once. */
void scheduler_on_stop(Scheduler *s, uint64_t now_ms);
/* The peer broke the protocol below the messages, or did not read: it has been dropped. */
void scheduler_on_fault(Scheduler *s, uint64_t peer, const char *sentence, uint64_t now_ms);

#endif
