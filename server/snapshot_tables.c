/* A server's part of a snapshot: one safetensors file per table. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/files.h"
#include "common/log.h"
#include "common/safetensors.h"
#include "server/snapshot.h"
#include "server/snapshot_file.h"
#include "server/snapshot_manifest.h"

_Static_assert(sizeof(real) == sizeof(float), "snapshots hold what the product computes with");

/* One column of a table's file: some numbers of every row. */
typedef struct Column {
    SnapshotFile *file;
    uint32_t first, width; /* within a row */
} Column;

static void write_row_id(void *ctx, uint64_t key, const real *row) {
    (void)row;
    uint64_t id = key_row(key);
    snapshot_file_write(((Column *)ctx)->file, &id, sizeof id);
}

static void write_values(void *ctx, uint64_t key, const real *row) {
    (void)key;
    const Column *c = ctx;
    snapshot_file_write(c->file, row + c->first, c->width * sizeof *row);
}

static void write_column(SnapshotFile *f, StoreCut *cut, int table, StoreVisit visit, uint32_t first, uint32_t width) {
    Column column = {.file = f, .first = first, .width = width};
    for (uint32_t slot = 0; slot < N_SLOTS && f->error == OK; slot++)
        store_cut_visit(cut, table, slot, visit, &column);
}

/* The tensors of a table's file in their order. names must outlive them. Returns their number. */
static int describe_columns(StoreCut *cut, const Table *table, int number, uint64_t n_rows, SafetensorsEntry entries[],
                            char names[][8]) {
    uint32_t n_moments = store_row_reals(store_cut_store(cut), number) / table->width - 1;
    int n = 0, domain = table->reached_by & REACHED_BY_A ? DOMAIN_A : DOMAIN_B;
    entries[n++] = (SafetensorsEntry){.name = "rows", .dtype = DTYPE_U64, .n_dims = 1, .shape = {n_rows}};
    entries[n++] = (SafetensorsEntry){.name = "slots", .dtype = DTYPE_U64, .n_dims = 1, .shape = {N_SLOTS + 1}};
    entries[n++] =
        (SafetensorsEntry){.name = "values", .dtype = DTYPE_F32, .n_dims = 2, .shape = {n_rows, table->width}};
    for (uint32_t i = 0; i < n_moments; i++) {
        snprintf(names[i], sizeof names[i], "%c.%c", "mv"[i % 2], 'A' + domain + (int)(i / 2));
        entries[n++] =
            (SafetensorsEntry){.name = names[i], .dtype = DTYPE_F32, .n_dims = 2, .shape = {n_rows, table->width}};
    }
    return n;
}

static Err write_table(SnapshotFile *f, StoreCut *cut, const Schema *schema, int number, const uint64_t *slots) {
    const Table *table = &schema->tables[number];
    SafetensorsEntry entries[3 + 2 * N_DOMAINS];
    char names[2 * N_DOMAINS][8], *header;
    size_t header_size;
    const char *const metadata[][2] = {{"table", table->name}, {"program", "mangrove " MANGROVE_VERSION}};
    int n = describe_columns(cut, table, number, slots[N_SLOTS], entries, names);
    Err e = safetensors_header(entries, n, metadata, 2, &header, &header_size);
    if (e != OK)
        return e;
    snapshot_file_write(f, header, header_size);
    free(header);
    write_column(f, cut, number, write_row_id, 0, 0);
    snapshot_file_write(f, slots, (N_SLOTS + 1) * sizeof *slots);
    for (int i = 2; i < n; i++)
        write_column(f, cut, number, write_values, (uint32_t)(i - 2) * table->width, table->width);
    return snapshot_file_commit(f);
}

static json_t *describe_file(const SnapshotFile *f, const char *name, const char *table, uint32_t rank,
                             uint64_t n_rows) {
    json_t *blocks = json_array();
    for (size_t i = 0; i < f->n_hashes; i++) {
        char text[SNAPSHOT_HASH_DIGITS + 1];
        snapshot_hash_text(f->hashes[i], text);
        json_array_append_new(blocks, json_string(text));
    }
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:o}", "file", name, "table", table, "server", (json_int_t)rank, "rows",
                     (json_int_t)n_rows, "size", (json_int_t)f->size, "blocks", blocks);
}

static Err write_table_file(StoreCut *cut, const Schema *schema, int number, uint32_t rank, const char *dir,
                            json_t *files) {
    uint64_t slots[N_SLOTS + 1];
    char name[SNAPSHOT_MAX_NAME];
    SnapshotFile f;
    store_cut_count(cut, number, slots);
    if (slots[N_SLOTS] == 0)
        return OK;
    snprintf(name, sizeof name, "server-%u.%s.safetensors", rank, schema->tables[number].name);
    char *path = snapshot_path(dir, name);
    Err e = snapshot_file_create(&f, path);
    free(path);
    if (e != OK)
        return e;
    e = write_table(&f, cut, schema, number, slots);
    if (e == OK)
        json_array_append_new(files, describe_file(&f, name, schema->tables[number].name, rank, slots[N_SLOTS]));
    snapshot_file_free(&f);
    return e;
}

/* fsync of the directory itself: the names of its files are on the disk. */
static Err sync_directory(const char *dir) {
    char *inside = snapshot_path(dir, ".");
    Err e = sync_directory_of(inside);
    free(inside);
    return e;
}

Err snapshot_write_tables(StoreCut *cut, const Schema *schema, uint32_t rank, const char *dir, char **files_json) {
    json_t *files = json_array();
    *files_json = NULL;
    Err e = make_directories(dir);
    for (int i = 0; i < schema->n_tables && e == OK; i++)
        e = write_table_file(cut, schema, i, rank, dir, files);
    if (e == OK)
        e = sync_directory(dir);
    json_t *part = json_pack("{s:o, s:o}", "tensors", snapshot_tensors_json(schema), "files", files);
    if (e == OK)
        *files_json = json_dumps(part, JSON_COMPACT);
    json_decref(part);
    return e;
}
