/* What every process may know of a data set without reading it: parsed from the text of its manifest, which a worker
 * sends to the scheduler. */
#ifndef MANGROVE_COMMON_DATAINFO_H
#define MANGROVE_COMMON_DATAINFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/err.h"
#include "common/work.h"

enum {
    DATAINFO_FORMAT = 1,
    DATAINFO_MAX_BYTES = 8 * 1024 * 1024, /* a manifest of a thousand million instances is smaller */
    DATAINFO_MAX_CHUNKS = 1 << 17,
    DATAINFO_MAX_LINEAGE = 4096, /* bases; a new data set drops the oldest rather than pass it */
    N_PROBES = 3,
};

/* The user-blind rules of the specification, in this order: newest first, popular first, cold first. */
typedef struct Probe {
    double auc, wauc, mrr;
} Probe;

typedef struct DataInfo {
    uint64_t fingerprint; /* of inputs, options and base */
    uint64_t *lineage;    /* (n_lineage) fingerprints of the bases whose ids were kept, oldest first; owned */
    uint32_t n_lineage;
    uint32_t n_items, n_users; /* ids are smaller than this; 0 counts */
    uint32_t n_chunks;
    uint32_t n_train_items[N_DOMAINS];                        /* distinct items that training touches, for the plan */
    ChunkCounts *counts[N_PROTOCOLS];                         /* (n_chunks) each, owned */
    Probe probes[N_PROTOCOLS][N_DOMAINS][N_SPLITS][N_PROBES]; /* SPLIT_TRAIN unused */
} DataInfo;

extern const char *const PROBE_NAMES[N_PROBES];

/* JSON text of `size` bytes, from a file or from the network: everything is checked and bounded. ERR_DATA. */
Err datainfo_parse(DataInfo *out, const char *json, size_t size) MUST_CHECK;
void datainfo_free(DataInfo *info);

/* Does every id of the data set with this fingerprint mean the same here? It is this one or one of its bases. */
bool datainfo_descends_from(const DataInfo *info, uint64_t fingerprint);

#endif
