/* Old snapshots go, what nobody understands stays. Whoever calls sees to it that no snapshot is being written. */
#ifndef MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_PRUNE_H
#define MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_PRUNE_H

#include <stdint.h>

#include "common/err.h"
#include "common/schema.h"

/* Deletes the snapshots under snapshots_dir (names: snapshot_list.h) but the newest `keep`, each domain's best epoch
 * (0: none) and the full ones that an incremental one among them goes on from. A manifest that cannot be read keeps its
 * directory. */
Err snapshot_prune(const char *snapshots_dir, int keep, const uint32_t best_epoch[N_DOMAINS]) MUST_CHECK;

/* Removes what writers left that did not come to a manifest: of directories without manifest.json the files with our
 * names, and the directories themselves if nothing else is in them; temporary files everywhere. */
Err snapshot_sweep(const char *snapshots_dir) MUST_CHECK;

#endif
