#include "deploy/snapshot_choice.h"

#include <dirent.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/files.h"

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
            epoch_path(chosen[d], dir, (uint32_t)epoch, "");
    }
    json_decref(json);
    return err;
}

/* The place of a snapshot's directory in its run by its name, epoch-NNNN or epoch-NNNN-step-NNNNNN; 0: no such name. */
static uint64_t place_of(const char *name) {
    char again[64];
    uint32_t epoch, step = UINT32_MAX; /* the end of the epoch */
    int n = sscanf(name, "epoch-%" SCNu32 "-step-%" SCNu32, &epoch, &step);
    if (n < 1)
        return 0;
    if (n == 1)
        snprintf(again, sizeof again, "epoch-%04" PRIu32, epoch);
    else
        snprintf(again, sizeof again, "epoch-%04" PRIu32 "-step-%06" PRIu32, epoch, step);
    return strcmp(name, again) ? 0 : (uint64_t)epoch << 32 | step;
}

Err snapshot_choose_newest(const char *dir, char chosen[SNAPSHOT_CHOICE_PATH]) {
    char path[SNAPSHOT_CHOICE_PATH];
    uint64_t newest = 0;
    snprintf(chosen, SNAPSHOT_CHOICE_PATH, "%s", dir);
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    if (!access(path, F_OK))
        return OK;
    snprintf(path, sizeof path, "%s/snapshots", dir);
    DIR *snapshots = opendir(path);
    for (struct dirent *e; snapshots && (e = readdir(snapshots));) {
        uint64_t place = place_of(e->d_name);
        snprintf(path, sizeof path, "%s/snapshots/%s/manifest.json", dir, e->d_name);
        if (place <= newest || access(path, F_OK))
            continue;
        newest = place;
        snprintf(chosen, SNAPSHOT_CHOICE_PATH, "%s/snapshots/%s", dir, e->d_name);
    }
    if (snapshots)
        closedir(snapshots);
    return newest ? OK : err_fail(ERR_IO, "%s is neither a snapshot (it has no manifest.json) nor a run with one", dir);
}
