/* evaluation.json of a snapshot, as everybody reads it. */
#ifndef MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_EVALUATION_H
#define MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_EVALUATION_H

#include <jansson.h>

#include "common/err.h"
#include "server/snapshot/snapshot.h"

enum { SNAPSHOT_MAX_EVALUATION = 1 << 20 };

/* *out: a new reference, NULL where there is no such file or it fails. It must end with its own hash (beside a manifest
 * of version 1 it has none) and name this very manifest. ERR_CORRUPT where it does not, ERR_IO. */
Err snapshot_read_evaluation(const Snapshot *s, json_t **out) MUST_CHECK;

#endif
