/* A file of a snapshot: written to a temporary name, hashed block by block on the way, and read only after every block
 * has been compared with its hash. */
#ifndef MANGROVE_SERVER_SNAPSHOT_FILE_H
#define MANGROVE_SERVER_SNAPSHOT_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum { SNAPSHOT_BLOCK = 1 << 20 }; /* bytes with a hash of their own: XXH3, 64 bits */

typedef struct SnapshotFile {
    int fd;
    char *path, *temp;
    unsigned char *block;
    size_t used_bytes; /* of block */
    uint64_t size;     /* of the file so far */
    uint64_t *hashes;
    size_t n_hashes, hash_capacity;
    Err error; /* the first: later writes do nothing */
} SnapshotFile;

/* Creates path.tmp. */
Err snapshot_file_create(SnapshotFile *f, const char *path) MUST_CHECK;
/* Appends. A failure is kept until the commit, so that a column can be streamed without a check per row. */
void snapshot_file_write(SnapshotFile *f, const void *data, size_t size);
/* The rest, fsync (once: after a failed one nobody knows what is on the disk), rename. The directory is the caller's to
 * sync. On failure the temporary file is removed. size and hashes stay valid. */
Err snapshot_file_commit(SnapshotFile *f) MUST_CHECK;
/* Removes a temporary file that was not committed; frees everything. */
void snapshot_file_free(SnapshotFile *f);

static inline uint64_t snapshot_file_blocks(uint64_t size) {
    return size / SNAPSHOT_BLOCK + (size % SNAPSHOT_BLOCK != 0);
}

/* Compares size and every block. ERR_CORRUPT names file and block; ERR_IO. */
Err snapshot_file_verify(const char *path, uint64_t size, const uint64_t *hashes) MUST_CHECK;

#endif
