/* A snapshot's model beside the data set it was trained on, ready to compute: what every command that scores opens. */
#ifndef MANGROVE_DEPLOY_TOOLS_RESTORED_MODEL_H
#define MANGROVE_DEPLOY_TOOLS_RESTORED_MODEL_H

#include "common/config.h"
#include "common/err.h"
#include "common/schema.h"
#include "server/snapshot/snapshot.h"
#include "server/store/store.h"
#include "worker/data/dataset.h"

typedef struct RestoredModel {
    Snapshot *snapshot;
    Dataset *data;
    Config config; /* the snapshot's; the caller may change what the schema does not depend on */
    Schema schema;
    Store *store;   /* NULL until the rows are loaded */
    uint32_t ranks; /* of the training: 1 unless it was sync */
} RestoredModel;

/* Without rows yet. ERR_DATA if data_dir holds neither the data set of the training nor one made from it with --base;
 * ERR_CORRUPT, ERR_IO. A failure leaves *out NULL. */
Err restored_model_open(RestoredModel **out, const char *snapshot_dir, const char *data_dir) MUST_CHECK;
/* Opens the store with all rows, values alone, each checked before it is used. Loaded is loaded. ERR_CORRUPT, ERR_IO.
 */
Err restored_model_load(RestoredModel *m) MUST_CHECK;
void restored_model_close(RestoredModel **m);

#endif
