#include "deploy/restored_model.h"

#include <stdlib.h>

#include "common/log.h"
#include "deploy/derive.h"

static Err check_data(const RestoredModel *m, const char *snapshot_dir, const char *data_dir) {
    uint64_t want = snapshot_data(m->snapshot)->fingerprint, found = dataset_info(m->data)->fingerprint;
    if (want == found)
        return OK;
    return err_fail(ERR_DATA, "the data set in %s has fingerprint %016lx; %s was trained on %016lx, whose ids differ",
                    data_dir, (unsigned long)found, snapshot_dir, (unsigned long)want);
}

static Err open_store(RestoredModel *m) {
    const TrainConfig *train = &m->config.train;
    m->ranks = train->consistency == CONSISTENCY_SYNC ? (uint32_t)train->ranks : 1;
    Err err = derive_schema(NULL, &m->config, dataset_info(m->data), &m->schema);
    if (!err)
        err = store_open(&m->store, &m->schema, &m->config.optimizer, snapshot_seed(m->snapshot), m->ranks);
    return err ? err : snapshot_load(m->snapshot, &m->schema, m->store);
}

Err restored_model_open(RestoredModel **out, const char *snapshot_dir, const char *data_dir) {
    RestoredModel *m = *out = must_calloc(1, sizeof *m);
    Err err = snapshot_open(&m->snapshot, snapshot_dir);
    if (!err)
        err = dataset_open(&m->data, data_dir);
    if (!err)
        err = check_data(m, snapshot_dir, data_dir);
    if (!err) {
        m->config = *snapshot_config(m->snapshot);
        err = open_store(m);
    }
    if (err)
        restored_model_close(out);
    return err;
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
