#include "deploy/tools/export.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/files.h"
#include "common/log.h"
#include "deploy/tools/export_dir.h"
#include "deploy/tools/snapshot_choice.h"
#include "server/snapshot/snapshot_manifest.h"
#include "server/snapshot/snapshot_schema.h"

typedef struct Export {
    const ExportOptions *options;
    Snapshot *snapshot;
    Schema schema;
    int tables[SCHEMA_MAX_TABLES]; /* (n_tables) chosen, in the schema */
    int n_tables;
    RowNames *names; /* NULL where no table needs a data set for its names */
    NewDirectory dir;
    json_t *written; /* export.json's "tables" */
} Export;

/* ---- which tables --------------------------------------------------------------------------------------------- */

static Err choose_table(Export *x, const char *name) {
    int table;
    Err err = snapshot_schema_table(x->snapshot, &x->schema, name, &table);
    if (err)
        return err;
    for (int i = 0; i < x->n_tables; i++)
        if (x->tables[i] == table)
            return err_fail(ERR_USAGE, "--table %s was said twice", name);
    if (x->options->items_path && !x->schema.tables[table].is_sparse)
        return err_fail(ERR_USAGE, "--items chooses items, but the rows of table %s are no items", name);
    x->tables[x->n_tables++] = table;
    return OK;
}

static Err choose_tables(Export *x) {
    Err err = OK;
    for (int i = 0; i < x->options->n_tables && !err; i++)
        err = choose_table(x, x->options->tables[i]);
    for (int i = 0; i < x->schema.n_tables && !x->options->n_tables; i++)
        if (x->schema.tables[i].is_sparse)
            x->tables[x->n_tables++] = i;
    return err;
}

/* Dense parameters are named after their tensors, which the snapshot knows itself. */
static Err open_names(Export *x) {
    for (int i = 0; i < x->n_tables; i++)
        if (x->schema.tables[x->tables[i]].is_sparse)
            return row_names_open(&x->names, x->snapshot, x->options->data_dir);
    return OK;
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

/* Of the items that the file names those that have a row. */
static Err choose_items(const Export *x, int table, const SnapshotRows *rows, ExportItems *items, uint64_t *n_named) {
    SnapshotRow row;
    size_t n = 0;
    Err err = export_items_read(items, x->options->items_path, x->names, &x->schema, table);
    *n_named = items->n;
    for (size_t i = 0; i < items->n; i++)
        if (snapshot_rows_find(rows, items->ids[i], &row))
            items->ids[n++] = items->ids[i];
    items->n = n;
    return err;
}

/* Rows ascend: if the last has a name, all have. */
static Err check_names(const ExportTable *t) {
    SnapshotRow last;
    uint64_t n = snapshot_rows_count(t->rows);
    if (n == 0 || !t->schema->tables[t->table].is_sparse)
        return OK;
    snapshot_rows_at(t->rows, n - 1, &last);
    if (row_names_get(t->names, t->schema, t->table, last.id))
        return OK;
    return err_fail(ERR_DATA,
                    "row %" PRIu64 " of table %s has no name in the data set: add --data DIR with a newer one", last.id,
                    t->schema->tables[t->table].name);
}

static json_t *table_json(const ExportTable *t, const ExportFormat *format, const ExportedFile *written) {
    const char *name = t->schema->tables[t->table].name;
    json_t *files = json_array();
    for (int i = 0; format->parts[i].suffix; i++)
        json_array_append_new(
            files, json_pack("{s:o, s:I, s:o}", "file", json_sprintf("%s%s", name, format->parts[i].suffix), "bytes",
                             (json_int_t)written[i].n_bytes, "crc32", json_sprintf("%08" PRIx32, written[i].crc32)));
    return json_pack("{s:s, s:I, s:I, s:o}", "table", name, "rows", (json_int_t)t->n, "width", (json_int_t)t->width,
                     "files", files);
}

static Err write_rows(Export *x, int table, const SnapshotRows *rows, ExportedTable *report) {
    const Table *of = &x->schema.tables[table];
    ExportTable t = {.schema = &x->schema,
                     .table = table,
                     .rows = rows,
                     .names = x->names,
                     .n = snapshot_rows_count(rows),
                     .width = snapshot_rows_width(rows)};
    uint64_t n_wanted = of->is_sparse ? of->n_rows - 1 : of->n_rows; /* id 0 is no item */
    ExportItems items = {0};
    ExportedFile files[EXPORT_MAX_PARTS];
    Err err = check_names(&t);
    if (!err && x->options->items_path) {
        err = choose_items(x, table, rows, &items, &n_wanted);
        t.items = &items;
        t.n = items.n;
    }
    if (!err)
        err = export_format_write(x->options->format, &t, x->dir.temp, files);
    if (!err)
        json_array_append_new(x->written, table_json(&t, x->options->format, files));
    *report = (ExportedTable){
        .n_rows = t.n, .n_missing = n_wanted > t.n ? n_wanted - t.n : 0, .width = t.width, .is_sparse = of->is_sparse};
    memcpy(report->name, of->name, sizeof report->name);
    export_items_free(&items);
    return err;
}

static Err write_table(Export *x, int table, ExportedTable *report) {
    SnapshotRows *rows;
    Err err = snapshot_rows_open(&rows, x->snapshot, x->schema.tables[table].name);
    if (err)
        return err;
    err = write_rows(x, table, rows, report);
    snapshot_rows_close(&rows);
    return err;
}

static Err write_manifest(const Export *x) {
    char path[2 * EXPORT_PATH], hash[SNAPSHOT_HASH_DIGITS + 1], data[SNAPSHOT_HASH_DIGITS + 1];
    const char *slash = strrchr(x->snapshot->dir, '/');
    json_t *name = json_string(slash ? slash + 1 : x->snapshot->dir); /* NULL: not UTF-8 */
    snapshot_hash_text(x->snapshot->hash, hash);
    snapshot_hash_text(snapshot_data(x->snapshot)->fingerprint, data);
    json_t *json = json_pack("{s:s, s:i, s:s, s:o, s:s, s:I, s:s, s:s, s:O}", "format", "mangrove export", "version",
                             EXPORT_VERSION, "program", MANGROVE_VERSION, "snapshot", name ? name : json_null(),
                             "manifest", hash, "epoch", (json_int_t)snapshot_epoch(x->snapshot), "data", data, "to",
                             x->options->format->name, "tables", x->written);
    char *text = json_dumps(json, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
    json_decref(json);
    if (!text)
        log_die(ERR_MEMORY, "no memory for the text of a manifest");
    snprintf(path, sizeof path, "%s/export.json", x->dir.temp);
    Err err = write_file_durably(path, text, strlen(text));
    free(text);
    return err;
}

static Err write_all(Export *x, ExportReport *report) {
    Err err = export_dir_begin(&x->dir, x->options->out_dir);
    for (int i = 0; i < x->n_tables && !err; i++)
        err = write_table(x, x->tables[i], &report->tables[report->n_tables++]);
    if (!err)
        err = write_manifest(x);
    if (!err)
        err = new_directory_commit(&x->dir, directory_remove);
    new_directory_end(&x->dir);
    return err;
}

static Err choose_snapshot(const ExportOptions *o, char chosen[SNAPSHOT_CHOICE_PATH]) {
    if (o->best_of < 0)
        return snapshot_choose_newest(o->source, chosen);
    Err err = snapshot_choose_best(o->source, o->best_of, chosen);
    if (!err && !strcmp(chosen, o->source))
        err = err_fail(ERR_USAGE, "--best chooses among a run's snapshots, and %s is a snapshot", o->source);
    return err;
}

Err export_run(const ExportOptions *options, ExportReport *report) {
    Export *x = must_calloc(1, sizeof *x);
    x->options = options;
    x->written = json_array();
    *report = (ExportReport){0};
    Err err = choose_snapshot(options, report->snapshot);
    if (!err)
        err = snapshot_open(&x->snapshot, report->snapshot);
    if (!err)
        err = snapshot_schema(x->snapshot, &x->schema);
    if (!err)
        err = choose_tables(x);
    if (!err)
        err = open_names(x);
    if (!err)
        err = write_all(x, report);
    json_decref(x->written);
    row_names_close(&x->names);
    snapshot_close(&x->snapshot);
    free(x);
    return err;
}
