/* Old snapshots go, what nobody understands stays. Whoever calls sees to it that no snapshot is being written. */
#ifndef MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_PRUNE_H
#define MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_PRUNE_H

#include <stdint.h>

#include "common/err.h"
#include "common/schema.h"

/* Deletes the snapshots under snapshots_dir (names: snapshot_list.h) but the newest `keep`, each domain's best epoch
 * (0: none) and the full ones that an incremental one among them goes on from. A manifest that cannot be read keeps its
 * directory and the full snapshots before it, one of which may be its base. */
Err snapshot_prune(const char *snapshots_dir, int keep, const uint32_t best_epoch[N_DOMAINS]) MUST_CHECK;

/* Removes what writers left that did not come to a manifest:
 *   server-<digits>.<table>.safetensors  of directories without manifest.json, and the directories themselves if nothing
 *                                        else is in them
 *   <that>.tmp, manifest.json.tmp, evaluation.json.tmp, each also with .<16 hexadecimal digits>  everywhere
 * A directory with an evaluation.json and no manifest has lost it and is left alone. One that has lost its manifest
 * before it was evaluated cannot be told from an unfinished one, and goes. */
Err snapshot_sweep(const char *snapshots_dir) MUST_CHECK;

#endif
