#include "deploy/tools/export_format.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "common/log.h"
#include "common/safetensors.h"
#include "deploy/tools/name_text.h"

enum { BUFFER_BYTES = 1 << 20, NPY_ALIGN = 64 };

const char EXPORT_FORMAT_NAMES[] = "npy|safetensors|vec|tsv";

/* ---- rows ----------------------------------------------------------------------------------------------------- */

static void row_at(const ExportTable *t, uint64_t i, SnapshotRow *row) {
    if (!t->items) {
        snapshot_rows_at(t->rows, i, row);
        return;
    }
    bool has_row = snapshot_rows_find(t->rows, t->items->ids[i], row);
    assert(has_row);
}

static void write_name(FILE *out, const ExportTable *t, uint64_t id, NameText kind) {
    if (t->schema->tables[t->table].is_sparse) {
        name_text_write(out, row_names_get(t->names, t->schema, t->table, id), kind);
        return;
    }
    const Tensor *tensor = schema_tensor_of(t->schema, t->table, id);
    fprintf(out, "%s[%" PRIu64 "]", tensor->name, id - tensor->first_row);
}

static void write_values(FILE *out, const ExportTable *t) {
    for (uint64_t i = 0; i < t->n; i++) {
        SnapshotRow row;
        row_at(t, i, &row);
        fwrite(row.columns[0], sizeof(float), t->width, out);
    }
}

static void write_ids(FILE *out, const ExportTable *t) {
    for (uint64_t i = 0; i < t->n; i++) {
        SnapshotRow row;
        row_at(t, i, &row);
        fwrite(&row.id, sizeof row.id, 1, out);
    }
}

static void write_names(FILE *out, const ExportTable *t) {
    for (uint64_t i = 0; i < t->n; i++) {
        SnapshotRow row;
        row_at(t, i, &row);
        write_name(out, t, row.id, NAME_LINE);
        putc('\n', out);
    }
}

/* ---- formats -------------------------------------------------------------------------------------------------- */

/* "\x93NUMPY", version 1.0, u16 size of the rest, a Python literal filled up with spaces and ended by a line feed so
 * that the data start at a multiple of NPY_ALIGN. */
static void write_npy_header(FILE *out, const char *type, const char *shape) {
    char text[192];
    int used = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", type, shape);
    int size = (10 + used + 1 + NPY_ALIGN - 1) / NPY_ALIGN * NPY_ALIGN - 10;
    fwrite("\x93NUMPY\1", 1, 8, out); /* with the 0 of the string: minor version 0 */
    putc(size & 0xff, out);
    putc(size >> 8, out);
    fprintf(out, "%-*s\n", size - 1, text);
}

static void write_npy(FILE *out, const ExportTable *t) {
    char shape[64];
    snprintf(shape, sizeof shape, "%" PRIu64 ", %" PRIu32, t->n, t->width);
    write_npy_header(out, "<f4", shape);
    write_values(out, t);
}

static void write_npy_ids(FILE *out, const ExportTable *t) {
    char shape[64];
    snprintf(shape, sizeof shape, "%" PRIu64 ",", t->n);
    write_npy_header(out, "<u8", shape);
    write_ids(out, t);
}

/* ids first: so both tensors are aligned. */
static void write_safetensors(FILE *out, const ExportTable *t) {
    SafetensorsEntry entries[] = {
        {.name = "ids", .dtype = DTYPE_U64, .n_dims = 1, .shape = {t->n}},
        {.name = "values", .dtype = DTYPE_F32, .n_dims = 2, .shape = {t->n, t->width}},
    };
    const char *const metadata[][2] = {{"table", t->schema->tables[t->table].name}};
    char *header;
    size_t size;
    Err err = safetensors_header(entries, 2, metadata, 1, &header, &size);
    assert(err == OK); /* a snapshot's tables are far below any limit */
    fwrite(header, 1, size, out);
    free(header);
    write_ids(out, t);
    write_values(out, t);
}

static void write_text(FILE *out, const ExportTable *t, NameText kind, char separator) {
    for (uint64_t i = 0; i < t->n; i++) {
        SnapshotRow row;
        row_at(t, i, &row);
        write_name(out, t, row.id, kind);
        for (uint32_t k = 0; k < t->width; k++)
            fprintf(out, "%c%.9g", separator, (double)row.columns[0][k]);
        putc('\n', out);
    }
}

static void write_vec(FILE *out, const ExportTable *t) {
    fprintf(out, "%" PRIu64 " %" PRIu32 "\n", t->n, t->width);
    write_text(out, t, NAME_WORD, ' ');
}

static void write_tsv(FILE *out, const ExportTable *t) {
    write_text(out, t, NAME_LINE, '\t');
}

static const ExportFormat FORMATS[] = {
    {"npy", {{".npy", write_npy}, {".ids.npy", write_npy_ids}, {".names.txt", write_names}}},
    {"safetensors", {{".safetensors", write_safetensors}, {".names.txt", write_names}}},
    {"vec", {{".vec", write_vec}}},
    {"tsv", {{".tsv", write_tsv}}},
};

const ExportFormat *export_format_find(const char *name) {
    for (size_t i = 0; i < sizeof FORMATS / sizeof *FORMATS; i++)
        if (!strcmp(FORMATS[i].name, name))
            return &FORMATS[i];
    return NULL;
}

/* ---- files ---------------------------------------------------------------------------------------------------- */

/* A file that is summed up on its way to the disk. */
typedef struct Sink {
    int fd;
    ExportedFile *file;
} Sink;

static ssize_t sink_write(void *cookie, const char *bytes, size_t n) {
    Sink *sink = cookie;
    ssize_t written = write(sink->fd, bytes, n);
    if (written <= 0)
        return 0; /* which is an error to the stream */
    sink->file->n_bytes += (uint64_t)written;
    sink->file->crc32 = (uint32_t)crc32_z(sink->file->crc32, (const unsigned char *)bytes, (size_t)written);
    return written;
}

/* A stream keeps its first error: asked once, at the end. */
static Err write_part(const struct ExportPart *part, const ExportTable *t, const char *path, ExportedFile *file) {
    *file = (ExportedFile){0};
    Sink sink = {open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666), file};
    if (sink.fd < 0)
        return err_fail(ERR_IO, "cannot create %s: %m", path);
    FILE *out = fopencookie(&sink, "w", (cookie_io_functions_t){.write = sink_write});
    if (!out)
        log_die(ERR_MEMORY, "no memory for a stream");
    setvbuf(out, NULL, _IOFBF, BUFFER_BYTES);
    part->write(out, t);
    bool is_bad = ferror(out) || fflush(out) || fsync(sink.fd);
    int code = errno;
    is_bad |= fclose(out) != 0;
    is_bad |= close(sink.fd) != 0;
    return is_bad ? err_fail(ERR_IO, "cannot write %s: %s", path, strerror(code)) : OK;
}

Err export_format_write(const ExportFormat *format, const ExportTable *t, const char *dir,
                        ExportedFile files[EXPORT_MAX_PARTS]) {
    char path[EXPORT_PATH];
    Err err = OK;
    for (const struct ExportPart *part = format->parts; part->suffix && !err; part++) {
        int n = snprintf(path, sizeof path, "%s/%s%s", dir, t->schema->tables[t->table].name, part->suffix);
        if (n >= (int)sizeof path)
            return err_fail(ERR_IO, "the path %s is too long", path);
        err = write_part(part, t, path, &files[part - format->parts]);
    }
    return err;
}
