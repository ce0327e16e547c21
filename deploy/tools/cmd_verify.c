/* mangrove verify: are snapshots whole? */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "deploy/commands.h"
#include "deploy/tools/json_output.h"
#include "server/snapshot/snapshot_list.h"
#include "server/snapshot/snapshot_verify.h"

typedef struct VerifyArguments {
    const char *dir;
    bool is_json;
} VerifyArguments;

/* ---- printing ------------------------------------------------------------------------------------------------- */

static const char *verdict_name(Err verdict) {
    return verdict == OK ? "ok" : verdict == ERR_IO ? "unreadable" : "corrupt";
}

static double rate_of(const SnapshotCheck *c) {
    return c->elapsed_us ? (double)c->n_bytes / 1e3 / (double)c->elapsed_us : 0; /* GB/s */
}

static void print_check(const SnapshotCheck *c) {
    printf("%s: %s, %zu files, %.3f GB, %.2f GB/s%s", c->dir, verdict_name(c->verdict), c->n_files,
           (double)c->n_bytes / 1e9, rate_of(c), c->is_evaluated ? ", evaluated" : "");
    if (c->base)
        printf(", goes on from %s", c->base);
    putchar('\n');
    for (size_t i = 0; i < c->n_faults; i++)
        printf("  %s\n", c->faults[i]);
    fflush(stdout);
}

static void print_json(const SnapshotCheck *c) {
    json_t *faults = json_array();
    for (size_t i = 0; i < c->n_faults; i++)
        json_array_append_new(faults, json_output_spelled(c->faults[i]));
    json_t *json = json_pack("{s:o, s:s, s:I, s:I, s:f, s:f, s:b, s:o, s:o}", "snapshot", json_output_spelled(c->dir),
                             "verdict", verdict_name(c->verdict), "files", (json_int_t)c->n_files, "bytes",
                             (json_int_t)c->n_bytes, "seconds", (double)c->elapsed_us / 1e6, "gb_per_s", rate_of(c),
                             "evaluated", (int)c->is_evaluated, "base", json_output_spelled(c->base), "faults", faults);
    json_output_line(json, JSON_DOUBLE_DIGITS);
}

/* ---- the command ---------------------------------------------------------------------------------------------- */

/* One sentence for all. */
static Err conclude(const SnapshotCheck *checks, size_t n) {
    size_t n_corrupt = 0, n_unreadable = 0;
    for (size_t i = 0; i < n; i++) {
        n_corrupt += checks[i].verdict == ERR_CORRUPT;
        n_unreadable += checks[i].verdict == ERR_IO;
    }
    if (n_corrupt)
        return err_fail(ERR_CORRUPT, "%zu of %zu snapshots are corrupt", n_corrupt, n);
    return n_unreadable ? err_fail(ERR_IO, "%zu of %zu snapshots could not be read", n_unreadable, n) : OK;
}

static Err verify(const VerifyArguments *a) {
    SnapshotList list;
    Err e = snapshot_list(&list, a->dir);
    SnapshotCheck *checks = must_calloc(list.n + 1, sizeof *checks);
    for (size_t i = 0; i < list.n; i++) {
        snapshot_verify(&checks[i], list.at[i].dir, checks, i);
        (a->is_json ? print_json : print_check)(&checks[i]);
    }
    if (list.n_unfinished)
        log_info("%s: snapshots that were not finished (without a manifest): %zu", a->dir, list.n_unfinished);
    if (e == OK && list.n == 0)
        e = err_fail(ERR_IO, "%s: the run has no snapshot", a->dir);
    if (e == OK)
        e = conclude(checks, list.n);
    for (size_t i = 0; i < list.n; i++)
        snapshot_check_free(&checks[i]);
    free(checks);
    snapshot_list_free(&list);
    return e;
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    VerifyArguments *a = state->input;
    switch (key) {
    case 'j':
        a->is_json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (a->dir)
            argp_error(state, "one SNAPSHOT or RUN_DIR, not both \"%s\" and \"%s\"", a->dir, arg);
        a->dir = arg;
        return 0;
    case ARGP_KEY_END:
        if (!a->dir)
            argp_error(state, "which SNAPSHOT? A directory like runs/quickstart/snapshots/epoch-0003, or "
                              "runs/quickstart for all of its snapshots");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option OPTIONS[] = {
    {"json", 'j', NULL, 0, "A JSON object for each snapshot, one a line", 0},
    {0},
};

int cmd_verify(int argc, char **argv) {
    VerifyArguments a = {0};
    const struct argp argp = {OPTIONS,
                              parse,
                              "SNAPSHOT|RUN_DIR",
                              "Reads every byte of a snapshot, or of all snapshots of a run, and compares it with the "
                              "manifest: every damaged, missing or exchanged file is named with its block. A snapshot "
                              "that goes on from a full one is read together with it. Exit code 5 if any is corrupt.",
                              NULL,
                              NULL,
                              NULL};
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    Err e = verify(&a);
    if (e)
        log_error("%s", err_message());
    return err_exit_code(e);
}
