/* The binary files of a prepared data set (specified in prepare.h): written whole, read by mapping. */
#ifndef MANGROVE_WORKER_DATA_DATAFILE_H
#define MANGROVE_WORKER_DATA_DATAFILE_H

#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/err.h"
#include "common/work.h"

enum { DATAFILE_VERSION = 1, DATAFILE_HEADER = 64, DATAFILE_ALIGN = 64, DATAFILE_SECTIONS = 3 };

/* Values are part of the format. */
typedef enum DatafileKind {
    DATAFILE_NAMES = 1, /* u64 offsets (n+1), the names' bytes */
    DATAFILE_EVENTS,    /* UserRange (n_users), i64 times, u32 items */
    DATAFILE_INSTANCES, /* u32 starts of the chunks (n_chunks+1), Instance, u32 negatives (9 for each, or none) */
    DATAFILE_TARGETS,   /* u32 items */
    DATAFILE_KINDS,
} DatafileKind;

/* A user's events in a domain. */
typedef struct UserRange {
    uint32_t first, n;
} UserRange;

typedef struct Datafile {
    const void *section[DATAFILE_SECTIONS];
    uint64_t count[DATAFILE_SECTIONS]; /* elements */
    void *map;                         /* of a file that is read */
    size_t size_bytes;                 /* of that */
} Datafile;

/* Of the whole file, with header and padding. */
uint64_t datafile_size(DatafileKind kind, const Datafile *file);

/* Writes dir/name and syncs it; hash of the whole file out. ERR_IO. */
Err datafile_write(const char *dir, const char *name, DatafileKind kind, uint64_t fingerprint, const Datafile *file,
                   uint64_t *hash) MUST_CHECK;

/* Maps dir/name. ERR_DATA with one sentence if it is not whole: wrong magic, version, kind, fingerprint or size. */
Err datafile_map(Datafile *out, const char *dir, const char *name, DatafileKind kind, uint64_t fingerprint) MUST_CHECK;
void datafile_unmap(Datafile *file);
uint64_t datafile_hash(const Datafile *file); /* of a mapped file */

/* The lists of instances of a domain: train, then valid and test of each protocol. */
enum { N_LISTS = 1 + 2 * N_PROTOCOLS };
static inline int list_index(Split split, Protocol protocol) {
    return split == SPLIT_TRAIN ? 0 : 1 + 2 * (int)protocol + (split == SPLIT_TEST);
}

/* Every file of a data set but the manifest. */
enum { N_DATA_FILES = 2 + N_DOMAINS * (2 + N_LISTS) };
typedef struct DatafileName {
    const char *name;
    DatafileKind kind;
} DatafileName;
extern const DatafileName DATA_FILES[N_DATA_FILES];

/* Indexes of DATA_FILES. */
enum { FILE_ITEMS = 0, FILE_USERS = 1 };
static inline int file_events(int domain) {
    return 2 + domain * (2 + N_LISTS);
}
static inline int file_targets(int domain) {
    return file_events(domain) + 1;
}
static inline int file_list(int domain, int list) {
    return file_events(domain) + 2 + list;
}

#endif
