/* A server's part of a snapshot: one safetensors file per table. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/files.h"
#include "common/log.h"
#include "common/safetensors.h"
#include "server/snapshot/snapshot.h"
#include "server/snapshot/snapshot_columns.h"
#include "server/snapshot/snapshot_file.h"
#include "server/snapshot/snapshot_manifest.h"

_Static_assert(sizeof(real) == sizeof(float), "snapshots hold what the product computes with");

/* One column of a table's file. */
typedef struct Column {
    uint32_t first, width; /* within a row */
    uint64_t offset;       /* in the file, of the next row's */
} Column;

/* What is written, and where. */
typedef struct WriteJob {
    StoreCut *cut;
    const Schema *schema;
    uint32_t rank; /* of the server */
    const char *dir;
    SnapshotDisk *disk;
    atomic_bool *is_useless; /* or NULL */
} WriteJob;

/* Its rows are visited once; each number goes to where its column has got to. */
typedef struct TableFile {
    SnapshotFile file;
    const Table *table;
    char name[SNAPSHOT_MAX_NAME];
    uint64_t n_rows, ids_offset;
    int n_columns;
    Column columns[SNAPSHOT_MAX_COLUMNS]; /* values, then the moments */
} TableFile;

static bool is_useless(const WriteJob *job) {
    return job->is_useless && atomic_load_explicit(job->is_useless, memory_order_relaxed);
}

static Err give_up(const WriteJob *job) {
    return err_fail(ERR_STOPPED, "the run ended before the files in %s were written", job->dir);
}

static void put_row(void *ctx, uint64_t key, const real *row) {
    TableFile *t = ctx;
    uint64_t id = key_row(key);
    snapshot_file_put(&t->file, t->ids_offset, &id, sizeof id);
    t->ids_offset += sizeof id;
    for (Column *c = t->columns; c < t->columns + t->n_columns; c++) {
        snapshot_file_put(&t->file, c->offset, row + c->first, c->width * sizeof *row);
        c->offset += c->width * sizeof *row;
    }
}

/* The tensors of a table's file in their order. names must outlive them. Returns their number. */
static int describe_tensors(const Table *table, uint32_t row_reals, uint64_t n_rows, SafetensorsEntry entries[],
                            char names[][SNAPSHOT_COLUMN_NAME]) {
    int n = 0;
    entries[n++] = (SafetensorsEntry){.name = "rows", .dtype = DTYPE_U64, .n_dims = 1, .shape = {n_rows}};
    entries[n++] = (SafetensorsEntry){.name = "slots", .dtype = DTYPE_U64, .n_dims = 1, .shape = {N_SLOTS + 1}};
    for (uint32_t i = 0; i < row_reals / table->width; i++) {
        snapshot_column_name(table, i, names[i]);
        entries[n++] =
            (SafetensorsEntry){.name = names[i], .dtype = DTYPE_F32, .n_dims = 2, .shape = {n_rows, table->width}};
    }
    return n;
}

/* Creates the file and puts what is known beforehand: header and slots. */
static Err begin_file(TableFile *t, const WriteJob *job, const uint64_t *slots, uint32_t row_reals) {
    SafetensorsEntry entries[2 + SNAPSHOT_MAX_COLUMNS];
    char names[SNAPSHOT_MAX_COLUMNS][SNAPSHOT_COLUMN_NAME], *header;
    size_t header_size;
    const char *const metadata[][2] = {{"table", t->table->name}, {"program", "mangrove " MANGROVE_VERSION}};
    int n = describe_tensors(t->table, row_reals, t->n_rows, entries, names);
    Err e = safetensors_header(entries, n, metadata, 2, &header, &header_size);
    if (e != OK)
        return e;
    uint64_t slots_offset = header_size + entries[0].n_bytes, size = slots_offset + entries[1].n_bytes;
    t->ids_offset = header_size;
    for (int i = 2; i < n; i++) {
        t->columns[t->n_columns] = (Column){(uint32_t)t->n_columns * t->table->width, t->table->width, size};
        t->n_columns++;
        size += entries[i].n_bytes;
    }
    char *path = snapshot_path(job->dir, t->name);
    e = snapshot_file_create(&t->file, job->disk, path, size);
    free(path);
    if (e == OK) {
        snapshot_file_put(&t->file, 0, header, header_size);
        snapshot_file_put(&t->file, slots_offset, slots, (N_SLOTS + 1) * sizeof *slots);
    }
    free(header);
    return e;
}

/* A table without rows has no file: t->table stays NULL. */
static Err write_table(TableFile *t, const WriteJob *job, int number) {
    uint64_t slots[N_SLOTS + 1];
    store_cut_count(job->cut, number, slots);
    if (slots[N_SLOTS] == 0)
        return OK;
    t->table = &job->schema->tables[number];
    t->n_rows = slots[N_SLOTS];
    snprintf(t->name, sizeof t->name, "server-%u.%s.safetensors", job->rank, t->table->name);
    Err e = begin_file(t, job, slots, store_row_reals(store_cut_store(job->cut), number));
    if (e != OK)
        return e;
    for (uint32_t slot = 0; slot < N_SLOTS && !snapshot_file_has_failed(&t->file); slot++) {
        if (is_useless(job))
            return give_up(job);
        store_cut_visit(job->cut, number, slot, put_row, t);
    }
    return snapshot_file_has_failed(&t->file) ? snapshot_file_finish(&t->file) : OK; /* which says why */
}

static json_t *describe_file(const TableFile *t, uint32_t rank) {
    json_t *blocks = json_array();
    for (size_t i = 0; i < t->file.n_blocks; i++) {
        char text[SNAPSHOT_HASH_DIGITS + 1];
        snapshot_hash_text(t->file.hashes[i], text);
        json_array_append_new(blocks, json_string(text));
    }
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:o}", "file", t->name, "table", t->table->name, "server",
                     (json_int_t)rank, "rows", (json_int_t)t->n_rows, "size", (json_int_t)t->file.size, "blocks",
                     blocks);
}

/* fsync of the directory itself: the names of its files are on the disk. */
static Err sync_directory(const char *dir) {
    char *inside = snapshot_path(dir, ".");
    Err e = sync_directory_of(inside);
    free(inside);
    return e;
}

/* Files of a committed snapshot are not written over. */
static Err check_uncommitted(const char *dir) {
    Err e = OK;
    char *manifest = snapshot_path(dir, "manifest.json");
    if (access(manifest, F_OK) == 0)
        e = err_fail(ERR_IO, "%s is there already: files of a committed snapshot are not written again", manifest);
    free(manifest);
    return e;
}

/* The directory for a server's files. */
static Err begin_directory(const char *dir) {
    Err e = make_directories(dir);
    return e == OK ? check_uncommitted(dir) : e;
}

/* Of all files, or of none where the run has ended by then: a run that goes on from an earlier snapshot may have
 * written the same ones. */
static Err rename_files(TableFile *tables, const WriteJob *job) {
    Err e = is_useless(job) ? give_up(job) : check_uncommitted(job->dir);
    for (int i = 0; i < job->schema->n_tables && e == OK; i++)
        if (tables[i].table)
            e = snapshot_file_commit(&tables[i].file);
    return e;
}

/* All files are written before the first is waited for: the disk has work meanwhile. */
static Err write_files(TableFile *tables, const WriteJob *job, json_t *files) {
    int n = job->schema->n_tables;
    Err e = begin_directory(job->dir);
    for (int i = 0; i < n && e == OK; i++)
        e = write_table(&tables[i], job, i);
    for (int i = 0; i < n && e == OK; i++) {
        if (!tables[i].table)
            continue;
        e = is_useless(job) ? give_up(job) : snapshot_file_finish(&tables[i].file);
        if (e == OK)
            json_array_append_new(files, describe_file(&tables[i], job->rank));
    }
    if (e == OK)
        e = rename_files(tables, job);
    for (int i = 0; i < n; i++)
        if (tables[i].table)
            snapshot_file_free(&tables[i].file);
    return e == OK ? sync_directory(job->dir) : e;
}

Err snapshot_write_tables(StoreCut *cut, const Schema *schema, uint32_t rank, const char *dir, atomic_bool *useless,
                          char **files_json) {
    TableFile *tables = must_calloc(SCHEMA_MAX_TABLES, sizeof *tables);
    WriteJob job = {.cut = cut, .schema = schema, .rank = rank, .dir = dir, .is_useless = useless};
    json_t *files = json_array();
    *files_json = NULL;
    Err e = snapshot_disk_open(&job.disk);
    if (e == OK)
        e = write_files(tables, &job, files);
    snapshot_disk_close(&job.disk);
    free(tables);
    json_t *json = json_pack("{s:o, s:o}", "tensors", snapshot_tensors_json(schema), "files", files);
    if (e == OK)
        *files_json = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return e;
}
