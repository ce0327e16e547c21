#include "deploy/tools/inspect_rows.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "deploy/tools/json_output.h"
#include "deploy/tools/name_text.h"
#include "deploy/tools/row_names.h"
#include "server/metrics_json.h"
#include "server/snapshot/snapshot_manifest.h"
#include "server/snapshot/snapshot_rows.h"
#include "server/snapshot/snapshot_schema.h"

typedef struct Inspection {
    const InspectRows *what;
    const Snapshot *snapshot;
    Schema schema;
    int table; /* in schema */
    RowNames *names;
    SnapshotRows *rows;
    uint64_t n_absent;
    char *absent; /* the first, as name_text.h spells it */
} Inspection;

/* ---- a row ---------------------------------------------------------------------------------------------------- */

static json_t *column_json(const float *x, uint32_t n) {
    json_t *json = json_array();
    for (uint32_t i = 0; i < n; i++)
        json_array_append_new(json, metrics_json_number(x[i]));
    return json;
}

static void print_json(const Inspection *in, const SnapshotRow *row) {
    const char *name = row_names_get(in->names, &in->schema, in->table, row->id);
    json_t *json = json_pack("{s:s, s:I, s:o}", "table", in->what->table, "row", (json_int_t)row->id, "name",
                             json_output_text(name));
    for (uint32_t c = 0; c < snapshot_rows_columns(in->rows); c++)
        json_object_set_new(json, snapshot_rows_column_name(in->rows, c),
                            column_json(row->columns[c], snapshot_rows_width(in->rows)));
    json_output_line(json, JSON_FLOAT_DIGITS);
}

static void print_row(const Inspection *in, const SnapshotRow *row) {
    printf("table %s, row %" PRIu64, in->what->table, row->id);
    row_names_print(stdout, ", ", in->names, &in->schema, in->table, row->id);
    putchar('\n');
    for (uint32_t c = 0; c < snapshot_rows_columns(in->rows); c++) {
        printf("%-7s", snapshot_rows_column_name(in->rows, c));
        for (uint32_t i = 0; i < snapshot_rows_width(in->rows); i++)
            printf(" %.9g", (double)row->columns[c][i]);
        putchar('\n');
    }
}

static void note_absent(Inspection *in, const char *asked) {
    if (in->n_absent++ == 0)
        in->absent = name_text_spelled(asked, NAME_LINE);
}

static void show(Inspection *in, uint64_t id, const char *asked) {
    SnapshotRow row;
    if (!snapshot_rows_find(in->rows, id, &row)) {
        note_absent(in, asked);
        return;
    }
    (in->what->is_json ? print_json : print_row)(in, &row);
}

/* ---- which ---------------------------------------------------------------------------------------------------- */

static bool read_id(const char *text, uint64_t *id) {
    char *end;
    errno = 0;
    *id = isdigit((unsigned char)*text) ? strtoull(text, &end, 10) : 0;
    return isdigit((unsigned char)*text) && !*end && errno == 0;
}

/* A name may look like an id, so what is asked for is never taken for the other. */
static bool asks_by_name(const InspectRows *what) {
    return what->name || (what->file && what->data_dir);
}

static void show_asked(Inspection *in, const char *asked) {
    uint64_t id;
    bool is_known =
        asks_by_name(in->what) ? row_names_find(in->names, &in->schema, in->table, asked, &id) : read_id(asked, &id);
    if (is_known)
        show(in, id, asked);
    else
        note_absent(in, asked);
}

static Err show_listed(Inspection *in) {
    bool is_stdin = strcmp(in->what->file, "-") == 0;
    FILE *f = is_stdin ? stdin : fopen(in->what->file, "r");
    char *line = NULL;
    size_t capacity = 0;
    if (!f)
        return err_fail(ERR_IO, "cannot open %s: %m", in->what->file);
    for (ssize_t n; (n = getline(&line, &capacity, f)) >= 0;) {
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            line[--n] = 0;
        if (!name_text_read(line, (size_t)n))
            note_absent(in, line);
        else if (n > 0)
            show_asked(in, line);
    }
    Err e = ferror(f) ? err_fail(ERR_IO, "cannot read %s: %m", in->what->file) : OK;
    free(line);
    if (!is_stdin)
        fclose(f);
    return e;
}

/* ---- the inspection ------------------------------------------------------------------------------------------- */

static Err open_inspection(Inspection *in) {
    Err e = snapshot_schema(in->snapshot, &in->schema);
    if (e == OK)
        e = snapshot_schema_table(in->snapshot, &in->schema, in->what->table, &in->table);
    if (e == OK && (in->what->data_dir || in->what->name))
        e = row_names_open(&in->names, in->snapshot, in->what->data_dir);
    if (e == OK)
        e = snapshot_rows_open(&in->rows, in->snapshot, in->what->table);
    return e;
}

static Err show_all(Inspection *in) {
    Err e = OK;
    if (in->what->file)
        e = show_listed(in);
    else
        show_asked(in, in->what->row ? in->what->row : in->what->name);
    if (e == OK && in->n_absent == 1)
        e = err_fail(ERR_DATA, "%s: table %s has no row %s", in->snapshot->dir, in->what->table, in->absent);
    else if (e == OK && in->n_absent)
        e = err_fail(ERR_DATA, "%s: table %s has no rows for %" PRIu64 " of those asked for, the first is %s",
                     in->snapshot->dir, in->what->table, in->n_absent, in->absent);
    return e;
}

Err inspect_rows(const Snapshot *s, const InspectRows *what) {
    Inspection *in = must_calloc(1, sizeof *in);
    in->what = what;
    in->snapshot = s;
    Err e = open_inspection(in);
    if (e == OK)
        e = show_all(in);
    snapshot_rows_close(&in->rows);
    row_names_close(&in->names);
    free(in->absent);
    free(in);
    return e;
}
