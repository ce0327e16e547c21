/* A file of a snapshot: written to a temporary name, hashed block by block on the way, and read only after every block
 * has been compared with its hash.
 *
 * Its size is known before it is written and its bytes come in any order, each once: a row's numbers belong to columns
 * that lie far apart. Blocks that are not complete are kept in memory: one for each column, and one for each place
 * where two columns meet. */
#ifndef MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_FILE_H
#define MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "server/snapshot/snapshot_disk.h"

typedef struct SnapshotBlock {
    uint64_t number;
    size_t filled_bytes;
    unsigned char *bytes; /* the disk's buffer */
} SnapshotBlock;

typedef struct SnapshotFile { /* zeroed: not created */
    SnapshotDisk *disk;
    SnapshotTarget target;
    char *path, *temp; /* temp: NULL once it is gone or renamed */
    uint64_t size;
    uint64_t *hashes; /* (n_blocks), valid once it is finished */
    uint64_t n_blocks, n_full;
    SnapshotBlock *blocks; /* (block_capacity), n_open of them begun */
    int n_open, block_capacity;
} SnapshotFile;

/* Creates path.tmp.<16 random hex digits> for a file of this size. */
Err snapshot_file_create(SnapshotFile *f, SnapshotDisk *disk, const char *path, uint64_t size) MUST_CHECK;
/* Bytes [offset, offset + n) of the file, which were not put before. A failure shows at the end, so that rows can be
 * streamed without a check for each, and soon in has_failed. */
void snapshot_file_put(SnapshotFile *f, uint64_t offset, const void *data, size_t n);
bool snapshot_file_has_failed(const SnapshotFile *f);
/* Every byte has been put, or the file has failed. fsync, once: after a failed one nobody knows what is on the disk. On
 * failure the temporary file is removed. size and hashes stay valid. */
Err snapshot_file_finish(SnapshotFile *f) MUST_CHECK;
/* Of a finished file: rename. The directory is the caller's to sync. On failure the temporary file is removed. */
Err snapshot_file_commit(SnapshotFile *f) MUST_CHECK;
/* Removes a temporary file that was not committed; frees everything. */
void snapshot_file_free(SnapshotFile *f);

static inline uint64_t snapshot_file_blocks(uint64_t size) {
    return size / SNAPSHOT_BLOCK + (size % SNAPSHOT_BLOCK != 0);
}

/* Compares size and every block. ERR_CORRUPT names file and block; ERR_IO. */
Err snapshot_file_verify(const char *path, uint64_t size, const uint64_t *hashes) MUST_CHECK;

#endif
