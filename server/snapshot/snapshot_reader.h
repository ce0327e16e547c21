/* One file of a snapshot (snapshot.h: its tensors), verified, mapped, and checked row by row. */
#ifndef MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_READER_H
#define MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_READER_H

#include "common/err.h"
#include "common/safetensors.h"
#include "common/schema.h"
#include "server/snapshot/snapshot_columns.h"
#include "server/snapshot/snapshot_manifest.h"

typedef struct SnapshotReader {
    Safetensors *tensors; /* owns the mapping */
    char *path;
    SnapshotColumns at; /* in the mapping */
} SnapshotReader;

/* Every block has its hash, the columns fit each other, and each row stands where it belongs. ERR_CORRUPT, ERR_IO. */
Err snapshot_reader_open(SnapshotReader *t, const Snapshot *s, const SnapshotEntry *entry,
                         const Schema *schema) MUST_CHECK;
void snapshot_reader_close(SnapshotReader *t); /* of a zeroed struct is legal */

#endif
