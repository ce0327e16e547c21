/* A prepared data set, mapped. Opening reads every byte once: the checksums tell damage, the bounds tell a forgery, so
 * nothing behind this file needs to check an id or an offset again. */
#include "worker/data/dataset.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/files.h"
#include "common/log.h"
#include "worker/data/datafile.h"

struct Dataset {
    char *dir;
    char *manifest;
    DataInfo info;
    int64_t train_end[N_DOMAINS];
    Datafile files[N_DATA_FILES];
};

static uint32_t count32(const Datafile *file, int section) {
    return (uint32_t)file->count[section];
}

static Err bad_file(const Dataset *d, int file, const char *what) {
    return err_fail(ERR_DATA, "%s/%s is inconsistent: %s; prepare the data again", d->dir, DATA_FILES[file].name, what);
}

/* ---- checks ---- */

static Err check_ids(const Dataset *d, int file, const uint32_t *ids, uint64_t n, uint32_t limit) {
    for (uint64_t i = 0; i < n; i++)
        if (ids[i] >= limit)
            return bad_file(d, file, "an item id is out of range");
    return OK;
}

static Err check_names(const Dataset *d, int file, uint32_t n) {
    const Datafile *f = &d->files[file];
    const uint64_t *offsets = f->section[0];
    const char *bytes = f->section[1];
    if (f->count[0] != n + (uint64_t)1 || offsets[0] != 0 || offsets[n] != f->count[1])
        return bad_file(d, file, "its names are not as many as the manifest says");
    for (uint32_t i = 0; i < n; i++)
        if (offsets[i + 1] <= offsets[i] || offsets[i + 1] > f->count[1] || bytes[offsets[i + 1] - 1])
            return bad_file(d, file, "a name has no end");
    return OK;
}

static Err check_events(const Dataset *d, int domain) {
    int file = file_events(domain);
    const Datafile *f = &d->files[file];
    const UserRange *ranges = f->section[0];
    if (f->count[0] != d->info.n_users || f->count[1] != f->count[2] || f->count[1] >= UINT32_MAX)
        return bad_file(d, file, "its sections do not fit each other");
    for (uint32_t u = 0; u < d->info.n_users; u++)
        if (ranges[u].first > f->count[1] || ranges[u].n > f->count[1] - ranges[u].first)
            return bad_file(d, file, "a user's events lie outside");
    return check_ids(d, file, f->section[2], f->count[2], d->info.n_items);
}

static bool is_instance_good(const Dataset *d, int domain, const Instance *x) {
    const Datafile *events = &d->files[file_events(domain)];
    const UserRange *ranges = events->section[0];
    if (x->user >= d->info.n_users || x->first >= x->target)
        return false;
    UserRange range = ranges[x->user];
    return x->first == range.first && x->target - range.first < range.n;
}

static Err check_list(const Dataset *d, int domain, Split split, Protocol protocol) {
    int file = file_list(domain, list_index(split, protocol));
    const Datafile *f = &d->files[file];
    const uint32_t *starts = f->section[0];
    const Instance *instances = f->section[1];
    uint64_t n_negatives = split == SPLIT_TRAIN ? 0 : f->count[1] * DATASET_NEGATIVES;
    if (f->count[0] != d->info.n_chunks + (uint64_t)1 || f->count[1] > UINT32_MAX || f->count[2] != n_negatives)
        return bad_file(d, file, "its sections do not fit each other");
    for (uint32_t c = 0; c < d->info.n_chunks; c++)
        if (starts[0] != 0 || starts[c + 1] < starts[c] ||
            starts[c + 1] - starts[c] != d->info.counts[protocol][c].n[domain][split])
            return bad_file(d, file, "its chunks are not as the manifest says");
    if (starts[d->info.n_chunks] != f->count[1])
        return bad_file(d, file, "its chunks are not as the manifest says");
    for (uint64_t i = 0; i < f->count[1]; i++)
        if (!is_instance_good(d, domain, &instances[i]))
            return bad_file(d, file, "an instance lies outside its user's events");
    return check_ids(d, file, f->section[2], f->count[2], d->info.n_items);
}

/* Two distinct targets at least, else a negative could never be drawn. */
static Err check_targets(const Dataset *d, int domain) {
    int file = file_targets(domain);
    const Datafile *f = &d->files[file];
    const uint32_t *targets = f->section[0];
    bool are_distinct = false;
    if (f->count[0] != d->files[file_list(domain, 0)].count[1])
        return bad_file(d, file, "it does not fit the training instances");
    for (uint64_t i = 1; i < f->count[0] && !are_distinct; i++)
        are_distinct = targets[i] != targets[0];
    if (!are_distinct)
        return bad_file(d, file, "it has fewer than two distinct targets");
    return check_ids(d, file, targets, f->count[0], d->info.n_items);
}

static Err check_domain(const Dataset *d, int domain) {
    Err err = check_events(d, domain);
    if (!err)
        err = check_list(d, domain, SPLIT_TRAIN, PROTOCOL_WARM);
    for (int p = 0; p < N_PROTOCOLS; p++)
        for (int split = SPLIT_VALID; split < N_SPLITS && !err; split++)
            err = check_list(d, domain, (Split)split, (Protocol)p);
    return err ? err : check_targets(d, domain);
}

static Err check_content(const Dataset *d) {
    Err err = check_names(d, FILE_ITEMS, d->info.n_items);
    if (!err)
        err = check_names(d, FILE_USERS, d->info.n_users);
    for (int domain = 0; domain < N_DOMAINS && !err; domain++)
        err = check_domain(d, domain);
    return err;
}

/* ---- opening ---- */

static Err check_hash(const Dataset *d, int file, const json_t *facts) {
    char found[17];
    const char *promised = json_string_value(json_object_get(facts, "xxh3"));
    snprintf(found, sizeof found, "%016" PRIx64, datafile_hash(&d->files[file]));
    if (!promised || strcmp(promised, found))
        return err_fail(ERR_DATA, "%s/%s is damaged: its checksum is %s, the manifest says %s; prepare the data again",
                        d->dir, DATA_FILES[file].name, found, promised ? promised : "nothing");
    return OK;
}

static Err map_files(Dataset *d, const json_t *files) {
    Err err = OK;
    for (int i = 0; i < N_DATA_FILES && !err; i++) {
        err = datafile_map(&d->files[i], d->dir, DATA_FILES[i].name, DATA_FILES[i].kind, d->info.fingerprint);
        if (!err)
            err = check_hash(d, i, json_object_get(files, DATA_FILES[i].name));
    }
    return err;
}

static void read_train_ends(Dataset *d, const json_t *domains) {
    for (int domain = 0; domain < N_DOMAINS; domain++) {
        const json_t *start = json_object_get(json_array_get(domains, (size_t)domain), "valid_start");
        d->train_end[domain] = json_is_integer(start) ? json_integer_value(start) : INT64_MAX;
    }
}

static Err open_files(Dataset *d) {
    char path[PATH_MAX];
    size_t size;
    snprintf(path, sizeof path, "%s/manifest.json", d->dir);
    Err err = read_file(path, DATAINFO_MAX_BYTES, &d->manifest, &size);
    if (err)
        return err_wrap(ERR_DATA, "%s is no prepared data set (mangrove prepare makes one)", d->dir);
    err = datainfo_parse(&d->info, d->manifest, size);
    if (err)
        return err_wrap(err, "%s", path);
    json_t *root = json_loadb(d->manifest, size, 0, NULL);
    read_train_ends(d, json_object_get(root, "domains"));
    err = map_files(d, json_object_get(root, "files"));
    json_decref(root);
    return err ? err : check_content(d);
}

Err dataset_open(Dataset **out, const char *dir) {
    *out = must_calloc(1, sizeof **out);
    (*out)->dir = must_strdup(dir);
    Err err = open_files(*out);
    if (err)
        dataset_close(out);
    return err;
}

void dataset_close(Dataset **d) {
    if (!*d)
        return;
    for (int i = 0; i < N_DATA_FILES; i++)
        datafile_unmap(&(*d)->files[i]);
    datainfo_free(&(*d)->info);
    free((*d)->manifest);
    free((*d)->dir);
    free(*d);
    *d = NULL;
}

/* ---- access ---- */

const DataInfo *dataset_info(const Dataset *d) {
    return &d->info;
}

const char *dataset_manifest(const Dataset *d) {
    return d->manifest;
}

static const char *name_of(const Datafile *f, uint32_t id) {
    const uint64_t *offsets = f->section[0];
    return (const char *)f->section[1] + offsets[id];
}

const char *dataset_item_name(const Dataset *d, uint32_t id) {
    return name_of(&d->files[FILE_ITEMS], id);
}

const char *dataset_user_name(const Dataset *d, uint32_t id) {
    return name_of(&d->files[FILE_USERS], id);
}

const uint32_t *dataset_event_items(const Dataset *d, int domain, uint32_t *n) {
    const Datafile *f = &d->files[file_events(domain)];
    *n = count32(f, 2);
    return f->section[2];
}

const int64_t *dataset_event_times(const Dataset *d, int domain) {
    return d->files[file_events(domain)].section[1];
}

void dataset_user_events(const Dataset *d, int domain, uint32_t user, uint32_t *first, uint32_t *n) {
    const UserRange *ranges = d->files[file_events(domain)].section[0];
    *first = ranges[user].first;
    *n = ranges[user].n;
}

int64_t dataset_train_end(const Dataset *d, int domain) {
    return d->train_end[domain];
}

static const Datafile *list_of(const Dataset *d, int domain, Split split, Protocol protocol) {
    return &d->files[file_list(domain, list_index(split, protocol))];
}

const Instance *dataset_instances(const Dataset *d, int domain, Split split, Protocol protocol, uint32_t *n) {
    const Datafile *f = list_of(d, domain, split, protocol);
    *n = count32(f, 1);
    return f->section[1];
}

uint32_t dataset_chunk_start(const Dataset *d, uint32_t chunk, int domain, Split split, Protocol protocol) {
    return ((const uint32_t *)list_of(d, domain, split, protocol)->section[0])[chunk];
}

const uint32_t *dataset_negatives(const Dataset *d, int domain, Split split, Protocol protocol, uint32_t i) {
    return (const uint32_t *)list_of(d, domain, split, protocol)->section[2] + (size_t)i * DATASET_NEGATIVES;
}

const uint32_t *dataset_targets(const Dataset *d, int domain, uint32_t *n) {
    const Datafile *f = &d->files[file_targets(domain)];
    *n = count32(f, 0);
    return f->section[0];
}
