/* `mangrove bench snapshot`: what a snapshot costs those who push meanwhile, and how fast it is written. */
#ifndef MANGROVE_DEPLOY_BENCH_BENCH_SNAPSHOT_H
#define MANGROVE_DEPLOY_BENCH_BENCH_SNAPSHOT_H

#include <stdbool.h>

#include "common/config.h"
#include "common/err.h"

typedef struct BenchSnapshotOptions {
    double gib;      /* of rows: values and moments */
    int cuts;        /* each is followed by plain writing of as many bytes */
    const char *dir; /* on the disk that is measured; what is written there is deleted */
    bool is_json;
} BenchSnapshotOptions;

/* config: optimizer (adam is what has moments) and snapshot.copy_mb. */
Err bench_snapshot(const Config *config, const BenchSnapshotOptions *options) MUST_CHECK;

#endif
