/* run.dir before a run is opened in it; its lock is held. */
#ifndef MANGROVE_SERVER_RUN_RESUME_H
#define MANGROVE_SERVER_RUN_RESUME_H

#include "common/config.h"
#include "common/err.h"
#include "server/snapshot/snapshot_start.h"

/* Two runs in one directory would mix their metrics, and the second would clean up the first one's snapshots.
 * ERR_CONFIG. */
Err run_resume_check_unused(const Config *config) MUST_CHECK;

/* For a run that goes on from `start`. In its own directory: no whole snapshot may be newer than the start (ERR_CONFIG
 * names the newest); newer ones that are not whole are renamed NAME.damaged, what was never finished is swept away. In
 * another directory, which must be unused, or used by no more than an earlier try, the run branches off. Either way
 * metrics.jsonl then holds the lines of the epochs that were complete at the start. */
Err run_resume_prepare(const Config *config, const SnapshotStart *start) MUST_CHECK;

#endif
