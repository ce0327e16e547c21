#include "deploy/export.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/files.h"
#include "common/log.h"
#include "deploy/export_dir.h"
#include "deploy/snapshot_choice.h"
#include "server/snapshot_manifest.h"
#include "server/snapshot_schema.h"

typedef struct Export {
    const ExportOptions *options;
    Snapshot *snapshot;
    Schema schema;
    int tables[SCHEMA_MAX_TABLES]; /* (n_tables) chosen, in the schema */
    int n_tables;
    Dataset *data; /* NULL where no table has items */
    ExportItems items;
    ExportDir dir;
    json_t *written; /* export.json's "tables" */
} Export;

/* ---- which tables --------------------------------------------------------------------------------------------- */

static Err choose_table(Export *x, const char *name) {
    int table = schema_find_table(&x->schema, name);
    if (table < 0) {
        char names[SCHEMA_MAX_TABLES * (SCHEMA_NAME + 2)] = "";
        for (int i = 0; i < x->schema.n_tables; i++)
            sprintf(names + strlen(names), "%s%s", i ? ", " : "", x->schema.tables[i].name);
        return err_fail(ERR_USAGE, "--table %s: the snapshot has no such table; it has %s", name, names);
    }
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

/* ---- names ---------------------------------------------------------------------------------------------------- */

/* Ids are numbers of one data set and of those that grew from it. */
static Err check_data(const Export *x, const char *data_dir) {
    uint64_t want = snapshot_data(x->snapshot)->fingerprint;
    if (!datainfo_descends_from(dataset_info(x->data), want))
        return err_fail(ERR_DATA,
                        "the data set in %s has fingerprint %016" PRIx64 "; %s was trained on %016" PRIx64
                        ", whose ids differ",
                        data_dir, dataset_info(x->data)->fingerprint, x->snapshot->dir, want);
    for (int i = 0; i < x->n_tables; i++)
        if (x->schema.tables[x->tables[i]].is_sparse &&
            x->schema.tables[x->tables[i]].n_rows > dataset_info(x->data)->n_items)
            return err_fail(ERR_DATA, "table %s of %s has ids up to %" PRIu64 ", the data set in %s only %" PRIu32,
                            x->schema.tables[x->tables[i]].name, x->snapshot->dir,
                            x->schema.tables[x->tables[i]].n_rows, data_dir, dataset_info(x->data)->n_items);
    return OK;
}

static Err open_data(Export *x) {
    bool has_items = false;
    for (int i = 0; i < x->n_tables; i++)
        has_items |= x->schema.tables[x->tables[i]].is_sparse;
    if (!has_items)
        return OK;
    const char *dir = x->options->data_dir ? x->options->data_dir : snapshot_config(x->snapshot)->data_dir;
    Err err = dataset_open(&x->data, dir);
    if (!err)
        err = check_data(x, dir);
    if (err && !x->options->data_dir)
        err = err_wrap(err, "no names, add --data DIR with the prepared data set of the training");
    if (!err && x->options->items_path)
        err = export_items_read(&x->items, x->options->items_path, x->data, dir);
    return err;
}

/* ---- writing -------------------------------------------------------------------------------------------------- */

/* Those of the chosen items that have a row; ids (items.n) is the caller's. */
static uint32_t keep_present(const Export *x, const SnapshotRows *rows, uint32_t *ids) {
    uint32_t n = 0;
    SnapshotRow row;
    for (uint32_t i = 0; i < x->items.n; i++)
        if (snapshot_rows_find(rows, x->items.ids[i], &row))
            ids[n++] = x->items.ids[i];
    return n;
}

static json_t *table_json(const ExportTable *t, const ExportFormat *format) {
    const char *name = t->schema->tables[t->table].name;
    json_t *files = json_array();
    for (const struct ExportPart *part = format->parts; part->suffix; part++)
        json_array_append_new(files, json_sprintf("%s%s", name, part->suffix));
    return json_pack("{s:s, s:I, s:I, s:o}", "table", name, "rows", (json_int_t)t->n, "width", (json_int_t)t->width,
                     "files", files);
}

static Err write_rows(Export *x, int table, const SnapshotRows *rows, ExportedTable *report) {
    const Table *of = &x->schema.tables[table];
    ExportItems present = {0};
    ExportTable t = {.schema = &x->schema,
                     .table = table,
                     .rows = rows,
                     .data = x->data,
                     .n = snapshot_rows_count(rows),
                     .width = snapshot_rows_width(rows)};
    uint64_t n_wanted = of->is_sparse ? dataset_info(x->data)->n_items - 1 : of->n_rows;
    if (x->options->items_path) {
        present.ids = must_alloc((x->items.n + (size_t)1) * sizeof *present.ids);
        present.n = keep_present(x, rows, present.ids);
        t.items = &present;
        t.n = present.n;
        n_wanted = x->items.n;
    }
    *report = (ExportedTable){.n_rows = t.n, .n_missing = n_wanted - t.n, .width = t.width, .is_sparse = of->is_sparse};
    memcpy(report->name, of->name, sizeof report->name);
    Err err = export_format_write(x->options->format, &t, x->dir.temp);
    if (!err)
        json_array_append_new(x->written, table_json(&t, x->options->format));
    export_items_free(&present);
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
        err = export_dir_commit(&x->dir);
    export_dir_end(&x->dir);
    return err;
}

Err export_run(const ExportOptions *options, ExportReport *report) {
    Export *x = must_calloc(1, sizeof *x);
    x->options = options;
    x->written = json_array();
    *report = (ExportReport){0};
    Err err = snapshot_choose_newest(options->source, report->snapshot);
    if (!err)
        err = snapshot_open(&x->snapshot, report->snapshot);
    if (!err)
        err = snapshot_schema(x->snapshot, &x->schema);
    if (!err)
        err = choose_tables(x);
    if (!err)
        err = open_data(x);
    if (!err)
        err = write_all(x, report);
    json_decref(x->written);
    export_items_free(&x->items);
    dataset_close(&x->data);
    snapshot_close(&x->snapshot);
    free(x);
    return err;
}
