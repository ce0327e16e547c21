/* Old snapshots go, what nobody understands stays. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/files.h"
#include "common/log.h"
#include "server/snapshot.h"
#include "server/snapshot_manifest.h"

typedef struct Found {
    uint32_t epoch;
    char *dir;
} Found;

typedef struct FoundList {
    Found *items;
    size_t n, capacity;
} FoundList;

/* A directory epoch-NNNN with a committed manifest of that epoch. Anything else is left alone. */
static bool is_snapshot(const char *name, const char *dir, uint32_t *epoch) {
    char again[32];
    Snapshot *s;
    if (sscanf(name, "epoch-%u", epoch) != 1)
        return false;
    snprintf(again, sizeof again, "epoch-%04u", *epoch);
    if (strcmp(name, again) != 0 || snapshot_open(&s, dir) != OK)
        return false;
    bool is_same = snapshot_epoch(s) == *epoch;
    snapshot_close(&s);
    return is_same;
}

static Err find_snapshots(const char *snapshots_dir, FoundList *list) {
    DIR *d = opendir(snapshots_dir);
    if (!d)
        return err_fail(ERR_IO, "cannot list %s: %m", snapshots_dir);
    for (struct dirent *entry; (entry = readdir(d));) {
        uint32_t epoch;
        char *dir = snapshot_path(snapshots_dir, entry->d_name);
        if (!is_snapshot(entry->d_name, dir, &epoch)) {
            free(dir);
            continue;
        }
        if (list->n == list->capacity) {
            list->capacity = 2 * list->capacity + 16;
            list->items = must_realloc(list->items, list->capacity * sizeof *list->items);
        }
        list->items[list->n++] = (Found){.epoch = epoch, .dir = dir};
    }
    closedir(d);
    return OK;
}

static int newest_first(const void *a, const void *b) {
    uint32_t x = ((const Found *)a)->epoch, y = ((const Found *)b)->epoch;
    return x > y ? -1 : x < y;
}

static Err remove_file(const char *dir, const char *name) {
    char *path = snapshot_path(dir, name);
    Err e = unlink(path) == 0 || errno == ENOENT ? OK : err_fail(ERR_IO, "cannot delete %s: %m", path);
    free(path);
    return e;
}

/* The manifest goes first and for good, so that a half deleted snapshot is none. Files that the manifest does not name
 * stay, and with them the directory. */
static Err delete_snapshot(const char *dir) {
    Snapshot *s;
    Err e = snapshot_open(&s, dir);
    if (e != OK)
        return e;
    char *inside = snapshot_path(dir, ".");
    e = remove_file(dir, "manifest.json");
    if (e == OK)
        e = sync_directory_of(inside);
    for (size_t i = 0; i < s->n_files && e == OK; i++)
        e = remove_file(dir, s->files[i].file);
    if (e == OK)
        e = remove_file(dir, "evaluation.json");
    if (e == OK && rmdir(dir) != 0 && errno != ENOTEMPTY && errno != EEXIST)
        e = err_fail(ERR_IO, "cannot delete %s: %m", dir);
    free(inside);
    snapshot_close(&s);
    return e;
}

Err snapshot_prune(const char *snapshots_dir, int keep, const uint32_t best_epoch[N_DOMAINS]) {
    FoundList list = {0};
    Err e = find_snapshots(snapshots_dir, &list);
    if (list.n)
        qsort(list.items, list.n, sizeof *list.items, newest_first);
    for (size_t i = 0; i < list.n; i++) {
        const Found *f = &list.items[i];
        if (e == OK && i >= (size_t)keep && f->epoch != best_epoch[DOMAIN_A] && f->epoch != best_epoch[DOMAIN_B])
            e = delete_snapshot(f->dir);
        free(f->dir);
    }
    free(list.items);
    return e;
}
