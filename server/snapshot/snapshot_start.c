#include "server/snapshot/snapshot_start.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/options.h"
#include "server/snapshot/snapshot_chain.h"
#include "server/snapshot/snapshot_evaluation.h"
#include "server/snapshot/snapshot_file.h"
#include "server/snapshot/snapshot_list.h"
#include "server/snapshot/snapshot_load.h"
#include "server/snapshot/snapshot_manifest.h"
#include "server/snapshot/snapshot_rows.h"

/* ---- is it whole? --------------------------------------------------------------------------------------------- */

static Err verify_files(const Snapshot *s) {
    Err e = OK;
    for (size_t i = 0; i < s->n_files && e == OK; i++) {
        char *path = snapshot_path(s->dir, s->files[i].file);
        e = snapshot_file_verify(path, s->files[i].size, s->files[i].hashes);
        free(path);
    }
    return e;
}

Err snapshot_start_verify(const Snapshot *s) {
    Snapshot *base;
    Err e = snapshot_open_base(&base, s);
    if (e == OK && base)
        e = verify_files(base);
    snapshot_close(&base);
    return e == OK ? verify_files(s) : e;
}

static Err open_whole(Snapshot **out, const char *dir) {
    Err e = snapshot_open(out, dir);
    if (e == OK)
        e = snapshot_start_verify(*out);
    if (e != OK)
        snapshot_close(out);
    return e;
}

/* ---- which one ------------------------------------------------------------------------------------------------ */

/* Of a run the newest that is whole; newer ones are passed over, and it is said. */
static Err open_newest(Snapshot **out, const char *path) {
    SnapshotList list;
    *out = NULL;
    Err e = snapshot_list(&list, path);
    if (e == OK && list.n == 0)
        e = err_fail(ERR_IO, "%s is a run without a snapshot", path);
    for (size_t i = list.n; i > 0 && !*out; i--) {
        e = open_whole(out, list.at[i - 1].dir);
        if (e != OK && list.is_run)
            log_warn("passed over %s: %s", list.at[i - 1].dir, err_message());
    }
    if (e != OK && list.n > 1)
        e = err_fail(e, "%s has no snapshot that is whole", path);
    snapshot_list_free(&list);
    return e;
}

/* RUN of RUN/snapshots/NAME. */
static void find_run(const char *dir, char *run_dir, size_t size) {
    static const char FOLDER[] = "/snapshots";
    const char *end = strrchr(dir, '/');
    size_t n = end ? (size_t)(end - dir) : 0, folder = sizeof FOLDER - 1;
    run_dir[0] = 0;
    if (n > folder && n - folder < size && memcmp(end - folder, FOLDER, folder) == 0)
        snprintf(run_dir, size, "%.*s", (int)(n - folder), dir);
}

/* ---- where it stands ------------------------------------------------------------------------------------------ */

/* One domain after its evaluation. */
static bool read_domain(const json_t *json, uint32_t epoch, int d, Standing *standing) {
    const json_t *is_best = json_object_get(json, "is_best"), *best = json_object_get(json, "best_epoch"),
                 *stale = json_object_get(json, "stale"),
                 *wauc = json_object_get(json_object_get(json, "valid"), "wauc");
    if (!json_is_boolean(is_best) || !json_is_integer(best) || !json_is_integer(stale) ||
        json_integer_value(best) < 0 || json_integer_value(best) > epoch || json_integer_value(stale) < 0 ||
        json_integer_value(stale) > epoch || (json_is_true(is_best) && !json_is_number(wauc)))
        return false;
    standing->best_epoch[d] = (uint32_t)json_integer_value(best);
    standing->stale[d] = (uint32_t)json_integer_value(stale);
    if (json_is_true(is_best))
        standing->best_wauc[d] = json_number_value(wauc);
    return true;
}

/* False where there is none that can be trusted: it is done again. */
static bool read_evaluation(const Snapshot *s, Standing *standing) {
    static const char *const DOMAINS[N_DOMAINS] = {"A", "B"};
    Standing after = s->standing;
    json_t *json;
    Err e = snapshot_read_evaluation(s, &json);
    bool is_read = json != NULL;
    for (int d = 0; d < N_DOMAINS && is_read; d++)
        is_read = read_domain(json_object_get(json, DOMAINS[d]), s->epoch, d, &after);
    if (e == OK && json && !is_read)
        e = err_fail(ERR_CORRUPT, "%s/evaluation.json: does not tell where each domain stands", s->dir);
    if (e != OK)
        log_warn("epoch %" PRIu32 " is evaluated again: %s", s->epoch, err_message());
    if (is_read)
        *standing = after;
    json_decref(json);
    return is_read;
}

static Err fill_resumption(SchedulerStart *start, const Snapshot *s) {
    start->data = s->data.fingerprint;
    start->cut = s->cut;
    start->epoch = s->epoch;
    memcpy(start->n_steps, s->n_steps, sizeof start->n_steps);
    start->standing = s->standing;
    start->is_evaluated = s->is_epoch_end && read_evaluation(s, &start->standing);
    for (int d = 0; d < N_DOMAINS && !s->has_standing; d++)
        if (start->standing.best_wauc[d] < 0)
            return err_fail(ERR_DATA,
                            "%s: its manifest is of version 1, which does not tell how good the best epoch was: start "
                            "from it with --init",
                            s->dir);
    return OK;
}

static Err fill(SnapshotStart *out, Restore restore) {
    const Snapshot *s = out->snapshot;
    char absolute[PATH_MAX];
    if (!realpath(s->dir, absolute))
        return err_fail(ERR_IO, "%s: %m", s->dir);
    if (strlen(absolute) >= sizeof out->scheduler.dir)
        return err_fail(ERR_CONFIG, "the path %s is longer than %zu bytes", absolute, sizeof out->scheduler.dir - 1);
    Err e = config_check_path("the snapshot's absolute path", absolute);
    if (e != OK)
        return e;
    out->scheduler.restore = restore;
    out->scheduler.seed = s->seed;
    strcpy(out->scheduler.dir, absolute);
    find_run(absolute, out->run_dir, sizeof out->run_dir);
    out->parent = (SnapshotParent){restore == RESTORE_RESUME ? "resume" : "init", out->scheduler.dir, s->hash};
    return restore == RESTORE_RESUME ? fill_resumption(&out->scheduler, s) : OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

Err snapshot_start_open(SnapshotStart *out, const char *path, Restore restore) {
    *out = (SnapshotStart){0};
    Err e = open_newest(&out->snapshot, path);
    if (e == OK)
        e = fill(out, restore);
    if (e != OK)
        snapshot_start_close(out);
    return e;
}

void snapshot_start_close(SnapshotStart *s) {
    snapshot_close(&s->snapshot);
}

Err snapshot_start_check(const SnapshotStart *s, const DataInfo *data, const Schema *schema) {
    bool is_init = s->scheduler.restore != RESTORE_RESUME;
    uint64_t want = s->snapshot->data.fingerprint;
    if (is_init && !datainfo_descends_from(data, want))
        return err_fail(ERR_DATA,
                        "the data set has fingerprint %016" PRIx64 " and was not prepared with --base from "
                        "that of %s, %016" PRIx64 ": its ids mean others",
                        data->fingerprint, s->scheduler.dir, want);
    return snapshot_check_schema(s->snapshot, schema, is_init);
}

/* Ids that the snapshot's table has; its tensors are the schema's, in their order. */
static uint64_t ids_before(const SnapshotStart *s, const Table *table) {
    const json_t *tensor = json_array_get(json_object_get(s->snapshot->json, "tensors"), (size_t)table->first_tensor);
    return (uint64_t)json_integer_value(json_object_get(tensor, "rows"));
}

static void tell_table(const SnapshotStart *s, const Table *table) {
    SnapshotRows *rows;
    if (snapshot_rows_open(&rows, s->snapshot, table->name)) {
        log_warn("%s", err_message());
        return;
    }
    uint64_t n_before = ids_before(s, table);
    log_info("table %s: %" PRIu64 " trained rows are taken over; of its %" PRIu64 " ids %" PRIu64 " are new",
             table->name, snapshot_rows_count(rows), table->n_rows, table->n_rows - n_before);
    snapshot_rows_close(&rows);
}

void snapshot_start_tell(const SnapshotStart *s, const Schema *schema) {
    if (s->scheduler.restore == RESTORE_RESUME) {
        log_info("resuming from %s", s->scheduler.dir);
        return;
    }
    log_info("starting from the rows of %s, the optimizer's state is %s", s->scheduler.dir,
             s->scheduler.restore == RESTORE_INIT_MOMENTS ? "kept" : "reset");
    for (int i = 0; i < schema->n_tables; i++)
        if (schema->tables[i].is_sparse)
            tell_table(s, &schema->tables[i]);
}
