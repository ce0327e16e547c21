/* The full snapshot that an incremental one goes on from. The chain has no third link: every incremental snapshot holds
 * what was touched since the last full one. */
#ifndef MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_CHAIN_H
#define MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_CHAIN_H

#include "common/err.h"
#include "server/snapshot/snapshot.h"

/* Opens it from the directory beside s; NULL where s is full. ERR_CORRUPT if it is not there, is another snapshot than
 * the one s was written from, or is not full itself. */
Err snapshot_open_base(Snapshot **out, const Snapshot *s) MUST_CHECK;

#endif
