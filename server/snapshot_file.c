/* Block-hashed files. */
#include "server/snapshot_file.h"

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

Err snapshot_file_create(SnapshotFile *f, const char *path) {
    *f = (SnapshotFile){.path = must_strdup(path), .temp = must_alloc(strlen(path) + sizeof ".tmp")};
    sprintf(f->temp, "%s.tmp", path);
    f->block = must_alloc(SNAPSHOT_BLOCK);
    f->fd = open(f->temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (f->fd < 0) {
        f->error = err_fail(ERR_IO, "cannot create %s: %m", f->temp);
        snapshot_file_free(f);
        return ERR_IO;
    }
    return OK;
}

static void write_block(SnapshotFile *f) {
    if (f->n_hashes == f->hash_capacity) {
        f->hash_capacity += f->hash_capacity / 2 + 16;
        f->hashes = must_realloc(f->hashes, f->hash_capacity * sizeof *f->hashes);
    }
    f->hashes[f->n_hashes++] = XXH3_64bits(f->block, f->used_bytes);
    for (size_t done = 0; done < f->used_bytes && f->error == OK;) {
        ssize_t n = write(f->fd, f->block + done, f->used_bytes - done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            f->error = err_fail(ERR_IO, "cannot write %s: %m", f->temp);
    }
    f->size += f->used_bytes;
    f->used_bytes = 0;
}

void snapshot_file_write(SnapshotFile *f, const void *data, size_t size) {
    const unsigned char *from = data;
    while (size && f->error == OK) {
        size_t room = SNAPSHOT_BLOCK - f->used_bytes, n = size < room ? size : room;
        memcpy(f->block + f->used_bytes, from, n);
        f->used_bytes += n;
        from += n;
        size -= n;
        if (f->used_bytes == SNAPSHOT_BLOCK)
            write_block(f);
    }
}

Err snapshot_file_commit(SnapshotFile *f) {
    if (f->used_bytes && f->error == OK)
        write_block(f);
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
    if (f->block && f->fd >= 0) {
        close(f->fd);
        unlink(f->temp);
    }
    free(f->path);
    free(f->temp);
    free(f->block);
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
