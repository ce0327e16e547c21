#include "deploy/tools/export_dir.h"

#include <dirent.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_BYTES = NEW_DIRECTORY_PATH + 64 };

static const char MANIFEST[] = "export.json";

static bool is_dot(const char *name) {
    return !strcmp(name, ".") || !strcmp(name, "..");
}

/* In version 1 an entry is the name itself. */
static bool is_entry_of(const json_t *entry, const char *name) {
    const char *file = json_string_value(json_is_object(entry) ? json_object_get(entry, "file") : entry);
    return file && !strcmp(file, name);
}

static bool lists_file(const json_t *manifest, const char *name) {
    const json_t *tables = json_object_get(manifest, "tables");
    for (size_t i = 0; i < json_array_size(tables); i++) {
        const json_t *files = json_object_get(json_array_get(tables, i), "files");
        for (size_t k = 0; k < json_array_size(files); k++)
            if (is_entry_of(json_array_get(files, k), name))
                return true;
    }
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

static Err check_place(const char *dir) {
    char path[PATH_BYTES], stranger[NAME_MAX + 1];
    struct stat info;
    if (lstat(dir, &info))
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

Err export_dir_begin(NewDirectory *d, const char *path) {
    Err err = new_directory_name(d, path);
    if (!err)
        err = check_place(d->path);
    return err ? err : new_directory_make(d);
}
