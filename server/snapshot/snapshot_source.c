#include "server/snapshot/snapshot_source.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/log.h"
#include "common/work.h"
#include "server/snapshot/snapshot_file.h"

static Err map_file(SnapshotSource *f) {
    struct stat st;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? err_fail(ERR_CORRUPT, "%s: the manifest names it, but it is not there", f->path)
                               : err_fail(ERR_IO, "cannot open %s: %m", f->path);
    Err e = OK;
    if (fstat(fd, &st) != 0)
        e = err_fail(ERR_IO, "cannot read %s: %m", f->path);
    else if ((uint64_t)st.st_size != f->entry->size)
        e = err_fail(ERR_CORRUPT, "%s: has %jd bytes, the manifest says %" PRIu64, f->path, (intmax_t)st.st_size,
                     f->entry->size);
    void *bytes = e == OK ? mmap(NULL, f->entry->size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
    if (e == OK && bytes == MAP_FAILED)
        e = err_fail(ERR_IO, "cannot map %s: %m", f->path);
    f->bytes = e == OK ? bytes : NULL;
    close(fd);
    return e;
}

static Err check_block(SnapshotSource *f, uint64_t block) {
    uint64_t first = block * SNAPSHOT_BLOCK, left = f->entry->size - first;
    if (bitmap_get(f->checked, (uint32_t)block))
        return OK;
    if (XXH3_64bits(f->bytes + first, left < SNAPSHOT_BLOCK ? left : SNAPSHOT_BLOCK) != f->entry->hashes[block])
        return err_fail(ERR_CORRUPT, "%s: block %" PRIu64 " of %" PRIu64 " does not have the hash of the manifest",
                        f->path, block, snapshot_file_blocks(f->entry->size));
    bitmap_set(f->checked, (uint32_t)block);
    return OK;
}

Err snapshot_source_check(SnapshotSource *f, const void *from, uint64_t size) {
    uint64_t first = (uint64_t)((const unsigned char *)from - f->bytes);
    assert(first <= f->entry->size && size <= f->entry->size - first);
    Err e = OK;
    for (uint64_t block = first / SNAPSHOT_BLOCK; size && e == OK && block <= (first + size - 1) / SNAPSHOT_BLOCK;
         block++)
        e = check_block(f, block);
    return e;
}

uint64_t snapshot_source_checked(const SnapshotSource *f) {
    return bitmap_count(f->checked, (uint32_t)snapshot_file_blocks(f->entry->size));
}

/* The length of the header stands in the first block. */
static Err check_header(SnapshotSource *f) {
    uint64_t header, size = f->entry->size;
    Err e = snapshot_source_check(f, f->bytes, size < sizeof header ? size : sizeof header);
    if (e != OK || size < sizeof header)
        return e;
    memcpy(&header, f->bytes, sizeof header);
    if (header > size - sizeof header)
        return err_fail(ERR_CORRUPT, "%s: a header of %" PRIu64 " bytes does not fit into its %" PRIu64, f->path,
                        header, size);
    return snapshot_source_check(f, f->bytes, sizeof header + header);
}

Err snapshot_source_open(SnapshotSource *f, const char *dir, const SnapshotEntry *entry) {
    *f = (SnapshotSource){.entry = entry, .path = snapshot_path(dir, entry->file)};
    f->checked = must_calloc(bitmap_bytes((uint32_t)snapshot_file_blocks(entry->size)) + 1, 1);
    Err e = map_file(f);
    if (e == OK)
        e = check_header(f);
    if (e == OK)
        e = safetensors_parse(&f->tensors, f->bytes, entry->size, f->path);
    if (e != OK)
        snapshot_source_close(f);
    return e == ERR_DATA ? ERR_CORRUPT : e;
}

void snapshot_source_close(SnapshotSource *f) {
    safetensors_close(&f->tensors);
    if (f->bytes)
        munmap(f->bytes, f->entry->size);
    free(f->checked);
    free(f->path);
    *f = (SnapshotSource){0};
}
