#include "deploy/tools/restored_model.h"

#include <stdlib.h>

#include "common/log.h"
#include "deploy/derive.h"
#include "server/snapshot/snapshot_load.h"

static bool is_of_training(const RestoredModel *m) {
    return snapshot_data(m->snapshot)->fingerprint == dataset_info(m->data)->fingerprint;
}

/* Ids must mean what they meant in training: the same data set, or one made from it with --base. */
static Err check_data(const RestoredModel *m, const char *snapshot_dir, const char *data_dir) {
    uint64_t want = snapshot_data(m->snapshot)->fingerprint;
    if (datainfo_descends_from(dataset_info(m->data), want))
        return OK;
    return err_fail(
        ERR_DATA,
        "the data set in %s has fingerprint %016lx; %s was trained on %016lx, which is not among its bases: "
        "their ids differ",
        data_dir, (unsigned long)dataset_info(m->data)->fingerprint, snapshot_dir, (unsigned long)want);
}

Err restored_model_open(RestoredModel **out, const char *snapshot_dir, const char *data_dir) {
    RestoredModel *m = *out = must_calloc(1, sizeof *m);
    Err err = snapshot_open(&m->snapshot, snapshot_dir);
    if (!err)
        err = dataset_open(&m->data, data_dir);
    if (!err)
        err = check_data(m, snapshot_dir, data_dir);
    if (!err) {
        const TrainConfig *train = &m->config.train;
        m->config = *snapshot_config(m->snapshot);
        m->ranks = train->consistency == CONSISTENCY_SYNC ? (uint32_t)train->ranks : 1;
        err = derive_schema(NULL, &m->config, dataset_info(m->data), &m->schema);
    }
    if (err)
        restored_model_close(out);
    return err;
}

/* Nothing is trained, so no moments are kept. On newer data the tables may be longer; items that are new have their
 * initial rows. */
Err restored_model_load(RestoredModel *m) {
    const SnapshotLoad how = {.restore = is_of_training(m) ? RESTORE_RESUME : RESTORE_INIT};
    OptimizerConfig without_moments = m->config.optimizer;
    without_moments.kind = OPTIMIZER_SGD;
    if (m->store)
        return OK;
    Err err = store_open(&m->store, &m->schema, &without_moments, snapshot_seed(m->snapshot), m->ranks);
    return err ? err : snapshot_load_rows(m->snapshot, &m->schema, m->store, &how, NULL);
}

void restored_model_close(RestoredModel **m) {
    if (!*m)
        return;
    store_close(&(*m)->store);
    dataset_close(&(*m)->data);
    snapshot_close(&(*m)->snapshot);
    free(*m);
    *m = NULL;
}
