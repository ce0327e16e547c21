#include "deploy/export_dir.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/files.h"
#include "common/log.h"

enum { MAX_DIR = EXPORT_DIR_PATH - 256, PATH_BYTES = 2 * EXPORT_DIR_PATH };

static const char MANIFEST[] = "export.json";

static bool is_dot(const char *name) {
    return !strcmp(name, ".") || !strcmp(name, "..");
}

/* ---- whose directory is it? ----------------------------------------------------------------------------------- */

static bool lists_file(const json_t *manifest, const char *name) {
    size_t i, k;
    json_t *table, *file;
    json_array_foreach(json_object_get(manifest, "tables"), i, table)
        json_array_foreach(json_object_get(table, "files"), k,
                           file) if (json_is_string(file) && !strcmp(json_string_value(file), name)) return true;
    return !strcmp(name, MANIFEST);
}

static bool is_export(const json_t *manifest) {
    const char *format = json_string_value(json_object_get(manifest, "format"));
    return format && !strcmp(format, "mangrove export");
}

/* A name that is no file of the export, or of no export at all; "" if there is none. */
static Err find_stranger(const char *dir, const json_t *manifest, char stranger[NAME_MAX + 1]) {
    DIR *entries = opendir(dir);
    if (!entries)
        return err_fail(ERR_IO, "cannot list %s: %m", dir);
    stranger[0] = 0;
    for (struct dirent *e; !stranger[0] && (e = readdir(entries));)
        if (!is_dot(e->d_name) && !(is_export(manifest) && lists_file(manifest, e->d_name)))
            snprintf(stranger, NAME_MAX + 1, "%s", e->d_name);
    closedir(entries);
    return OK;
}

static Err check_place(const char *dir, bool *is_there) {
    char path[PATH_BYTES], stranger[NAME_MAX + 1];
    struct stat info;
    *is_there = lstat(dir, &info) == 0;
    if (!*is_there)
        return OK;
    if (!S_ISDIR(info.st_mode))
        return err_fail(ERR_USAGE, "--out %s is there and is no directory", dir);
    snprintf(path, sizeof path, "%s/%s", dir, MANIFEST);
    json_t *manifest = json_load_file(path, 0, NULL); /* NULL if there is none */
    Err err = find_stranger(dir, manifest, stranger);
    if (!err && stranger[0])
        err = err_fail(ERR_USAGE, "--out %s holds %s, which is not of an earlier export: choose another directory", dir,
                       stranger);
    json_decref(manifest);
    return err;
}

/* ---- writing beside and moving in ----------------------------------------------------------------------------- */

static Err make_parent(const char *dir) {
    char parent[EXPORT_DIR_PATH];
    snprintf(parent, sizeof parent, "%s", dir);
    char *slash = strrchr(parent, '/');
    if (!slash || slash == parent)
        return OK;
    *slash = 0;
    return make_directories(parent);
}

Err export_dir_begin(ExportDir *d, const char *path) {
    *d = (ExportDir){0};
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (n == 0 || n > MAX_DIR)
        return err_fail(ERR_USAGE, "--out needs a path of 1 to %d bytes", MAX_DIR);
    snprintf(d->path, sizeof d->path, "%.*s", (int)n, path);
    Err err = check_place(d->path, &d->is_replacing);
    if (!err)
        err = make_parent(d->path);
    if (err)
        return err;
    snprintf(d->temp, sizeof d->temp, "%.*s.tmp.%d", MAX_DIR, d->path, (int)getpid());
    if (mkdir(d->temp, 0777)) {
        err = err_fail(ERR_IO, "cannot make the directory %s: %m", d->temp);
        d->temp[0] = 0;
    }
    return err;
}

/* A directory in which every file is ours. */
static void remove_directory(const char *dir) {
    char path[PATH_BYTES];
    DIR *entries = opendir(dir);
    for (struct dirent *e; entries && (e = readdir(entries));) {
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (!is_dot(e->d_name))
            unlink(path);
    }
    if (entries)
        closedir(entries);
    rmdir(dir);
}

/* An earlier export steps aside, and comes back if the new one cannot take its place. */
Err export_dir_commit(ExportDir *d) {
    char inside[PATH_BYTES], old[EXPORT_DIR_PATH];
    snprintf(inside, sizeof inside, "%s/%s", d->temp, MANIFEST);
    snprintf(old, sizeof old, "%.*s.old.%d", MAX_DIR, d->path, (int)getpid());
    Err err = sync_directory_of(inside);
    if (!err && d->is_replacing && rename(d->path, old))
        err = err_fail(ERR_IO, "cannot rename %s to %s: %m", d->path, old);
    if (err)
        return err;
    if (rename(d->temp, d->path)) {
        err = err_fail(ERR_IO, "cannot rename %s to %s: %m", d->temp, d->path);
        if (d->is_replacing && rename(old, d->path))
            log_warn("the earlier export is now in %s", old);
        return err;
    }
    d->temp[0] = 0;
    if (d->is_replacing)
        remove_directory(old);
    return sync_directory_of(d->path);
}

void export_dir_end(ExportDir *d) {
    if (d->temp[0])
        remove_directory(d->temp);
    d->temp[0] = 0;
}
