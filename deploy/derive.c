#include "deploy/derive.h"

#include "worker/model/model.h"

Err derive_schema(void *ctx, const Config *config, const DataInfo *data, Schema *out) {
    (void)ctx;
    return model_schema(config, data->n_items, data->n_users, out);
}
