/* What a run begins from, if not from nothing: a snapshot, verified whole before anything starts. */
#ifndef MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_START_H
#define MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_START_H

#include "common/datainfo.h"
#include "common/err.h"
#include "common/schema.h"
#include "server/run_facts.h"
#include "server/snapshot/snapshot.h"

typedef struct SnapshotStart {
    Snapshot *snapshot;
    SchedulerStart scheduler;  /* its dir is absolute */
    SnapshotParent parent;     /* for the manifests of the run */
    char run_dir[CONFIG_PATH]; /* absolute, of the run that the snapshot belongs to; "": it stands alone */
} SnapshotStart;

/* path: a snapshot, or the directory of a run: then its newest snapshot that is whole, and a warning names each newer
 * one that was passed over. Every block of every file of the chain is compared with its hash. To resume, standing comes
 * from evaluation.json where it is whole and belongs to the manifest, else from the manifest: the epoch is then
 * evaluated again, with a warning where there was a file. ERR_CORRUPT, ERR_IO; ERR_DATA where a manifest of version 1
 * does not tell the standing. */
Err snapshot_start_open(SnapshotStart *out, const char *path, Restore restore) MUST_CHECK;
void snapshot_start_close(SnapshotStart *s); /* of a zeroed struct is legal */

/* The whole chain, block by block. */
Err snapshot_start_verify(const Snapshot *s) MUST_CHECK;

/* May the run go on with these data? Resumed, its tables are the snapshot's (that the data are, the scheduler checks).
 * For --init the ids must have been kept: the data set is the snapshot's or has it among its bases, and its tables are
 * the snapshot's or longer. ERR_DATA. */
Err snapshot_start_check(const SnapshotStart *s, const DataInfo *data, const Schema *schema) MUST_CHECK;

/* Says where the run begins, and for --init what is taken over and what is new, a line per item table. Reads their
 * rows. */
void snapshot_start_tell(const SnapshotStart *s, const Schema *schema);

#endif
