/* The rows of a snapshot into a store: all of them, or those of the slots that a server holds now, whoever wrote them.
 * Only the byte ranges of those slots are read. An incremental snapshot's rows lie over those of its base. */
#ifndef MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_LOAD_H
#define MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_LOAD_H

#include <stdint.h>

#include "common/config.h"
#include "common/err.h"
#include "common/schema.h"
#include "proto/message.h"
#include "server/snapshot/snapshot.h"
#include "server/store/store.h"

typedef struct SnapshotLoad {
    Restore restore;          /* what for: not RESTORE_NONE */
    const uint16_t *slot_map; /* (N_SLOTS) the server that holds a slot now; NULL: all rows are loaded */
    uint32_t rank;            /* of the server that loads */
} SnapshotLoad;

/* Fills a store without rows. Before the first one every block that is looked at has been compared with its hash.
 *   RESTORE_RESUME  rows, moments, epoch, bits and t. The schema must be the snapshot's: its tensors are compared
 *                   (ERR_DATA). A store without moments (sgd) takes the values alone.
 *   RESTORE_INIT    rows alone: moments and t are 0, no epoch is open, sums begin at 0. Item tables may have grown.
 *   RESTORE_INIT_MOMENTS  likewise, with moments and t; ERR_DATA where the snapshot has not the moments of the store.
 * ERR_CORRUPT names file and block or row; ERR_IO. n_rows: (tables of the schema) out, rows in the store; or NULL. */
Err snapshot_load_rows(const Snapshot *s, const Schema *schema, Store *store, const SnapshotLoad *how,
                       uint64_t *n_rows) MUST_CHECK;

/* Opens a store with the seed of the snapshot in dir and fills it. Nothing is left open on failure. */
Err snapshot_load_store(Store **out, const char *dir, const Schema *schema, const OptimizerConfig *optimizer,
                        uint32_t ranks, const SnapshotLoad *how, uint64_t *n_rows) MUST_CHECK;

/* The tensors of the snapshot are those of the schema; may_grow: an item table may have more rows now. ERR_DATA names
 * the first that differs. */
Err snapshot_check_schema(const Snapshot *s, const Schema *schema, bool may_grow) MUST_CHECK;

#endif
