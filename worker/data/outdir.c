/* The directory of a prepared data set. */
#include "worker/data/outdir.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/files.h"
#include "common/log.h"
#include "common/new_directory.h"
#include "worker/data/datafile.h"

static const char MANIFEST[] = "manifest.json";

static Err check_old(const char *dir) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, MANIFEST);
    if (access(path, F_OK))
        return err_fail(ERR_USAGE, "%s exists and is no prepared data set: choose another --out or remove it", dir);
    return OK;
}

Err outdir_check(const char *dir, bool force) {
    struct stat info;
    if (strlen(dir) == 0 || strlen(dir) > NEW_DIRECTORY_MAX)
        return err_fail(ERR_USAGE, "--out needs a path of 1 to %d bytes", NEW_DIRECTORY_MAX);
    if (lstat(dir, &info))
        return OK;
    if (!force)
        return err_fail(ERR_USAGE, "%s exists: choose another --out or say --force to replace it", dir);
    if (S_ISLNK(info.st_mode))
        return err_fail(ERR_USAGE, "%s is a symbolic link: name the directory that it points to", dir);
    return check_old(dir);
}

/* Removes a data set's files and their directory; what else lies there stays, and the directory with it. */
static void remove_data_set(const char *dir) {
    char path[PATH_MAX];
    for (int i = 0; i <= N_DATA_FILES; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, i < N_DATA_FILES ? DATA_FILES[i].name : MANIFEST);
        unlink(path);
    }
    rmdir(dir);
}

static Datafile names_file(const Vocab *v) {
    return (Datafile){.section = {v->offsets, v->bytes}, .count = {v->n + (uint64_t)1, v->offsets[v->n]}};
}

static Datafile events_file(const Prepared *p, const PreparedDomain *d) {
    return (Datafile){.section = {d->users, d->times, d->items}, .count = {p->n_users, d->n_events, d->n_events}};
}

static Datafile list_file(const Prepared *p, const InstanceList *list) {
    return (Datafile){
        .section = {list->chunk_start, list->at, list->negatives},
        .count = {p->n_chunks + (uint64_t)1, list->n, list->negatives ? (uint64_t)list->n * DATASET_NEGATIVES : 0}};
}

/* targets (as many as training instances) out. */
static Datafile targets_file(const PreparedDomain *d, uint32_t *targets) {
    const InstanceList *train = &d->lists[list_index(SPLIT_TRAIN, PROTOCOL_ALL)];
    for (uint32_t i = 0; i < train->n; i++)
        targets[i] = d->items[train->at[i].target];
    return (Datafile){.section = {targets}, .count = {train->n}};
}

/* What each file holds. targets (N_DOMAINS) receives arrays to be freed. */
static void describe_files(const DataSource *s, Datafile files[N_DATA_FILES], uint32_t *targets[N_DOMAINS]) {
    files[FILE_ITEMS] = names_file(s->items);
    files[FILE_USERS] = names_file(s->users);
    for (int domain = 0; domain < N_DOMAINS; domain++) {
        const PreparedDomain *d = &s->prepared->domains[domain];
        targets[domain] = must_alloc((d->n_events + (size_t)1) * sizeof *targets[domain]);
        files[file_events(domain)] = events_file(s->prepared, d);
        files[file_targets(domain)] = targets_file(d, targets[domain]);
        for (int l = 0; l < N_LISTS; l++)
            files[file_list(domain, l)] = list_file(s->prepared, &d->lists[l]);
    }
}

static Err write_files(const DataSource *s, const char *dir) {
    Datafile files[N_DATA_FILES];
    uint32_t *targets[N_DOMAINS];
    uint64_t hashes[N_DATA_FILES], sizes[N_DATA_FILES];
    Err err = OK;
    describe_files(s, files, targets);
    for (int i = 0; i < N_DATA_FILES && !err; i++) {
        err = datafile_write(dir, DATA_FILES[i].name, DATA_FILES[i].kind, s->fingerprint, &files[i], &hashes[i]);
        sizes[i] = datafile_size(DATA_FILES[i].kind, &files[i]);
    }
    for (int d = 0; d < N_DOMAINS; d++)
        free(targets[d]);
    if (err)
        return err;
    char path[NEW_DIRECTORY_PATH + sizeof MANIFEST], *text = manifest_text(s, hashes, sizes);
    snprintf(path, sizeof path, "%s/%s", dir, MANIFEST);
    err = write_file_durably(path, text, strlen(text));
    free(text);
    return err;
}

Err outdir_write(const DataSource *source) {
    NewDirectory d;
    Err err = new_directory_name(&d, source->options->out_dir);
    if (!err)
        err = new_directory_make(&d);
    if (!err)
        err = write_files(source, d.temp);
    if (!err)
        err = new_directory_commit(&d, remove_data_set);
    new_directory_end(&d);
    return err;
}
