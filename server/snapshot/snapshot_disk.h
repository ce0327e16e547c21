/* The disk's side of a snapshot's files: threads that hash and write whole blocks while others are being filled.
 *
 * Writing goes past the page cache where the file system lets it (O_DIRECT): copying into the cache cost more processor
 * time than all else together, and would push out the data that training reads. */
#ifndef MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_DISK_H
#define MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_DISK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum {
    SNAPSHOT_BLOCK = 1 << 20, /* bytes with a hash of their own: XXH3, 64 bits */
    SNAPSHOT_DISK_QUEUE = 4,  /* blocks that wait or are being written */
};

typedef struct SnapshotDisk SnapshotDisk;

/* Where blocks go. */
typedef struct SnapshotTarget {
    int fd;
    atomic_bool is_direct; /* fd has O_DIRECT */
    atomic_int error;      /* errno of the first write that failed; later ones are left out */
    uint64_t n_waiting;    /* blocks on their way; the disk's */
} SnapshotTarget;

Err snapshot_disk_open(SnapshotDisk **out) MUST_CHECK; /* ERR_MEMORY */
void snapshot_disk_close(SnapshotDisk **d);            /* all targets have been waited for */

/* SNAPSHOT_BLOCK bytes to be filled; waits while the queue is full. NULL: no memory. Goes back by write or drop. */
unsigned char *snapshot_disk_buffer(SnapshotDisk *d);
void snapshot_disk_drop(SnapshotDisk *d, unsigned char *buffer);
/* Takes the buffer: its first n bytes are hashed and go to offset, a multiple of SNAPSHOT_BLOCK. hash: valid after the
 * wait. */
void snapshot_disk_write(SnapshotDisk *d, SnapshotTarget *t, uint64_t offset, unsigned char *buffer, size_t n,
                         uint64_t *hash);
/* Until every block of the target is written or left out. Returns the target's error. */
int snapshot_disk_wait(SnapshotDisk *d, SnapshotTarget *t);

#endif
