/* The snapshots that a command's argument stands for: one, or all of a run. */
#ifndef MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_LIST_H
#define MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* epoch-NNNN at an epoch's end, epoch-NNNN-step-NNNNNN within it. */
typedef struct SnapshotName {
    uint32_t epoch;
    uint32_t steps; /* of both domains; UINT32_MAX: all of the epoch's */
} SnapshotName;

bool snapshot_name_parse(const char *name, SnapshotName *out); /* false: no such name */
/* < 0, 0 or > 0 as a comes before, with or after b in the order of training. */
int snapshot_name_compare(const SnapshotName *a, const SnapshotName *b);

typedef struct SnapshotPlace {
    char *dir;
    SnapshotName name; /* of a run's snapshots alone */
} SnapshotPlace;

typedef struct SnapshotList {
    SnapshotPlace *at; /* (n) */
    size_t n;
    bool is_run;         /* the argument was a run's directory */
    size_t n_unfinished; /* directories with a snapshot's name and no manifest: being written, or given up */
} SnapshotList;

/* dir is a snapshot (it has a manifest.json), or a run: then its snapshots in the order of training. ERR_CORRUPT where
 * dir holds the files of a snapshot without their manifest; ERR_IO. */
Err snapshot_list(SnapshotList *out, const char *dir) MUST_CHECK;
/* The same of a run's directory `snapshots`: those with a manifest, or else those without. One that is not there: none.
 */
Err snapshot_list_folder(SnapshotList *out, const char *snapshots, bool has_manifest) MUST_CHECK;
const char *snapshot_place_name(const SnapshotPlace *place); /* the last part of its path */
void snapshot_list_free(SnapshotList *list);                 /* of a zeroed struct is legal */

#endif
