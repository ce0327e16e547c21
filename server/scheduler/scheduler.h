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
#ifndef MANGROVE_SERVER_SCHEDULER_SCHEDULER_H
#define MANGROVE_SERVER_SCHEDULER_SCHEDULER_H

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
#include "server/run_facts.h"

typedef struct Scheduler Scheduler;

typedef struct RankJob {
    int domain;
    Split split;
    uint32_t n, n_candidates;
    const float *scores;
    const uint32_t *users;
} RankJob;

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
/* A signal: finish the steps in hand, cut, snapshot, end with ERR_STOPPED. Called again: end at once; STOP_ASK does not
 * count. */
void scheduler_on_stop(Scheduler *s, uint64_t now_ms);
/* The peer broke the protocol below the messages, or did not read: it has been dropped. */
void scheduler_on_fault(Scheduler *s, uint64_t peer, const char *sentence, uint64_t now_ms);

#endif
