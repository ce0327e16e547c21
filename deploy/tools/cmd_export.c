/* mangrove export: a snapshot's tables, with names, in formats that others read. */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/work.h"
#include "deploy/commands.h"
#include "deploy/tools/export.h"

static void print_report(const ExportReport *report, const ExportOptions *options) {
    printf("%s -> %s\n", report->snapshot, options->out_dir);
    for (int i = 0; i < report->n_tables; i++) {
        const ExportedTable *t = &report->tables[i];
        printf("  %-12s %10" PRIu64 " rows of %" PRIu32 " values", t->name, t->n_rows, t->width);
        if (t->n_missing)
            printf("; %" PRIu64 " %s have no row: they were never trained", t->n_missing,
                   !t->is_sparse         ? "others"
                   : options->items_path ? "of the items asked for"
                                         : "items of the data set");
        putchar('\n');
    }
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    ExportOptions *o = state->input;
    switch (key) {
    case 'o':
        o->out_dir = arg;
        return 0;
    case 'f':
        o->format = export_format_find(arg);
        if (!o->format)
            argp_error(state, "--to is %s, not \"%s\"", EXPORT_FORMAT_NAMES, arg);
        return 0;
    case 'd':
        o->data_dir = arg;
        return 0;
    case 't':
        if (o->n_tables == SCHEMA_MAX_TABLES)
            argp_error(state, "at most %d tables", SCHEMA_MAX_TABLES);
        o->tables[o->n_tables++] = arg;
        return 0;
    case 'b':
        if (strcmp(arg, "A") && strcmp(arg, "B"))
            argp_error(state, "--best is A or B, not \"%s\"", arg);
        o->best_of = *arg - 'A' + DOMAIN_A;
        return 0;
    case 'i':
        o->items_path = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (o->source)
            argp_error(state, "one snapshot at a time, not also \"%s\"", arg);
        o->source = arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->source)
            argp_error(state,
                       "which SNAPSHOT? A directory like runs/quickstart/snapshots/epoch-0003, or runs/quickstart");
        if (!o->out_dir)
            argp_error(state, "where to? --out DIR");
        if (!o->format)
            argp_error(state, "in which format? --to %s", EXPORT_FORMAT_NAMES);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option OPTIONS[] = {
    {"out", 'o', "DIR", 0, "Where the files go: a new or empty directory, or an earlier export, which is replaced", 0},
    {"to", 'f', "FORMAT", 0, "npy, safetensors, vec (word2vec's text) or tsv", 0},
    {"data", 'd', "DIR", 0, "The prepared data set that has the items' names (default: the training's data.dir)", 0},
    {"table", 't', "NAME", 0, "A table, may be repeated (default: the item tables)", 0},
    {"best", 'b', "A|B", 0, "Of a run, the snapshot of this domain's best validation epoch, not the newest", 0},
    {"items", 'i', "FILE", 0, "Only the items named in this file, one a line, in its order", 0},
    {0},
};

int cmd_export(int argc, char **argv) {
    ExportOptions o = {.best_of = -1};
    const struct argp argp = {
        OPTIONS,
        parse,
        "SNAPSHOT|RUN_DIR",
        "Writes a snapshot's tables with the names of their rows, one file per table, rows of all servers merged in "
        "the order of ids. RUN_DIR stands for the run's newest snapshot; with --best for that of a domain's best "
        "validation epoch, which is what evaluate and recommend read. In text files \\xHH is a byte of a name that "
        "could not stand there itself.",
        NULL,
        NULL,
        NULL};
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    ExportReport *report = must_calloc(1, sizeof *report);
    Err err = export_run(&o, report);
    if (err)
        log_error("%s", err_message());
    else
        print_report(report, &o);
    free(report);
    return err_exit_code(err);
}
