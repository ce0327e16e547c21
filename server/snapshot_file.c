/* Block-hashed files. */
#include "server/snapshot_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/log.h"

Err snapshot_file_create(SnapshotFile *f, const char *path, uint64_t size) {
    *f = (SnapshotFile){.path = must_strdup(path), .temp = must_alloc(strlen(path) + sizeof ".tmp"), .size = size};
    sprintf(f->temp, "%s.tmp", path);
    f->n_blocks = snapshot_file_blocks(size);
    f->hashes = must_alloc((f->n_blocks + 1) * sizeof *f->hashes);
    f->fd = open(f->temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (f->fd < 0) {
        f->error = err_fail(ERR_IO, "cannot create %s: %m", f->temp);
        snapshot_file_free(f);
        return ERR_IO;
    }
    return OK;
}

static size_t block_bytes(const SnapshotFile *f, uint64_t number) {
    uint64_t left = f->size - number * SNAPSHOT_BLOCK;
    return left < SNAPSHOT_BLOCK ? left : SNAPSHOT_BLOCK;
}

/* The disk begins at once (a wish): the fsync at the end then waits for little. */
static void write_block(SnapshotFile *f, const SnapshotBlock *b) {
    off_t offset = (off_t)(b->number * SNAPSHOT_BLOCK);
    f->hashes[b->number] = XXH3_64bits(b->bytes, b->filled_bytes);
    for (size_t done = 0; done < b->filled_bytes && f->error == OK;) {
        ssize_t n = pwrite(f->fd, b->bytes + done, b->filled_bytes - done, offset + (off_t)done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            f->error = err_fail(ERR_IO, "cannot write %s: %m", f->temp);
    }
    sync_file_range(f->fd, offset, (off_t)b->filled_bytes, SYNC_FILE_RANGE_WRITE);
    f->n_written++;
}

static SnapshotBlock *open_block(SnapshotFile *f, uint64_t number) {
    for (int i = 0; i < f->n_open; i++)
        if (f->blocks[i].number == number)
            return &f->blocks[i];
    if (f->n_open == f->n_buffers) {
        f->blocks = must_realloc(f->blocks, (size_t)(f->n_buffers + 1) * sizeof *f->blocks);
        f->blocks[f->n_buffers++].bytes = must_alloc(SNAPSHOT_BLOCK);
    }
    SnapshotBlock *b = &f->blocks[f->n_open++];
    b->number = number;
    b->filled_bytes = 0;
    return b;
}

static void close_block(SnapshotFile *f, SnapshotBlock *b) {
    SnapshotBlock written = *b, *last = &f->blocks[--f->n_open];
    *b = *last;
    *last = written;
}

static void free_buffers(SnapshotFile *f) {
    for (int i = 0; i < f->n_buffers; i++)
        free(f->blocks[i].bytes);
    free(f->blocks);
    f->blocks = NULL;
    f->n_buffers = 0;
}

void snapshot_file_put(SnapshotFile *f, uint64_t offset, const void *data, size_t n) {
    const unsigned char *from = data;
    assert(offset <= f->size && n <= f->size - offset);
    while (n && f->error == OK) {
        uint64_t number = offset / SNAPSHOT_BLOCK;
        size_t at = offset % SNAPSHOT_BLOCK, part = n < SNAPSHOT_BLOCK - at ? n : SNAPSHOT_BLOCK - at;
        SnapshotBlock *b = open_block(f, number);
        memcpy(b->bytes + at, from, part);
        b->filled_bytes += part;
        if (b->filled_bytes == block_bytes(f, number)) {
            write_block(f, b);
            close_block(f, b);
            if (f->n_written == f->n_blocks)
                free_buffers(f);
        }
        offset += part;
        from += part;
        n -= part;
    }
}

Err snapshot_file_commit(SnapshotFile *f) {
    assert(f->error != OK || f->n_written == f->n_blocks);
    if (f->error == OK && fsync(f->fd) != 0)
        f->error = err_fail(ERR_IO, "cannot write %s to the disk: %m", f->temp);
    int fd = f->fd;
    f->fd = -1;
    if (close(fd) != 0 && f->error == OK)
        f->error = err_fail(ERR_IO, "cannot close %s: %m", f->temp);
    if (f->error == OK && rename(f->temp, f->path) != 0)
        f->error = err_fail(ERR_IO, "cannot rename %s to %s: %m", f->temp, f->path);
    if (f->error != OK)
        unlink(f->temp);
    return f->error;
}

void snapshot_file_free(SnapshotFile *f) {
    if (f->temp && f->fd >= 0) {
        close(f->fd);
        unlink(f->temp);
    }
    free_buffers(f);
    free(f->path);
    free(f->temp);
    free(f->hashes);
    *f = (SnapshotFile){.fd = -1};
}

/* Fills the block as far as the file goes; -1 and errno on failure. */
static ssize_t read_block(int fd, unsigned char *block) {
    size_t used = 0;
    while (used < SNAPSHOT_BLOCK) {
        ssize_t n = read(fd, block + used, SNAPSHOT_BLOCK - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        used += (size_t)n;
    }
    return (ssize_t)used;
}

/* Names the first damaged block, and says how many there are. */
static Err verify_blocks(int fd, const char *path, uint64_t size, const uint64_t *hashes, unsigned char *block) {
    uint64_t n_blocks = snapshot_file_blocks(size), first = 0, n_bad = 0;
    for (uint64_t i = 0; i < n_blocks; i++) {
        ssize_t n = read_block(fd, block);
        if (n < 0)
            return err_fail(ERR_IO, "cannot read %s: %m", path);
        if (XXH3_64bits(block, (size_t)n) != hashes[i] && n_bad++ == 0)
            first = i;
    }
    if (n_bad == 0)
        return OK;
    char others[64] = "";
    if (n_bad > 1)
        snprintf(others, sizeof others, ", nor do %" PRIu64 " behind it", n_bad - 1);
    return err_fail(ERR_CORRUPT, "%s: block %" PRIu64 " of %" PRIu64 " does not have the hash of the manifest%s", path,
                    first, n_blocks, others);
}

Err snapshot_file_verify(const char *path, uint64_t size, const uint64_t *hashes) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? err_fail(ERR_CORRUPT, "%s: the manifest names it, but it is not there", path)
                               : err_fail(ERR_IO, "cannot open %s: %m", path);
    Err e = OK;
    if (fstat(fd, &st) != 0)
        e = err_fail(ERR_IO, "cannot read %s: %m", path);
    else if ((uint64_t)st.st_size != size)
        e = err_fail(ERR_CORRUPT, "%s: has %jd bytes, the manifest says %" PRIu64, path, (intmax_t)st.st_size, size);
    if (e == OK) {
        unsigned char *block = must_alloc(SNAPSHOT_BLOCK);
        e = verify_blocks(fd, path, size, hashes, block);
        free(block);
    }
    close(fd);
    return e;
}
