/* The files of an export. All numbers are little-endian, rows are in one order in all files of a table, and text files
 * spell names as name_text.h says.
 *
 *   export.json          {"format": "mangrove export", "version": 2, "program", "snapshot": name of its directory,
 *                        "manifest": hash of its manifest, "epoch", "data": fingerprint of the training's data set,
 *                        "to", "tables": [{"table", "rows", "width", "files": [{"file", "bytes", "crc32"}, ..]}, ..]};
 *                        crc32 is zlib's, 8 hexadecimal digits: Python has it without a module. A reader refuses
 *                        versions above its own; in version 1 files are names alone
 *   npy          T.npy            (rows, width) float32, NumPy's format 1.0
 *                T.ids.npy        (rows) uint64: each row's id in the data set
 *                T.names.txt      each row's name, one a line
 *   safetensors  T.safetensors    ids U64 (rows), values F32 (rows, width)
 *                T.names.txt
 *   vec          T.vec            word2vec's text format: "rows width", then "name v v .. v" a row
 *   tsv          T.tsv            name and values between tabs, no header
 *
 * Nine significant digits give a float back to the last bit. The name of a row of dense parameters is its tensor's with
 * the number of the row in it, as in head.A.W[3]. */
#ifndef MANGROVE_DEPLOY_TOOLS_EXPORT_FORMAT_H
#define MANGROVE_DEPLOY_TOOLS_EXPORT_FORMAT_H

#include <stdint.h>
#include <stdio.h>

#include "common/err.h"
#include "common/schema.h"
#include "deploy/tools/export_items.h"
#include "deploy/tools/row_names.h"
#include "server/snapshot/snapshot_rows.h"

enum { EXPORT_VERSION = 2, EXPORT_MAX_PARTS = 3, EXPORT_PATH = 4096 };

typedef struct ExportTable {
    const Schema *schema;
    int table; /* in the schema */
    const SnapshotRows *rows;
    const RowNames *names;    /* of a sparse table: one for each of its rows */
    const ExportItems *items; /* NULL: every row in the order of ids; else these, each of which has a row */
    uint64_t n;
    uint32_t width;
} ExportTable;

typedef struct ExportFormat {
    const char *name;
    struct ExportPart {
        const char *suffix; /* NULL behind the last */
        void (*write)(FILE *out, const ExportTable *t);
    } parts[EXPORT_MAX_PARTS + 1];
} ExportFormat;

/* What was written into the file of a part. */
typedef struct ExportedFile {
    uint64_t n_bytes;
    uint32_t crc32;
} ExportedFile;

const ExportFormat *export_format_find(const char *name); /* NULL if there is none */
extern const char EXPORT_FORMAT_NAMES[];                  /* "npy|safetensors|..", for people */

/* Writes and syncs dir/T<suffix> for every part, whose file is described in its place. Memory is a buffer, whatever the
 * table. ERR_IO. */
Err export_format_write(const ExportFormat *format, const ExportTable *t, const char *dir,
                        ExportedFile files[EXPORT_MAX_PARTS]) MUST_CHECK;

#endif
