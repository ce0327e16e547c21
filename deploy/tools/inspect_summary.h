/* What a snapshot is, without its rows: from its manifest, its evaluation, and the manifests that it comes from. */
#ifndef MANGROVE_DEPLOY_TOOLS_INSPECT_SUMMARY_H
#define MANGROVE_DEPLOY_TOOLS_INSPECT_SUMMARY_H

#include <jansson.h>

#include "common/err.h"
#include "server/snapshot/snapshot.h"

/* New reference:
 *   snapshot, manifest (its hash), version, program, epoch, is_epoch_end, cut, kind "full"|"incremental"
 *   base  null or {dir, hash, cut}; lineage  [{kind "resume"|"init", dir, hash, is_here}, ..], the parent first
 *   seed, servers, files, bytes, steps {A: {done, all, t}, B: ..}, data {fingerprint, items, users, chunks}
 *   config (object), evaluation (evaluation.json, or null where there is none of this manifest) */
json_t *inspect_summary(const Snapshot *s);
void inspect_summary_print(const json_t *summary);
/* One line of a run's list. */
void inspect_summary_print_line(const json_t *summary);

#endif
