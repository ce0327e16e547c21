/* Nearest names among the options. */
#include "common/options_message.h"

#include <string.h>

#include "common/nearest.h"

static const char *last_part(const char *key) {
    const char *dot = strrchr(key, '.');
    return dot ? dot + 1 : key;
}

const char *nearest_key(const char *key, int section) {
    Nearest n = {.distance = NEAREST_FAR};
    const char *leaf = last_part(key);
    for (int i = 0; section < 0 && !strchr(key, '.') && i < N_SECTIONS; i++)
        nearest_consider(&n, SECTIONS[i].name, edit_distance(key, SECTIONS[i].name));
    for (int i = 0; i < N_OPTIONS; i++) {
        nearest_consider(&n, OPTIONS[i].name, edit_distance(key, OPTIONS[i].name));
        if (!strcmp(leaf, option_leaf(&OPTIONS[i]))) /* the right key in the wrong section */
            nearest_consider(&n, OPTIONS[i].name, 1);
    }
    return nearest_found(&n, leaf);
}

const char *nearest_value(const Option *o, const char *text) {
    Nearest n = {.distance = NEAREST_FAR};
    for (int i = 0; o->names[i]; i++)
        nearest_consider(&n, o->names[i], edit_distance(text, o->names[i]));
    return nearest_found(&n, text);
}

const char *nearest_variable(const char *name, char out[OPTION_VARIABLE]) {
    Nearest n = {.distance = NEAREST_FAR};
    for (int i = 0; i < N_OPTIONS; i++) {
        option_variable(&OPTIONS[i], out);
        nearest_consider(&n, OPTIONS[i].name, edit_distance(name, out));
    }
    const char *section = name + strlen("MANGROVE_"), *leaf = strchr(section, '_');
    if (!nearest_found(&n, leaf ? leaf + 1 : section))
        return NULL;
    option_variable(&OPTIONS[option_find(n.name, strlen(n.name))], out);
    return out;
}
