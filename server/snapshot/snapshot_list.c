/* One snapshot, or those of a run. */
#include "server/snapshot/snapshot_list.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "server/snapshot/snapshot_manifest.h"

bool snapshot_name_parse(const char *name, SnapshotName *out) {
    char again[64];
    *out = (SnapshotName){.steps = UINT32_MAX};
    int n = sscanf(name, "epoch-%" SCNu32 "-step-%" SCNu32, &out->epoch, &out->steps);
    if (n == 2)
        snprintf(again, sizeof again, "epoch-%04" PRIu32 "-step-%06" PRIu32, out->epoch, out->steps);
    else
        snprintf(again, sizeof again, "epoch-%04" PRIu32, out->epoch);
    return n > 0 && strcmp(name, again) == 0;
}

static bool has_file(const char *dir, const char *name) {
    char *path = snapshot_path(dir, name);
    bool is_there = access(path, F_OK) == 0;
    free(path);
    return is_there;
}

static void add(SnapshotList *list, char *dir, SnapshotName name) {
    list->at = must_realloc(list->at, (list->n + 1) * sizeof *list->at);
    list->at[list->n++] = (SnapshotPlace){.dir = dir, .name = name};
}

int snapshot_name_compare(const SnapshotName *a, const SnapshotName *b) {
    if (a->epoch != b->epoch)
        return a->epoch < b->epoch ? -1 : 1;
    return a->steps < b->steps ? -1 : a->steps > b->steps;
}

static int in_order_of_training(const void *a, const void *b) {
    return snapshot_name_compare(&((const SnapshotPlace *)a)->name, &((const SnapshotPlace *)b)->name);
}

static void list_run(SnapshotList *list, const char *snapshots, bool has_manifest, DIR *d) {
    for (struct dirent *entry; (entry = readdir(d));) {
        SnapshotName name;
        if (!snapshot_name_parse(entry->d_name, &name))
            continue;
        char *dir = snapshot_path(snapshots, entry->d_name);
        bool is_finished = has_file(dir, "manifest.json");
        list->n_unfinished += !is_finished;
        if (is_finished == has_manifest)
            add(list, dir, name);
        else
            free(dir);
    }
    if (list->n)
        qsort(list->at, list->n, sizeof *list->at, in_order_of_training);
}

Err snapshot_list_folder(SnapshotList *out, const char *snapshots, bool has_manifest) {
    *out = (SnapshotList){.is_run = true};
    DIR *d = opendir(snapshots);
    if (!d)
        return errno == ENOENT ? OK : err_fail(ERR_IO, "cannot list %s: %m", snapshots);
    list_run(out, snapshots, has_manifest, d);
    closedir(d);
    return OK;
}

const char *snapshot_place_name(const SnapshotPlace *place) {
    const char *slash = strrchr(place->dir, '/');
    return slash ? slash + 1 : place->dir;
}

/* Why dir is neither a snapshot nor a run. */
static Err explain(const char *dir) {
    DIR *d = opendir(dir);
    if (!d)
        return err_fail(ERR_IO, "cannot open %s: %m", dir);
    bool has_rows = false;
    for (struct dirent *entry; (entry = readdir(d));)
        has_rows |= fnmatch("server-*.safetensors", entry->d_name, 0) == 0;
    closedir(d);
    return has_rows ? err_fail(ERR_CORRUPT,
                               "%s/manifest.json: is not there, so this is no snapshot: it was not "
                               "finished, or its manifest is lost",
                               dir)
                    : err_fail(ERR_IO,
                               "%s is neither a snapshot (it has no manifest.json) nor a run (it has no "
                               "directory snapshots)",
                               dir);
}

Err snapshot_list(SnapshotList *out, const char *dir) {
    *out = (SnapshotList){0};
    if (has_file(dir, "manifest.json")) {
        add(out, must_strdup(dir), (SnapshotName){0});
        return OK;
    }
    char *snapshots = snapshot_path(dir, "snapshots");
    DIR *d = opendir(snapshots);
    out->is_run = d != NULL;
    if (d) {
        list_run(out, snapshots, true, d);
        closedir(d);
    }
    free(snapshots);
    return d ? OK : explain(dir);
}

void snapshot_list_free(SnapshotList *list) {
    for (size_t i = 0; i < list->n; i++)
        free(list->at[i].dir);
    free(list->at);
    *list = (SnapshotList){0};
}
