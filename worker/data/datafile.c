/* The binary files of a prepared data set. */
#include "worker/data/datafile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/log.h"
#include "worker/data/dataset.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the files are little-endian and mapped as they are");

static const char MAGIC[8] = "MGRVDATA";

static const size_t ELEMENT_BYTES[DATAFILE_KINDS][DATAFILE_SECTIONS] = {
    [DATAFILE_NAMES] = {sizeof(uint64_t), 1, 1},
    [DATAFILE_EVENTS] = {sizeof(UserRange), sizeof(int64_t), sizeof(uint32_t)},
    [DATAFILE_INSTANCES] = {sizeof(uint32_t), sizeof(Instance), sizeof(uint32_t)},
    [DATAFILE_TARGETS] = {sizeof(uint32_t), 1, 1},
};

#define DOMAIN_FILES(X)                                                                                                \
    {"events_" X ".bin", DATAFILE_EVENTS}, {"targets_" X ".bin", DATAFILE_TARGETS},                                    \
        {"train_" X ".bin", DATAFILE_INSTANCES}, {"valid_warm_" X ".bin", DATAFILE_INSTANCES},                         \
        {"test_warm_" X ".bin", DATAFILE_INSTANCES}, {"valid_all_" X ".bin", DATAFILE_INSTANCES}, {                    \
        "test_all_" X ".bin", DATAFILE_INSTANCES                                                                       \
    }

const DatafileName DATA_FILES[N_DATA_FILES] = {
    {"items.bin", DATAFILE_NAMES}, {"users.bin", DATAFILE_NAMES}, DOMAIN_FILES("A"), DOMAIN_FILES("B")};

typedef struct Header {
    char magic[8];
    uint32_t version;
    uint32_t kind;
    uint64_t fingerprint;
    uint64_t count[DATAFILE_SECTIONS];
    uint64_t reserved[2]; /* 0 */
} Header;
_Static_assert(sizeof(Header) == DATAFILE_HEADER, "the header is part of the format");

static uint64_t padded(uint64_t bytes) {
    return (bytes + DATAFILE_ALIGN - 1) / DATAFILE_ALIGN * DATAFILE_ALIGN;
}

uint64_t datafile_size(DatafileKind kind, const Datafile *file) {
    uint64_t bytes = DATAFILE_HEADER;
    for (int s = 0; s < DATAFILE_SECTIONS; s++)
        bytes += padded(file->count[s] * ELEMENT_BYTES[kind][s]);
    return bytes;
}

typedef struct Writer {
    FILE *file;
    XXH3_state_t *hash;
    bool has_failed;
} Writer;

static void put(Writer *w, const void *data, size_t bytes) {
    static const char zeros[DATAFILE_ALIGN];
    size_t pad = padded(bytes) - bytes;
    if (bytes == 0)
        return;
    XXH3_64bits_update(w->hash, data, bytes);
    XXH3_64bits_update(w->hash, zeros, pad);
    w->has_failed |= fwrite(data, 1, bytes, w->file) != bytes || fwrite(zeros, 1, pad, w->file) != pad;
}

Err datafile_write(const char *dir, const char *name, DatafileKind kind, uint64_t fingerprint, const Datafile *file,
                   uint64_t *hash) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    Writer w = {.file = fopen(path, "wbe"), .hash = XXH3_createState()};
    if (!w.hash)
        log_die(ERR_MEMORY, "cannot allocate the checksum of %s", path);
    if (!w.file) {
        XXH3_freeState(w.hash);
        return err_fail(ERR_IO, "cannot write %s: %s", path, strerror(errno));
    }
    XXH3_64bits_reset(w.hash);
    Header header = {.version = DATAFILE_VERSION, .kind = kind, .fingerprint = fingerprint};
    memcpy(header.magic, MAGIC, sizeof MAGIC);
    memcpy(header.count, file->count, sizeof header.count);
    put(&w, &header, sizeof header);
    for (int s = 0; s < DATAFILE_SECTIONS; s++)
        put(&w, file->section[s], file->count[s] * ELEMENT_BYTES[kind][s]);
    *hash = XXH3_64bits_digest(w.hash);
    XXH3_freeState(w.hash);
    w.has_failed |= fflush(w.file) != 0 || fsync(fileno(w.file)) != 0;
    w.has_failed |= fclose(w.file) != 0;
    return w.has_failed ? err_fail(ERR_IO, "cannot write %s: %s", path, strerror(errno)) : OK;
}

static Err map_file(Datafile *out, const char *path) {
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_fail(ERR_DATA, "cannot open %s: %s", path, strerror(errno));
    if (fstat(fd, &info) || !S_ISREG(info.st_mode) || info.st_size < DATAFILE_HEADER) {
        close(fd);
        return err_fail(ERR_DATA, "%s is no data file: it is shorter than a header of %d bytes", path, DATAFILE_HEADER);
    }
    out->size_bytes = (size_t)info.st_size;
    out->map = mmap(NULL, out->size_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (out->map == MAP_FAILED) {
        out->map = NULL;
        return err_fail(ERR_IO, "cannot map %s: %s", path, strerror(errno));
    }
    return OK;
}

/* Sets the sections from the header's counts; the sizes they imply must give the size of the file. */
static Err find_sections(Datafile *f, const char *path, const Header *header, DatafileKind kind) {
    uint64_t at = DATAFILE_HEADER;
    for (int s = 0; s < DATAFILE_SECTIONS; s++) {
        uint64_t left = f->size_bytes - at, bytes = header->count[s] * ELEMENT_BYTES[kind][s];
        if (header->count[s] > left / ELEMENT_BYTES[kind][s] || padded(bytes) > left)
            return err_fail(ERR_DATA, "%s is truncated: section %d of %llu entries does not fit in its %zu bytes", path,
                            s, (unsigned long long)header->count[s], f->size_bytes);
        f->section[s] = (const char *)f->map + at;
        f->count[s] = header->count[s];
        at += padded(bytes);
    }
    if (at != f->size_bytes)
        return err_fail(ERR_DATA, "%s has %zu bytes where its header promises %llu", path, f->size_bytes,
                        (unsigned long long)at);
    return OK;
}

static Err check_header(Datafile *f, const char *path, DatafileKind kind, uint64_t fingerprint) {
    Header header;
    memcpy(&header, f->map, sizeof header);
    if (memcmp(header.magic, MAGIC, sizeof MAGIC))
        return err_fail(ERR_DATA, "%s is no file of a prepared data set: its magic number is wrong", path);
    if (header.version != DATAFILE_VERSION)
        return err_fail(ERR_DATA, "%s has format version %u, this program reads %d: prepare the data again", path,
                        header.version, DATAFILE_VERSION);
    if (header.kind != (uint32_t)kind)
        return err_fail(ERR_DATA, "%s is a file of kind %u where kind %d is expected", path, header.kind, kind);
    if (header.fingerprint != fingerprint)
        return err_fail(ERR_DATA, "%s belongs to data set %016llx, the manifest to %016llx", path,
                        (unsigned long long)header.fingerprint, (unsigned long long)fingerprint);
    return find_sections(f, path, &header, kind);
}

Err datafile_map(Datafile *out, const char *dir, const char *name, DatafileKind kind, uint64_t fingerprint) {
    char path[PATH_MAX];
    *out = (Datafile){0};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    Err err = map_file(out, path);
    if (!err)
        err = check_header(out, path, kind, fingerprint);
    if (err)
        datafile_unmap(out);
    return err;
}

void datafile_unmap(Datafile *file) {
    if (file->map)
        munmap(file->map, file->size_bytes);
    *file = (Datafile){0};
}

uint64_t datafile_hash(const Datafile *file) {
    return XXH3_64bits(file->map, file->size_bytes);
}
