/* `train --local`: the scheduler's policy, a server's store and a worker's trainer in this process and on this thread,
 * without a wire. */
#ifndef MANGROVE_DEPLOY_LOCAL_H
#define MANGROVE_DEPLOY_LOCAL_H

#include "common/config.h"
#include "common/err.h"
#include "server/snapshot/snapshot_start.h"

/* Trains as the configuration says, whatever cluster.servers and cluster.workers are, and writes what a cluster's
 * scheduler writes. start NULL: from nothing. Ctrl-C and SIGTERM: snapshot, ERR_STOPPED. Prints the sentence of a
 * failure itself. */
Err local_train(const Config *config, const SnapshotStart *start) MUST_CHECK;

#endif
