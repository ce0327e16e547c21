#include "worker/data/names.h"

#include <string.h>

#include "common/nearest.h"

static const char *const WORDS[N_NAME_KINDS] = {[NAME_USER] = "user", [NAME_ITEM] = "item"};

uint32_t names_count(const Dataset *data, NameKind kind) {
    return kind == NAME_USER ? dataset_info(data)->n_users : dataset_info(data)->n_items;
}

const char *names_get(const Dataset *data, NameKind kind, uint32_t id) {
    return kind == NAME_USER ? dataset_user_name(data, id) : dataset_item_name(data, id);
}

/* Interns names 1, 2, ..; each must get the id that it has in the data set. */
Err names_read(Vocab *out, const Dataset *data, NameKind kind) {
    vocab_init(out);
    for (uint32_t id = 1; id < names_count(data, kind); id++) {
        const char *name = names_get(data, kind, id);
        if (!*name)
            return err_fail(ERR_DATA, "%s %u has no name; prepare it again", WORDS[kind], id);
        if (vocab_intern(out, name, strlen(name)) != id)
            return err_fail(ERR_DATA, "the %s \"%s\" has two ids; prepare it again", WORDS[kind], name);
    }
    return OK;
}

const char *names_nearest(const Vocab *names, const char *text) {
    Nearest nearest = {.distance = NEAREST_FAR};
    for (uint32_t id = 1; id < names->n; id++)
        nearest_consider(&nearest, vocab_name(names, id), edit_distance(text, vocab_name(names, id)));
    return nearest_found(&nearest, text);
}
