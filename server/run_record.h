/* What a run leaves behind and says, the same for a cluster's scheduler and for `train --local`:
 *
 *   run.dir/lock             held while the run lives: one run at a time
 *   run.dir/config.yaml      the effective configuration
 *   run.dir/metrics.jsonl    a line per epoch: only what is deterministic in sync
 *   run.dir/perf.jsonl       rates, times and bytes, every ten seconds and at every epoch's end
 *   run.dir/snapshots/       snapshot.h
 *
 * metrics.jsonl:  {"epoch": 1, "A": {"loss", "regulariser", "watch", "steps", "best_epoch", "stale",
 *                 "valid": metrics_json.h, "test": the same or null}, "B": {..}}
 * perf.jsonl:     {"seconds", "epoch", "phase", "steps_done", "steps", "instances", "instances_per_s", "workers",
 *                 "servers", "rows", "bytes", "sent_bytes", "received_bytes"} */
#ifndef MANGROVE_SERVER_RUN_RECORD_H
#define MANGROVE_SERVER_RUN_RECORD_H

#include "common/config.h"
#include "common/datainfo.h"
#include "common/err.h"
#include "server/scheduler/scheduler.h"
#include "server/snapshot/snapshot_start.h"

typedef struct RunRecord RunRecord;

/* Creates run.dir and makes its path absolute, as processes with another working directory need it. */
Err run_record_directory(Config *config) MUST_CHECK;

/* Takes the lock. ERR_CONFIG if another run has it, or if the directory holds an earlier run: nothing is overwritten.
 * start NULL: from nothing. A run that is resumed goes on in its own directory, or in an unused one (run_resume.h).
 * Borrows all. */
Err run_record_open(RunRecord **out, const Config *config, const char *config_text,
                    const SnapshotStart *start) MUST_CHECK;
void run_record_close(RunRecord **r);

/* The scheduler's effects. The first two write to the disk and may run on another thread, one at a time: the manifest,
 * and the clean-up of old snapshots; the line in metrics.jsonl, evaluation.json in snapshot_dir (NULL, or
 * another run's: none) and the clean-up again, as the best epochs may be others now. */
Err run_record_commit(RunRecord *r, const SnapshotFacts *facts) MUST_CHECK;
Err run_record_write_epoch(RunRecord *r, const EpochResult *result, const char *snapshot_dir) MUST_CHECK;
void run_record_show_epoch(RunRecord *r, const EpochResult *result);
void run_record_progress(RunRecord *r, const SchedulerProgress *progress);

/* write_epoch, whose failure is said and the run goes on, and show_epoch. */
void run_record_epoch(RunRecord *r, const EpochResult *result, const char *snapshot_dir);

/* At the end: a table of the test metrics at each domain's best epoch, beside those of the probes. */
void run_record_finish(RunRecord *r, const DataInfo *data);

#endif
