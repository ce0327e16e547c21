/* mangrove inspect: what is in a snapshot. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "deploy/commands.h"
#include "deploy/tools/inspect_rows.h"
#include "deploy/tools/inspect_summary.h"
#include "deploy/tools/json_output.h"
#include "deploy/tools/name_text.h"
#include "deploy/tools/table_facts.h"
#include "server/snapshot/snapshot_list.h"
#include "server/snapshot/snapshot_schema.h"

typedef struct InspectArguments {
    const char *dir;
    InspectRows rows;
} InspectArguments;

static bool asks_for_rows(const InspectArguments *a) {
    return a->rows.row || a->rows.name || a->rows.file;
}

/* ---- tables --------------------------------------------------------------------------------------------------- */

/* Of all tables, or of the one that was asked for: facts (SCHEMA_MAX_TABLES) out, n their number. */
static Err gather_tables(const Snapshot *s, const char *only, TableFacts *facts, int *n) {
    Schema *schema = must_alloc(sizeof *schema);
    int table = 0;
    Err e = snapshot_schema(s, schema);
    if (e == OK && only)
        e = snapshot_schema_table(s, schema, only, &table);
    *n = e != OK ? 0 : only ? 1 : schema->n_tables;
    for (int i = 0; i < *n && e == OK; i++)
        e = table_facts(&facts[i], s, schema, table + i);
    free(schema);
    return e;
}

static json_t *tables_json(const TableFacts *facts, int n) {
    json_t *json = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(json, table_facts_json(&facts[i]));
    return json;
}

/* ---- a run ---------------------------------------------------------------------------------------------------- */

/* The others, of which only the manifests are read. NULL for a snapshot alone. */
static json_t *run_json(const SnapshotList *list) {
    if (!list->is_run)
        return NULL;
    json_t *json = json_array();
    for (size_t i = 0; i < list->n; i++) {
        Snapshot *s;
        if (snapshot_open(&s, list->at[i].dir) == OK)
            json_array_append_new(json, inspect_summary(s));
        else
            log_warn("%s", err_message());
        snapshot_close(&s);
    }
    return json;
}

static void print_people(const json_t *summary, const TableFacts *facts, int n, const json_t *run) {
    size_t i;
    const json_t *one;
    json_array_foreach(run, i, one) {
        inspect_summary_print_line(one);
    }
    if (run)
        putchar('\n');
    inspect_summary_print(summary);
    putchar('\n');
    table_facts_print(facts, n);
}

static void print_programs(json_t *summary, const TableFacts *facts, int n, json_t *run) {
    json_object_set_new(summary, "tables", tables_json(facts, n));
    if (run)
        json_object_set(summary, "run", run);
    json_output_line(json_incref(summary), JSON_DOUBLE_DIGITS);
}

/* ---- the command ---------------------------------------------------------------------------------------------- */

static Err describe(const Snapshot *s, const SnapshotList *list, const InspectArguments *a) {
    TableFacts *facts = must_calloc(SCHEMA_MAX_TABLES, sizeof *facts);
    int n;
    Err e = gather_tables(s, a->rows.table, facts, &n);
    if (e == OK) {
        json_t *summary = inspect_summary(s), *run = run_json(list);
        if (a->rows.is_json)
            print_programs(summary, facts, n, run);
        else
            print_people(summary, facts, n, run);
        json_decref(summary);
        json_decref(run);
    }
    free(facts);
    return e;
}

static Err inspect(const InspectArguments *a) {
    SnapshotList list;
    Snapshot *s = NULL;
    Err e = snapshot_list(&list, a->dir);
    if (e == OK && list.n == 0)
        e = err_fail(ERR_IO, "%s: the run has no snapshot", a->dir);
    if (e == OK)
        e = snapshot_open(&s, list.at[list.n - 1].dir);
    if (e == OK)
        e = asks_for_rows(a) ? inspect_rows(s, &a->rows) : describe(s, &list, a);
    if (e == OK && fflush(stdout))
        e = err_fail(ERR_IO, "cannot write to stdout: %m");
    snapshot_close(&s);
    snapshot_list_free(&list);
    return e;
}

static void check_arguments(const InspectArguments *a, struct argp_state *state) {
    if (!a->dir)
        argp_error(state, "which SNAPSHOT? A directory like runs/quickstart/snapshots/epoch-0003, or runs/quickstart "
                          "for its newest");
    if (!!a->rows.row + !!a->rows.name + !!a->rows.file > 1)
        argp_error(state, "one of --row, --name and --rows");
    if (asks_for_rows(a) && !a->rows.table)
        argp_error(state, "which table? --table NAME; without rows, inspect lists the tables");
    if (!asks_for_rows(a) && a->rows.data_dir)
        argp_error(state, "--data gives names to rows: add --row, --name or --rows");
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    InspectArguments *a = state->input;
    switch (key) {
    case 't':
        a->rows.table = arg;
        return 0;
    case 'r':
        a->rows.row = arg;
        return 0;
    case 'n':
        a->rows.name = arg;
        if (!name_text_read(arg, strlen(arg)))
            argp_error(state, "--name holds \\x00, as no name does");
        return 0;
    case 'f':
        a->rows.file = arg;
        return 0;
    case 'd':
        a->rows.data_dir = arg;
        return 0;
    case 'j':
        a->rows.is_json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (a->dir)
            argp_error(state, "one SNAPSHOT or RUN_DIR, not both \"%s\" and \"%s\"", a->dir, arg);
        a->dir = arg;
        return 0;
    case ARGP_KEY_END:
        check_arguments(a, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option OPTIONS[] = {
    {"table", 't', "NAME", 0, "This table alone", 0},
    {"row", 'r', "ID", 0, "Print this row of the table with all its columns", 0},
    {"name", 'n', "NAME", 0, "The same, of the item or user of this name", 0},
    {"rows", 'f', "FILE", 0, "The same for many, one a line (-: stdin): ids, or, with --data, names", 0},
    {"data", 'd', "DIR", 0,
     "The prepared data set that knows the names (default for --name: the configuration's); the lines of --rows are "
     "then names alone",
     0},
    {"json", 'j', NULL, 0, "One JSON object, or one for each row", 0},
    {0},
};

int cmd_inspect(int argc, char **argv) {
    InspectArguments a = {0};
    const struct argp argp = {OPTIONS,
                              parse,
                              "SNAPSHOT|RUN_DIR",
                              "Shows what is in a snapshot: where it comes from, its tables and how long their rows "
                              "are, its metrics. RUN_DIR stands for the run's newest snapshot, and the others "
                              "are listed. Rows are "
                              "printed with nine digits, which give each float back; all that is shown has been "
                              "verified.",
                              NULL,
                              NULL,
                              NULL};
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    Err e = inspect(&a);
    if (e)
        log_error("%s", err_message());
    return err_exit_code(e);
}
