#include "common/new_directory.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/files.h"
#include "common/log.h"

enum { FILE_PATH = NEW_DIRECTORY_PATH + 512 };

static const char MARK[] = ".mangrove-tmp.";

void directory_remove(const char *directory) {
    char path[FILE_PATH];
    DIR *entries = opendir(directory);
    for (struct dirent *e; entries && (e = readdir(entries));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") &&
            snprintf(path, sizeof path, "%s/%s", directory, e->d_name) < (int)sizeof path)
            unlink(path);
    if (entries)
        closedir(entries);
    rmdir(directory);
}

/* ---- what died ---- */

/* Of this process's number too: it is just beginning. */
static bool is_dead(long pid) {
    return pid == getpid() || (kill((pid_t)pid, 0) && errno == ESRCH);
}

/* NAME.mangrove-tmp.PID of a process that is not there. */
static bool is_left_over(const char *entry, const char *name) {
    size_t n = strlen(name);
    char *end;
    if (strncmp(entry, name, n) || strncmp(entry + n, MARK, sizeof MARK - 1))
        return false;
    long pid = strtol(entry + n + sizeof MARK - 1, &end, 10);
    return *end == 0 && pid > 0 && pid <= INT32_MAX && is_dead(pid);
}

static void remove_left_overs(const char *parent, const char *name) {
    char path[FILE_PATH];
    DIR *entries = opendir(parent);
    for (struct dirent *e; entries && (e = readdir(entries));)
        if (is_left_over(e->d_name, name) && snprintf(path, sizeof path, "%s/%s", parent, e->d_name) < (int)sizeof path)
            directory_remove(path);
    if (entries)
        closedir(entries);
}

/* ---- the protocol ---- */

Err new_directory_name(NewDirectory *d, const char *path) {
    *d = (NewDirectory){0};
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (n == 0 || n > NEW_DIRECTORY_MAX)
        return err_fail(ERR_USAGE, "--out needs a path of 1 to %d bytes", NEW_DIRECTORY_MAX);
    memcpy(d->path, path, n);
    return OK;
}

Err new_directory_make(NewDirectory *d) {
    char parent[NEW_DIRECTORY_PATH] = ".";
    const char *slash = strrchr(d->path, '/');
    Err err = OK;
    if (slash == d->path)
        strcpy(parent, "/");
    else if (slash) {
        snprintf(parent, sizeof parent, "%.*s", (int)(slash - d->path), d->path);
        err = make_directories(parent);
    }
    if (err)
        return err;
    remove_left_overs(parent, slash ? slash + 1 : d->path);
    snprintf(d->temp, sizeof d->temp, "%.*s%s%d", NEW_DIRECTORY_MAX, d->path, MARK, (int)getpid());
    if (mkdir(d->temp, 0777) == 0)
        return OK;
    err = err_fail(ERR_IO, "cannot make the directory %s: %m", d->temp);
    d->temp[0] = 0;
    return err;
}

Err new_directory_commit(NewDirectory *d, void (*remove_old)(const char *directory)) {
    char inside[FILE_PATH], old[NEW_DIRECTORY_PATH];
    snprintf(inside, sizeof inside, "%s/.", d->temp);
    snprintf(old, sizeof old, "%.*s.old.%d", NEW_DIRECTORY_MAX, d->path, (int)getpid());
    Err err = sync_directory_of(inside);
    if (err)
        return err;
    bool has_old = rename(d->path, old) == 0;
    if (!has_old && errno != ENOENT)
        return err_fail(ERR_IO, "cannot rename %s to %s: %m", d->path, old);
    if (rename(d->temp, d->path)) {
        err = err_fail(ERR_IO, "cannot rename %s to %s: %m", d->temp, d->path);
        if (has_old && rename(old, d->path))
            log_warn("what was in %s is now in %s", d->path, old);
        return err;
    }
    d->temp[0] = 0;
    if (has_old)
        remove_old(old);
    return sync_directory_of(d->path);
}

void new_directory_end(NewDirectory *d) {
    if (d->temp[0])
        directory_remove(d->temp);
    d->temp[0] = 0;
}
