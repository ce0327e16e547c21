#include "worker/data/names.h"

#include <string.h>

#include "common/nearest.h"

static const struct {
    const char *what;
    const char *(*name_of)(const Dataset *data, uint32_t id);
} KINDS[N_NAME_KINDS] = {
    [NAME_USER] = {"user", dataset_user_name},
    [NAME_ITEM] = {"item", dataset_item_name},
};

/* Interns names 1, 2, ..; each must get the id that it has in the data set. */
Err names_read(Vocab *out, const Dataset *data, NameKind kind) {
    const DataInfo *info = dataset_info(data);
    uint32_t n = kind == NAME_USER ? info->n_users : info->n_items;
    vocab_init(out);
    for (uint32_t id = 1; id < n; id++) {
        const char *name = KINDS[kind].name_of(data, id);
        if (!*name)
            return err_fail(ERR_DATA, "%s %u has no name; prepare it again", KINDS[kind].what, id);
        if (vocab_intern(out, name, strlen(name)) != id)
            return err_fail(ERR_DATA, "the %s \"%s\" has two ids; prepare it again", KINDS[kind].what, name);
    }
    return OK;
}

const char *names_nearest(const Vocab *names, const char *text) {
    Nearest nearest = {.distance = NEAREST_FAR};
    for (uint32_t id = 1; id < names->n; id++)
        nearest_consider(&nearest, vocab_name(names, id), edit_distance(text, vocab_name(names, id)));
    return nearest_found(&nearest, text);
}
