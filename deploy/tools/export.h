/* A snapshot's tables in the formats of others: export_format.h says which files that gives. */
#ifndef MANGROVE_DEPLOY_TOOLS_EXPORT_H
#define MANGROVE_DEPLOY_TOOLS_EXPORT_H

#include <stdint.h>

#include "common/err.h"
#include "common/schema.h"
#include "deploy/tools/export_format.h"

typedef struct ExportOptions {
    const char *source;     /* a snapshot, or a run */
    int best_of;            /* domain: a run's snapshot is that of its best epoch; -1: the newest */
    const char *out_dir;    /* new, empty, or an earlier export */
    const char *data_dir;   /* the prepared data set of the names; NULL: the training's */
    const char *items_path; /* NULL: all */
    const ExportFormat *format;
    const char *tables[SCHEMA_MAX_TABLES];
    int n_tables; /* 0: every sparse table */
} ExportOptions;

typedef struct ExportedTable {
    char name[SCHEMA_NAME];
    uint64_t n_rows, n_missing; /* of the items asked for: with a row, and without */
    uint32_t width;
    bool is_sparse;
} ExportedTable;

typedef struct ExportReport {
    char snapshot[EXPORT_PATH];
    ExportedTable tables[SCHEMA_MAX_TABLES];
    int n_tables;
} ExportReport;

/* out_dir is afterwards whole or as before. ERR_USAGE, ERR_DATA, ERR_CORRUPT, ERR_IO with one sentence. */
Err export_run(const ExportOptions *options, ExportReport *report) MUST_CHECK;

#endif
