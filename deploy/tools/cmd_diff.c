/* mangrove diff: what training has done to the rows between two snapshots. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "deploy/commands.h"
#include "deploy/tools/diff_tables.h"
#include "deploy/tools/json_output.h"
#include "deploy/tools/row_names.h"
#include "deploy/tools/snapshot_choice.h"
#include "server/snapshot/snapshot_manifest.h"
#include "server/snapshot/snapshot_schema.h"

enum { DEFAULT_TOP = 5, MAX_TOP = 1000000 };

typedef struct DiffArguments {
    const char *dirs[2]; /* before, after */
    int n_dirs;
    const char *data_dir, *table;
    uint32_t n_top;
    bool is_json;
} DiffArguments;

typedef struct Comparison {
    const DiffArguments *arguments;
    Snapshot *sides[2];
    Schema schemas[2];
    RowNames *names; /* NULL: not asked for */
    TableDiff tables[2 * SCHEMA_MAX_TABLES];
    int n_tables;
} Comparison;

/* ---- comparing ------------------------------------------------------------------------------------------------ */

static Err open_side(Comparison *c, int side) {
    char dir[SNAPSHOT_CHOICE_PATH];
    Err e = snapshot_choose_newest(c->arguments->dirs[side], dir);
    if (e == OK)
        e = snapshot_open(&c->sides[side], dir);
    return e ? e : snapshot_schema(c->sides[side], &c->schemas[side]);
}

static void warn_of_ids(const Comparison *c) {
    const DataInfo *x = snapshot_data(c->sides[0]), *y = snapshot_data(c->sides[1]);
    if (!datainfo_descends_from(x, y->fingerprint) && !datainfo_descends_from(y, x->fingerprint))
        log_warn("the snapshots were trained on data sets %016" PRIx64 " and %016" PRIx64
                 ", neither of which kept the ids of the other: rows of one id may be different items",
                 x->fingerprint, y->fingerprint);
}

static Err compare_table(Comparison *c, const char *table) {
    const Snapshot *s[2];
    for (int side = 0; side < 2; side++)
        s[side] = schema_find_table(&c->schemas[side], table) >= 0 ? c->sides[side] : NULL;
    return diff_table(&c->tables[c->n_tables++], s[0], s[1], table, c->arguments->n_top);
}

/* Those of the first, then those that only the second has. */
static Err compare_tables(Comparison *c) {
    const char *only = c->arguments->table;
    Err e = OK;
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < c->schemas[side].n_tables && e == OK; i++) {
            const char *table = c->schemas[side].tables[i].name;
            if ((only && strcmp(only, table) != 0) || (side == 1 && schema_find_table(&c->schemas[0], table) >= 0))
                continue;
            e = compare_table(c, table);
        }
    return e != OK || c->n_tables ? e : err_fail(ERR_DATA, "neither snapshot has a table %s", only);
}

/* ---- printing ------------------------------------------------------------------------------------------------- */

/* The side whose schema knows the row. */
static const Schema *schema_with(const Comparison *c, const char *table) {
    return &c->schemas[schema_find_table(&c->schemas[1], table) < 0 ? 0 : 1];
}

static void print_top(const Comparison *c, const TableDiff *d) {
    const Schema *schema = schema_with(c, d->name);
    int table = schema_find_table(schema, d->name);
    if (!d->n_top || schema->tables[table].is_stats) /* sums and running means always move */
        return;
    printf("\n%-14s %10s %12s %12s %12s\n", d->name, "row", "moved", "norm before", "after");
    for (uint32_t k = 0; k < d->n_top; k++) {
        const MovedRow *m = &d->top[k];
        printf("%-14s %10" PRIu64 " %12.6g %12.6g %12.6g", "", m->row, m->distance, m->norm_before, m->norm_after);
        row_names_print(stdout, "  ", c->names, schema, table, m->row);
        putchar('\n');
    }
}

static void print_people(const Comparison *c) {
    printf("%s -> %s\n\n%-14s %10s %10s %10s %10s %10s %10s %12s %12s\n", c->sides[0]->dir, c->sides[1]->dir, "table",
           "rows", "then", "added", "removed", "changed", "unchanged", "moved median", "max");
    for (int i = 0; i < c->n_tables; i++) {
        const TableDiff *d = &c->tables[i];
        printf("%-14s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64, d->name,
               d->n_before, d->n_after, d->n_added, d->n_removed, d->n_changed, d->n_unchanged);
        if (d->distances.n)
            printf(" %12.6g %12.6g", d->distances.median, d->distances.max);
        if (d->n_not_finite)
            printf("  %" PRIu64 " rows are not finite", d->n_not_finite);
        putchar('\n');
    }
    for (int i = 0; i < c->n_tables; i++)
        print_top(c, &c->tables[i]);
}

static json_t *top_json(const Comparison *c, const TableDiff *d) {
    const Schema *schema = schema_with(c, d->name);
    int table = schema_find_table(schema, d->name);
    json_t *top = json_array();
    for (uint32_t k = 0; k < d->n_top; k++) {
        const MovedRow *m = &d->top[k];
        json_array_append_new(top,
                              json_pack("{s:I, s:o, s:f, s:f, s:f}", "row", (json_int_t)m->row, "name",
                                        json_output_text(row_names_get(c->names, schema, table, m->row)), "distance",
                                        m->distance, "norm_before", m->norm_before, "norm_after", m->norm_after));
    }
    return top;
}

static void print_programs(const Comparison *c) {
    json_t *tables = json_array();
    for (int i = 0; i < c->n_tables; i++) {
        const TableDiff *d = &c->tables[i];
        json_array_append_new(
            tables, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "table", d->name, "rows_before",
                              (json_int_t)d->n_before, "rows_after", (json_int_t)d->n_after, "added",
                              (json_int_t)d->n_added, "removed", (json_int_t)d->n_removed, "changed",
                              (json_int_t)d->n_changed, "unchanged", (json_int_t)d->n_unchanged, "not_finite",
                              (json_int_t)d->n_not_finite, "moved", spread_json(&d->distances), "top", top_json(c, d)));
    }
    json_output_line(json_pack("{s:o, s:o, s:o}", "before", json_output_text(c->sides[0]->dir), "after",
                               json_output_text(c->sides[1]->dir), "tables", tables),
                     JSON_DOUBLE_DIGITS);
}

/* ---- the command ---------------------------------------------------------------------------------------------- */

static Err diff(const DiffArguments *a) {
    Comparison *c = must_calloc(1, sizeof *c);
    c->arguments = a;
    Err e = open_side(c, 0);
    if (e == OK)
        e = open_side(c, 1);
    if (e == OK && a->data_dir)
        e = row_names_open(&c->names, c->sides[1], a->data_dir);
    if (e == OK) {
        warn_of_ids(c);
        e = compare_tables(c);
    }
    if (e == OK)
        (a->is_json ? print_programs : print_people)(c);
    if (e == OK && fflush(stdout))
        e = err_fail(ERR_IO, "cannot write to stdout: %m");
    for (int i = 0; i < c->n_tables; i++)
        diff_table_free(&c->tables[i]);
    row_names_close(&c->names);
    snapshot_close(&c->sides[0]);
    snapshot_close(&c->sides[1]);
    free(c);
    return e;
}

static uint32_t read_top(const char *text, struct argp_state *state) {
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || n > MAX_TOP)
        argp_error(state, "--top is a number of rows up to %d, not \"%s\"", MAX_TOP, text);
    return (uint32_t)n;
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    DiffArguments *a = state->input;
    switch (key) {
    case 'd':
        a->data_dir = arg;
        return 0;
    case 't':
        a->table = arg;
        return 0;
    case 'n':
        a->n_top = read_top(arg, state);
        return 0;
    case 'j':
        a->is_json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (a->n_dirs == 2)
            argp_error(state, "two snapshots, what is \"%s\"?", arg);
        a->dirs[a->n_dirs++] = arg;
        return 0;
    case ARGP_KEY_END:
        if (a->n_dirs < 2)
            argp_error(state, "which two snapshots? Directories like runs/quickstart/snapshots/epoch-0003, or runs "
                              "for their newest");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option OPTIONS[] = {
    {"table", 't', "NAME", 0, "This table alone", 0},
    {"top", 'n', "N", 0, "List the N rows of each table that moved farthest (default: 5)", 0},
    {"data", 'd', "DIR", 0, "The prepared data set that knows the names of those rows", 0},
    {"json", 'j', NULL, 0, "One JSON object with all digits", 0},
    {0},
};

int cmd_diff(int argc, char **argv) {
    DiffArguments a = {.n_top = DEFAULT_TOP};
    const struct argp argp = {
        OPTIONS,
        parse,
        "SNAPSHOT|RUN_DIR SNAPSHOT|RUN_DIR",
        "Compares the rows of two snapshots, the first with the second, table by table: how many were added, removed, "
        "changed and left as they were, how far they moved (2-norm of the difference of their "
        "values), and which moved farthest. RUN_DIR stands for the run's newest "
        "snapshot. The exit code is 0 whether or not they differ.",
        NULL,
        NULL,
        NULL};
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    Err e = diff(&a);
    if (e)
        log_error("%s", err_message());
    return err_exit_code(e);
}
