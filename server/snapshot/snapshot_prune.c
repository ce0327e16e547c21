#include "server/snapshot/snapshot_prune.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/files.h"
#include "common/log.h"
#include "server/snapshot/snapshot_list.h"
#include "server/snapshot/snapshot_manifest.h"

static Err remove_file(const char *dir, const char *name) {
    char *path = snapshot_path(dir, name);
    Err e = unlink(path) == 0 || errno == ENOENT ? OK : err_fail(ERR_IO, "cannot delete %s: %m", path);
    free(path);
    return e;
}

/* Unless something else is in it. */
static Err remove_directory(const char *dir) {
    if (rmdir(dir) != 0 && errno != ENOTEMPTY && errno != EEXIST)
        return err_fail(ERR_IO, "cannot delete %s: %m", dir);
    return OK;
}

/* ---- whole snapshots ------------------------------------------------------------------------------------------ */

/* The manifest goes before the rows and for good, so that a half deleted snapshot is none; evaluation.json before that,
 * so that the sweep does not take it for one whose manifest is lost. Files that the manifest does not name stay, and
 * with them the directory. */
static Err delete_snapshot(const Snapshot *s) {
    char *inside = snapshot_path(s->dir, ".");
    Err e = remove_file(s->dir, "evaluation.json");
    if (e == OK)
        e = remove_file(s->dir, "manifest.json");
    if (e == OK)
        e = sync_directory_of(inside);
    for (size_t i = 0; i < s->n_files && e == OK; i++)
        e = remove_file(s->dir, s->files[i].file);
    if (e == OK)
        e = remove_directory(s->dir);
    free(inside);
    return e;
}

typedef struct Pruning {
    SnapshotList list;
    Snapshot **opened; /* NULL where it cannot be read, or is another one than its name says */
    bool *is_kept;
} Pruning;

static void keep_named(Pruning *p, const char *name) {
    for (size_t i = 0; i < p->list.n; i++)
        if (strcmp(snapshot_place_name(&p->list.at[i]), name) == 0)
            p->is_kept[i] = true;
}

/* One that cannot be read may go on from any full one before it. */
static void keep_full_before(Pruning *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p->opened[i] && !p->opened[i]->base.dir)
            p->is_kept[i] = true;
}

/* What stays for the sake of those that are not understood. */
static void open_all(Pruning *p) {
    p->opened = must_calloc(p->list.n + 1, sizeof(Snapshot *));
    p->is_kept = must_calloc(p->list.n + 1, sizeof *p->is_kept);
    for (size_t i = 0; i < p->list.n; i++) {
        Err e = snapshot_open(&p->opened[i], p->list.at[i].dir);
        if (e != OK) {
            log_warn("the full snapshots before %s stay, it may go on from one: %s", p->list.at[i].dir, err_message());
            keep_full_before(p, i);
        } else if (p->opened[i]->epoch != p->list.at[i].name.epoch) {
            if (p->opened[i]->base.dir)
                keep_named(p, p->opened[i]->base.dir);
            snapshot_close(&p->opened[i]);
        }
    }
}

/* A base is full: it has none itself. */
static void choose_kept(Pruning *p, int keep, const uint32_t best_epoch[N_DOMAINS]) {
    int n_kept = 0;
    for (size_t i = p->list.n; i-- > 0;) {
        const SnapshotName *name = &p->list.at[i].name;
        bool is_best = p->opened[i] && p->opened[i]->is_epoch_end &&
                       (name->epoch == best_epoch[DOMAIN_A] || name->epoch == best_epoch[DOMAIN_B]);
        if (!p->opened[i])
            continue;
        if (n_kept++ >= keep && !is_best)
            continue;
        p->is_kept[i] = true;
        if (p->opened[i]->base.dir)
            keep_named(p, p->opened[i]->base.dir);
    }
}

/* Newest first: an incremental snapshot goes before its base. */
Err snapshot_prune(const char *snapshots_dir, int keep, const uint32_t best_epoch[N_DOMAINS]) {
    Pruning p = {0};
    Err e = snapshot_list_folder(&p.list, snapshots_dir, true);
    if (e != OK)
        return e;
    open_all(&p);
    choose_kept(&p, keep, best_epoch);
    for (size_t i = p.list.n; i-- > 0;) {
        if (e == OK && p.opened[i] && !p.is_kept[i])
            e = delete_snapshot(p.opened[i]);
        snapshot_close(&p.opened[i]);
    }
    free(p.opened);
    free(p.is_kept);
    snapshot_list_free(&p.list);
    return e;
}

/* ---- what is left of unfinished ones -------------------------------------------------------------------------- */

static bool is_temporary_ending(const char *ending) {
    static const char TMP[] = ".tmp";
    enum { DIGITS = 16 };
    if (strncmp(ending, TMP, sizeof TMP - 1) != 0)
        return false;
    const char *random = ending + sizeof TMP - 1;
    return *random == 0 || (*random == '.' && strspn(random + 1, "0123456789abcdef") == DIGITS && !random[1 + DIGITS]);
}

/* server-<digits>.<table>.safetensors: what stands behind it, or NULL. */
static const char *behind_table(const char *name) {
    static const char SERVER[] = "server-", ENDING[] = ".safetensors";
    if (strncmp(name, SERVER, sizeof SERVER - 1) != 0)
        return NULL;
    const char *digits = name + sizeof SERVER - 1, *dot = digits + strspn(digits, "0123456789");
    if (dot == digits || *dot != '.')
        return NULL;
    const char *end = strchr(dot + 1, '.');
    return end && end > dot + 1 && strncmp(end, ENDING, sizeof ENDING - 1) == 0 ? end + sizeof ENDING - 1 : NULL;
}

static bool is_ours(const char *name, bool has_manifest) {
    static const char *const FILES[] = {"manifest.json", "evaluation.json"};
    const char *ending = behind_table(name);
    if (ending)
        return is_temporary_ending(ending) || (!has_manifest && *ending == 0);
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++)
        if (strncmp(name, FILES[i], strlen(FILES[i])) == 0)
            return is_temporary_ending(name + strlen(FILES[i]));
    return false;
}

/* Not there, and not merely out of reach. */
static bool is_missing(const char *dir, const char *name) {
    char *path = snapshot_path(dir, name);
    bool is_missing = access(path, F_OK) != 0 && errno == ENOENT;
    free(path);
    return is_missing;
}

/* There is an evaluation, and it is written behind the commit alone: the manifest was there and is lost. */
static bool was_committed(const char *dir) {
    if (is_missing(dir, "evaluation.json"))
        return false;
    log_warn("%s has an evaluation.json and no manifest.json, which must have been lost: it is left alone", dir);
    return true;
}

static Err sweep_directory(const char *dir, bool has_manifest) {
    Err e = OK;
    if (!has_manifest && (!is_missing(dir, "manifest.json") || was_committed(dir)))
        return OK;
    DIR *d = opendir(dir);
    if (!d)
        return errno == ENOTDIR ? OK : err_fail(ERR_IO, "cannot list %s: %m", dir);
    for (struct dirent *entry; e == OK && (entry = readdir(d));)
        if (is_ours(entry->d_name, has_manifest))
            e = remove_file(dir, entry->d_name);
    closedir(d);
    return e == OK && !has_manifest ? remove_directory(dir) : e;
}

static Err sweep(const char *snapshots_dir, bool has_manifest) {
    SnapshotList list;
    Err e = snapshot_list_folder(&list, snapshots_dir, has_manifest);
    for (size_t i = 0; i < list.n && e == OK; i++)
        e = sweep_directory(list.at[i].dir, has_manifest);
    snapshot_list_free(&list);
    return e;
}

Err snapshot_sweep(const char *snapshots_dir) {
    Err e = sweep(snapshots_dir, false);
    return e == OK ? sweep(snapshots_dir, true) : e;
}
