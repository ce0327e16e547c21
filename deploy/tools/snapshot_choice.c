#include "deploy/tools/snapshot_choice.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "server/snapshot/snapshot_evaluation.h"
#include "server/snapshot/snapshot_list.h"

static bool is_epoch_end(const SnapshotPlace *place) {
    return place->name.steps == UINT32_MAX;
}

/* *json: of the newest epoch that has one, a new reference; NULL: none. */
static Err read_newest_evaluation(const SnapshotList *list, const SnapshotPlace **place, json_t **json) {
    Err err = OK;
    *json = NULL;
    for (size_t i = list->n; i-- > 0 && !err && !*json;) {
        Snapshot *s;
        *place = &list->at[i];
        if (!is_epoch_end(*place))
            continue;
        err = snapshot_open(&s, (*place)->dir);
        if (!err)
            err = snapshot_read_evaluation(s, json);
        snapshot_close(&s);
    }
    return err;
}

static Err read_best_epoch(const SnapshotPlace *place, const json_t *evaluation, int domain, json_int_t *epoch) {
    const char name[] = {"AB"[domain], 0};
    *epoch = json_integer_value(json_object_get(json_object_get(evaluation, name), "best_epoch"));
    if (*epoch < 1 || *epoch > place->name.epoch)
        return err_fail(ERR_CORRUPT, "%s/evaluation.json does not tell domain %s's best epoch", place->dir, name);
    return OK;
}

/* A run that was resumed under another run.dir may have its best epoch in the first one. */
static Err find_epoch(const SnapshotList *list, const char *run_dir, int domain, json_int_t epoch, char *chosen) {
    for (size_t i = 0; i < list->n; i++)
        if (list->at[i].name.epoch == epoch && is_epoch_end(&list->at[i])) {
            snprintf(chosen, SNAPSHOT_CHOICE_PATH, "%s", list->at[i].dir);
            return OK;
        }
    return err_fail(ERR_IO,
                    "the best epoch of domain %c is %" PRId64 ", whose snapshot is not in %s "
                    "(was the run resumed from another one's?): name a snapshot",
                    "AB"[domain], (int64_t)epoch, run_dir);
}

static Err choose_of_run(const SnapshotList *list, const char *run_dir, int domain, char *chosen) {
    const SnapshotPlace *place;
    json_t *evaluation;
    json_int_t epoch;
    Err err = read_newest_evaluation(list, &place, &evaluation);
    if (err)
        return err;
    if (!evaluation)
        return err_fail(ERR_IO, "%s is a run without an evaluated snapshot", run_dir);
    err = read_best_epoch(place, evaluation, domain, &epoch);
    json_decref(evaluation);
    return err ? err : find_epoch(list, run_dir, domain, epoch, chosen);
}

Err snapshot_choose_best(const char *dir, int domain, char chosen[SNAPSHOT_CHOICE_PATH]) {
    SnapshotList list;
    Err err = snapshot_list(&list, dir);
    if (!err && list.is_run)
        err = choose_of_run(&list, dir, domain, chosen);
    else if (!err)
        snprintf(chosen, SNAPSHOT_CHOICE_PATH, "%s", dir);
    snapshot_list_free(&list);
    return err;
}

Err snapshot_choose_newest(const char *dir, char chosen[SNAPSHOT_CHOICE_PATH]) {
    SnapshotList list;
    Err err = snapshot_list(&list, dir);
    if (!err && list.n == 0)
        err = err_fail(ERR_IO, "%s is a run without a snapshot", dir);
    if (!err)
        snprintf(chosen, SNAPSHOT_CHOICE_PATH, "%s", list.at[list.n - 1].dir);
    snapshot_list_free(&list);
    return err;
}
