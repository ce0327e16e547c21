#include "server/run_resume.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/files.h"
#include "common/log.h"
#include "server/snapshot/snapshot_list.h"
#include "server/snapshot/snapshot_manifest.h"
#include "server/snapshot/snapshot_prune.h"

enum { MAX_METRICS_BYTES = 1 << 30, MAX_DAMAGED = 1000 };

/* ---- an unused directory -------------------------------------------------------------------------------------- */

static bool has_entries(const char *path) {
    DIR *dir = opendir(path);
    bool found = false;
    for (struct dirent *e; dir && (e = readdir(dir));)
        found = found || e->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return found;
}

Err run_resume_check_unused(const Config *config) {
    char *metrics = snapshot_path(config->run_dir, "metrics.jsonl");
    char *snapshots = snapshot_path(config->run_dir, "snapshots");
    struct stat st;
    bool is_used = (stat(metrics, &st) == 0 && st.st_size > 0) || has_entries(snapshots);
    free(metrics);
    free(snapshots);
    return is_used ? err_fail(ERR_CONFIG,
                              "%s holds an earlier run: go on with --resume, move it away, or give this run another "
                              "run.dir",
                              config->run_dir)
                   : OK;
}

/* ---- newer snapshots ------------------------------------------------------------------------------------------ */

/* dir.damaged, or dir.damaged-2 ... where that is taken. */
static Err set_aside(const char *dir) {
    size_t size = strlen(dir) + 32;
    char *aside = must_alloc(size);
    int failed = -1;
    for (int i = 1; failed && i <= MAX_DAMAGED; i++) {
        snprintf(aside, size, i == 1 ? "%s.damaged" : "%s.damaged-%d", dir, i);
        failed = access(aside, F_OK) == 0 ? -1 : rename(dir, aside);
    }
    Err err = failed ? err_fail(ERR_IO, "cannot rename %s to %s: %m", dir, aside) : OK;
    if (!err)
        log_warn("renamed %s to %s, because it is not whole", dir, aside);
    free(aside);
    return err;
}

static Err settle(const SnapshotPlace *newer, const SnapshotStart *start) {
    Snapshot *s;
    Err err = snapshot_open(&s, newer->dir);
    if (!err)
        err = snapshot_start_verify(s);
    snapshot_close(&s);
    if (!err)
        return err_fail(ERR_CONFIG,
                        "%s holds newer snapshots than the one to resume, %s; the newest is %s: resume that, or give "
                        "this run another run.dir",
                        start->run_dir, start->scheduler.dir, snapshot_place_name(newer));
    return err == ERR_IO ? err : set_aside(newer->dir);
}

static Err settle_newer(const SnapshotStart *start) {
    char *snapshots = snapshot_path(start->run_dir, "snapshots");
    const char *name = strrchr(start->scheduler.dir, '/') + 1;
    SnapshotName own;
    SnapshotList list;
    Err err = snapshot_list_folder(&list, snapshots, true);
    if (!err && !snapshot_name_parse(name, &own))
        err = err_fail(ERR_CONFIG,
                       "%s has not the name of a snapshot, so nobody knows whether others are newer: give this run "
                       "another run.dir",
                       start->scheduler.dir);
    for (size_t i = list.n; i > 0 && !err && snapshot_name_compare(&list.at[i - 1].name, &own) > 0; i--)
        err = settle(&list.at[i - 1], start);
    snapshot_list_free(&list);
    if (!err)
        err = snapshot_sweep(snapshots);
    free(snapshots);
    return err;
}

/* ---- metrics.jsonl -------------------------------------------------------------------------------------------- */

/* The epoch of a line; 0: nobody can read it. */
static uint32_t epoch_of(const char *line, size_t size) {
    json_t *json = json_loadb(line, size, JSON_REJECT_DUPLICATES, NULL);
    json_int_t epoch = json_integer_value(json_object_get(json, "epoch"));
    json_decref(json);
    return epoch > 0 && epoch <= UINT32_MAX ? (uint32_t)epoch : 0;
}

/* Drops the lines of later epochs, and what a crash left of the last line. What nobody can read stays. Bytes left. */
static size_t drop_later(char *text, size_t size, uint32_t last_epoch) {
    size_t kept = 0, n;
    for (const char *at = text, *end; (end = memchr(at, '\n', size - (size_t)(at - text))); at = end + 1) {
        n = (size_t)(end + 1 - at);
        if (epoch_of(at, n - 1) > last_epoch)
            continue;
        memmove(text + kept, at, n);
        kept += n;
    }
    return kept;
}

/* The lines of the epochs that were complete at the start; the caller frees them. */
static Err lines_before(const SnapshotStart *start, char **text, size_t *size) {
    const SchedulerStart *s = &start->scheduler;
    char *from = snapshot_path(start->run_dir, "metrics.jsonl");
    Err err = OK;
    *text = NULL;
    *size = 0;
    if (start->run_dir[0] && access(from, F_OK) == 0)
        err = read_file(from, MAX_METRICS_BYTES, text, size);
    if (!err && *text)
        *size = drop_later(*text, *size, s->is_evaluated ? s->epoch : s->epoch - 1);
    free(from);
    return err;
}

/* What a branch leaves that ended before it had trained anything, for example because its port was taken. */
static bool holds_only(const Config *config, const char *text, size_t size) {
    char *path = snapshot_path(config->run_dir, "metrics.jsonl"), *found = NULL;
    char *snapshots = snapshot_path(config->run_dir, "snapshots");
    size_t n = 0;
    bool is_same = size && !has_entries(snapshots) && access(path, F_OK) == 0 &&
                   read_file(path, MAX_METRICS_BYTES, &found, &n) == OK && n == size && !memcmp(found, text, size);
    free(found);
    free(path);
    free(snapshots);
    return is_same;
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

Err run_resume_prepare(const Config *config, const SnapshotStart *start) {
    char *to = snapshot_path(config->run_dir, "metrics.jsonl"), *text;
    size_t size;
    Err err = lines_before(start, &text, &size);
    if (!err && strcmp(config->run_dir, start->run_dir) == 0)
        err = settle_newer(start);
    else if (!err && !holds_only(config, text, size))
        err = run_resume_check_unused(config);
    if (!err)
        err = write_file_durably(to, text ? text : "", size);
    free(text);
    free(to);
    return err;
}
