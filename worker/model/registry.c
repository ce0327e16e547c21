/* The models that there are, and the one way to a schema. */
#include <stdio.h>
#include <string.h>

#include "common/losses.h"
#include "worker/model/models.h"

const Model *model_find(const char *name) {
    char known[256] = "";
    size_t used = 0;
    for (int i = 0; MODELS[i]; i++) {
        if (strcmp(MODELS[i]->name, name) == 0)
            return MODELS[i];
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", MODELS[i]->name);
    }
    err_fail(ERR_CONFIG, "there is no model \"%s\" (model.name); known are: %s", name, known);
    return NULL;
}

Err model_schema(const Config *config, uint32_t n_items, uint32_t n_users, Schema *out) {
    const Model *model = model_find(config->model.name);
    if (!model)
        return ERR_CONFIG;
    memset(out, 0, sizeof *out);
    Err err = model->declare(&config->model, n_items, n_users, out);
    if (err)
        return err;
    losses_declare(out);
    schema_finish(out);
    return OK;
}
