/* Block-hashed files. */
#include "server/snapshot/snapshot_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/log.h"

/* Nobody else's, even where two write the same snapshot: a process whose run has ended may not know it yet. */
static Err name_temporary(SnapshotFile *f) {
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return err_fail(ERR_IO, "cannot get random bytes to name a file of a snapshot: %m");
    size_t size = strlen(f->path) + sizeof ".tmp." + 16;
    f->temp = must_alloc(size);
    snprintf(f->temp, size, "%s.tmp.%016" PRIx64, f->path, random);
    return OK;
}

static int open_temporary(const char *path, int flags) {
    return open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | flags, 0644);
}

static Err create_temporary(SnapshotFile *f) {
    Err err = name_temporary(f);
    if (err)
        return err;
    f->target.fd = open_temporary(f->temp, O_DIRECT);
    f->target.is_direct = f->target.fd >= 0;
    if (f->target.fd < 0 && errno == EINVAL) { /* a file system that always goes through the cache */
        unlink(f->temp);                       /* it may have made the name all the same */
        f->target.fd = open_temporary(f->temp, 0);
    }
    return f->target.fd < 0 ? err_fail(ERR_IO, "cannot create %s: %m", f->temp) : OK;
}

Err snapshot_file_create(SnapshotFile *f, SnapshotDisk *disk, const char *path, uint64_t size) {
    *f = (SnapshotFile){.disk = disk, .path = must_strdup(path), .size = size, .target.fd = -1};
    f->n_blocks = snapshot_file_blocks(size);
    f->hashes = must_alloc((f->n_blocks + 1) * sizeof *f->hashes);
    Err err = create_temporary(f);
    if (err) {
        free(f->temp); /* not there, or not ours */
        f->temp = NULL;
        snapshot_file_free(f);
    }
    return err;
}

static size_t block_bytes(const SnapshotFile *f, uint64_t number) {
    uint64_t left = f->size - number * SNAPSHOT_BLOCK;
    return left < SNAPSHOT_BLOCK ? left : SNAPSHOT_BLOCK;
}

/* NULL: no memory, and the file has failed. */
static SnapshotBlock *open_block(SnapshotFile *f, uint64_t number) {
    for (int i = 0; i < f->n_open; i++)
        if (f->blocks[i].number == number)
            return &f->blocks[i];
    if (f->n_open == f->block_capacity) {
        f->block_capacity = 2 * f->block_capacity + 4;
        f->blocks = must_realloc(f->blocks, (size_t)f->block_capacity * sizeof *f->blocks);
    }
    unsigned char *bytes = snapshot_disk_buffer(f->disk);
    int none = 0;
    if (!bytes) {
        atomic_compare_exchange_strong(&f->target.error, &none, ENOMEM);
        return NULL;
    }
    SnapshotBlock *b = &f->blocks[f->n_open++];
    *b = (SnapshotBlock){.number = number, .bytes = bytes};
    return b;
}

static void write_block(SnapshotFile *f, SnapshotBlock *b) {
    snapshot_disk_write(f->disk, &f->target, b->number * SNAPSHOT_BLOCK, b->bytes, b->filled_bytes,
                        &f->hashes[b->number]);
    *b = f->blocks[--f->n_open];
    f->n_full++;
}

void snapshot_file_put(SnapshotFile *f, uint64_t offset, const void *data, size_t n) {
    const unsigned char *from = data;
    assert(offset <= f->size && n <= f->size - offset);
    while (n) {
        uint64_t number = offset / SNAPSHOT_BLOCK;
        size_t at = offset % SNAPSHOT_BLOCK, part = n < SNAPSHOT_BLOCK - at ? n : SNAPSHOT_BLOCK - at;
        SnapshotBlock *b = open_block(f, number);
        if (!b)
            return;
        memcpy(b->bytes + at, from, part);
        b->filled_bytes += part;
        if (b->filled_bytes == block_bytes(f, number))
            write_block(f, b);
        offset += part;
        from += part;
        n -= part;
    }
}

bool snapshot_file_has_failed(const SnapshotFile *f) {
    return atomic_load_explicit(&f->target.error, memory_order_relaxed) != 0;
}

static void remove_temporary(SnapshotFile *f) {
    unlink(f->temp);
    free(f->temp);
    f->temp = NULL;
}

/* Waits for the blocks, then for the disk, and closes. */
Err snapshot_file_finish(SnapshotFile *f) {
    int fd = f->target.fd, error = snapshot_disk_wait(f->disk, &f->target);
    f->target.fd = -1;
    Err err = error ? err_fail(ERR_IO, "cannot write %s: %s", f->temp, strerror(error)) : OK;
    assert(err || f->n_full == f->n_blocks);
    if (!err && fsync(fd) != 0)
        err = err_fail(ERR_IO, "cannot write %s to the disk: %m", f->temp);
    if (close(fd) != 0 && !err)
        err = err_fail(ERR_IO, "cannot close %s: %m", f->temp);
    if (err)
        remove_temporary(f);
    return err;
}

Err snapshot_file_commit(SnapshotFile *f) {
    Err err = OK;
    assert(f->temp && f->target.fd < 0);
    if (rename(f->temp, f->path) != 0) {
        err = err_fail(ERR_IO, "cannot rename %s to %s: %m", f->temp, f->path);
        remove_temporary(f);
    }
    free(f->temp);
    f->temp = NULL;
    return err;
}

void snapshot_file_free(SnapshotFile *f) {
    if (f->temp && f->target.fd >= 0) {
        snapshot_disk_wait(f->disk, &f->target);
        close(f->target.fd);
    }
    if (f->temp)
        remove_temporary(f);
    for (int i = 0; i < f->n_open; i++)
        snapshot_disk_drop(f->disk, f->blocks[i].bytes);
    free(f->blocks);
    free(f->path);
    free(f->hashes);
    *f = (SnapshotFile){.target.fd = -1};
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
