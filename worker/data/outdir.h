/* The directory of a prepared data set: written beside its place and renamed into it, so it is whole or not there. */
#ifndef MANGROVE_WORKER_DATA_OUTDIR_H
#define MANGROVE_WORKER_DATA_OUTDIR_H

#include "worker/data/base.h"
#include "worker/data/prepare.h"
#include "worker/data/vocab.h"

typedef struct DataSource {
    const PrepareOptions *options;
    const PrepareReport *report;
    const Prepared *prepared;
    const Vocab *items, *users;
    const Base *base;
    uint64_t fingerprint;
} DataSource;

/* May the data set be written to dir? ERR_USAGE if it exists (force: and is no data set). */
Err outdir_check(const char *dir, bool force) MUST_CHECK;

Err outdir_write(const DataSource *source) MUST_CHECK;

/* The text of manifest.json; caller frees. hashes, sizes (N_DATA_FILES). */
char *manifest_text(const DataSource *source, const uint64_t *hashes, const uint64_t *sizes);

#endif
