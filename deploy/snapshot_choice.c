#include "deploy/snapshot_choice.h"

#include <dirent.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/files.h"
#include "server/snapshot/snapshot_list.h"

enum { MAX_EVALUATION_BYTES = 1 << 20 };

/* The newest epoch of the run that has been evaluated; 0: none. */
static uint32_t newest_evaluated(const char *run_dir) {
    char path[SNAPSHOT_CHOICE_PATH];
    uint32_t newest = 0, epoch;
    snprintf(path, sizeof path, "%s/snapshots", run_dir);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (sscanf(e->d_name, "epoch-%u", &epoch) != 1 || epoch <= newest)
            continue;
        snprintf(path, sizeof path, "%s/snapshots/%s/evaluation.json", run_dir, e->d_name);
        if (!access(path, R_OK))
            newest = epoch;
    }
    if (dir)
        closedir(dir);
    return newest;
}

static void epoch_path(char *out, const char *run_dir, uint32_t epoch, const char *file) {
    snprintf(out, SNAPSHOT_CHOICE_PATH, "%s/snapshots/epoch-%04u%s", run_dir, epoch, file);
}

/* A run that was resumed under another run.dir may have its best epoch in the first one. */
static Err choose_epoch(char *out, const char *run_dir, int domain, uint32_t epoch) {
    char manifest[SNAPSHOT_CHOICE_PATH];
    epoch_path(manifest, run_dir, epoch, "/manifest.json");
    epoch_path(out, run_dir, epoch, "");
    return !access(manifest, F_OK) ? OK
                                   : err_fail(ERR_IO,
                                              "the best epoch of domain %c is %" PRIu32 ", whose snapshot is not in %s "
                                              "(was the run resumed from another one's?): name a snapshot",
                                              "AB"[domain], epoch, run_dir);
}

Err snapshot_choose(const char *dir, char chosen[N_DOMAINS][SNAPSHOT_CHOICE_PATH]) {
    static const char *const DOMAIN_NAMES[N_DOMAINS] = {"A", "B"};
    char path[SNAPSHOT_CHOICE_PATH], *text;
    size_t size;
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    for (int d = 0; d < N_DOMAINS; d++)
        snprintf(chosen[d], SNAPSHOT_CHOICE_PATH, "%s", dir);
    if (!access(path, F_OK))
        return OK;
    uint32_t newest = newest_evaluated(dir);
    if (!newest)
        return err_fail(ERR_IO, "%s is neither a snapshot (it has no manifest.json) nor a run with an evaluated one",
                        dir);
    epoch_path(path, dir, newest, "/evaluation.json");
    Err err = read_file(path, MAX_EVALUATION_BYTES, &text, &size);
    if (err)
        return err;
    json_t *json = json_loadb(text, size, 0, NULL);
    free(text);
    for (int d = 0; d < N_DOMAINS && !err; d++) {
        json_int_t epoch = json_integer_value(json_object_get(json_object_get(json, DOMAIN_NAMES[d]), "best_epoch"));
        if (epoch < 1 || epoch > newest)
            err = err_fail(ERR_CORRUPT, "%s does not tell domain %s's best epoch", path, DOMAIN_NAMES[d]);
        else
            err = choose_epoch(chosen[d], dir, d, (uint32_t)epoch);
    }
    json_decref(json);
    return err;
}

Err snapshot_choose_newest(const char *dir, char chosen[SNAPSHOT_CHOICE_PATH]) {
    SnapshotList list;
    Err err = snapshot_list(&list, dir);
    if (!err && list.n == 0)
        err = err_fail(ERR_IO, "%s is a run without a snapshot", dir);
    if (!err)
        snprintf(chosen, SNAPSHOT_CHOICE_PATH, "%s", list.at[list.n - 1].dir);
    snapshot_list_free(&list);
    return err;
}
