/* The scheduler as a process: the state machine between a link for all roles, the disk and the terminal. */
#ifndef MANGROVE_SERVER_SCHEDULER_SHELL_H
#define MANGROVE_SERVER_SCHEDULER_SHELL_H

#include <stdbool.h>

#include "common/config.h"
#include "common/datainfo.h"
#include "common/err.h"
#include "common/schema.h"
#include "server/snapshot/snapshot_start.h"

typedef struct SchedulerRunOptions {
    const char *bind;      /* tcp://address:port; NULL: cluster.bind */
    const char *advertise; /* tcp://address[:port]; NULL: cluster.advertise, or derived from what was bound */
    bool insecure;         /* like cluster.insecure: allows an address that is not private to this host */
    Err (*schema)(void *ctx, const Config *config, const DataInfo *data, Schema *out);
    void *ctx;
    const SnapshotStart *start; /* NULL: from nothing */
} SchedulerRunOptions;

/* Runs a training to its end. The first line on stdout is "scheduler ENDPOINT", which is also in
 * run.dir/scheduler.endpoint; what follows are tables of metrics (run_record.h). SIGINT or SIGTERM: steps in hand are
 * finished, a snapshot is written, ERR_STOPPED; a second one ends at once. Not OK: err_message() is the cause. */
Err scheduler_run(const Config *config, const SchedulerRunOptions *options) MUST_CHECK;

#endif
