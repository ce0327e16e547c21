/* A file of a snapshot of which only parts are read: mapped, and each block compared with its hash before the first
 * look at a byte of it. */
#ifndef MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_SOURCE_H
#define MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/safetensors.h"
#include "server/snapshot/snapshot_manifest.h"

typedef struct SnapshotSource {
    const SnapshotEntry *entry; /* its size and hashes */
    char *path;
    unsigned char *bytes; /* (entry->size) the mapping */
    uint8_t *checked;     /* bit per block */
    Safetensors *tensors; /* of the mapping; its header has been checked */
} SnapshotSource;

/* Borrows the entry. ERR_CORRUPT where the file is not there, has another size, or its header is damaged; ERR_IO. */
Err snapshot_source_open(SnapshotSource *f, const char *dir, const SnapshotEntry *entry) MUST_CHECK;
void snapshot_source_close(SnapshotSource *f); /* of a zeroed struct is legal */

/* Compares the blocks of these bytes of the mapping that nobody has compared yet. ERR_CORRUPT names file and block. */
Err snapshot_source_check(SnapshotSource *f, const void *from, uint64_t size) MUST_CHECK;
uint64_t snapshot_source_checked(const SnapshotSource *f); /* blocks */

#endif
