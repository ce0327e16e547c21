/* Snapshots on disk. One directory each:
 *
 *   manifest.json                    renamed in last: the commit
 *   evaluation.json                  metrics of the pass after it: beside the manifest, with its hash and, at
 *                                    the end, its own (from version 2 of the manifest on)
 *   server-<rank>.<table>.safetensors  one per server and table (only tables with rows)
 *
 * A table's file is a safetensors file whose data start at a multiple of 64 bytes; rows sorted by (slot, row):
 *   rows    U64 (n)            row ids
 *   slots   U64 (N_SLOTS + 1)  index of each slot's first row
 *   values  F32 (n, width)
 *   m.A v.A m.B v.B  F32 (n, width)   moment sets, those that the table has
 * The manifest (snapshot_manifest.h) names every file with its size and XXH3 hashes of its 1 MiB blocks; it carries
 * epoch, bitmaps, t, seed, configuration, schema, the data set's manifest and its own hash. */
#ifndef MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_H
#define MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "common/config.h"
#include "common/datainfo.h"
#include "common/err.h"
#include "common/ranking.h"
#include "common/schema.h"
#include "server/run_facts.h"
#include "server/store/store_cut.h"

/* A server's part: writes its files into dir (created if missing): temp, fsync, rename, fsync of the directory.
 * files_json: JSON text for the manifest (files and schema), caller frees. ERR_IO, also where dir is a committed
 * snapshot. On the cut's reader thread; a cut is written once. useless (or NULL): set by another thread when nobody
 * waits for the files any more; ends the writing soon with ERR_STOPPED, and from then on nothing is renamed. */
Err snapshot_write_tables(StoreCut *cut, const Schema *schema, uint32_t rank, const char *dir, atomic_bool *useless,
                          char **files_json) MUST_CHECK;

/* The snapshot that a run was begun from. */
typedef struct SnapshotParent {
    const char *kind; /* "resume" or "init" */
    const char *dir;
    uint64_t hash; /* of its manifest */
} SnapshotParent;

/* The scheduler's part: the manifest from the servers' files and facts; checked by its own reader, written, fsynced,
 * renamed. parent NULL: the run was begun from nothing. A failure leaves no manifest. ERR_PROTOCOL where a server's
 * part is no such text or of another schema; ERR_CORRUPT where the base is not the full snapshot of facts->base_cut;
 * ERR_IO, also where a file is not there in the size that its server tells, or the snapshot is committed already. */
Err snapshot_commit(const SnapshotFacts *facts, const char *config_text, const SnapshotParent *parent) MUST_CHECK;

/* evaluation.json beside the manifest. */
Err snapshot_write_evaluation(const char *dir, const EpochResult *result, const Config *config) MUST_CHECK;

/* An opened snapshot: checked manifest. */
typedef struct Snapshot Snapshot;
Err snapshot_open(Snapshot **out, const char *dir) MUST_CHECK; /* ERR_CORRUPT, ERR_IO */
void snapshot_close(Snapshot **s);
const Config *snapshot_config(const Snapshot *s);
const char *snapshot_config_text(const Snapshot *s);
const DataInfo *snapshot_data(const Snapshot *s);
uint32_t snapshot_epoch(const Snapshot *s);
uint64_t snapshot_seed(const Snapshot *s); /* of initial values */
/* Loads every row, whichever servers wrote them, and restores epoch, bits and t: snapshot_load_rows (snapshot_load.h)
 * to resume, without a slot map. */
Err snapshot_load(const Snapshot *s, const Schema *schema, Store *store) MUST_CHECK;

#endif
