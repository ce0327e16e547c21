/* Is a snapshot whole? Everything that its manifest promises is compared with what is on the disk, and the full
 * snapshot that it goes on from as well. Nothing stops at the first fault: all of them are listed. */
#ifndef MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_VERIFY_H
#define MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

typedef struct SnapshotCheck {
    char *dir;
    Err verdict;   /* OK, ERR_CORRUPT, or ERR_IO where something could not be read */
    char **faults; /* (n_faults) a sentence each, with the file and its block */
    size_t n_faults;
    uint64_t hash;       /* of the manifest; 0: it could not be read */
    char *base;          /* the full snapshot that this one goes on from; NULL: this one is full */
    bool is_evaluated;   /* evaluation.json is there */
    size_t n_files;      /* looked at, with the manifest, evaluation.json and those of the base */
    uint64_t n_bytes;    /* of those files */
    uint64_t elapsed_us; /* that reading and comparing took */
} SnapshotCheck;

/* dir: a snapshot. earlier (n_earlier): checks of other snapshots, so that a base among them is not read again. */
void snapshot_verify(SnapshotCheck *out, const char *dir, const SnapshotCheck *earlier, size_t n_earlier);
void snapshot_check_free(SnapshotCheck *c); /* of a zeroed struct is legal */

#endif
