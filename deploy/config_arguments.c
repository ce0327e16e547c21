#include "deploy/config_arguments.h"

#include "common/options.h"

void config_arguments_add(ConfigArguments *a, struct argp_state *state, const char *set) {
    if (a->n_sets == CONFIG_MAX_SETS)
        argp_error(state, "at most %d --set", CONFIG_MAX_SETS);
    a->sets[a->n_sets++] = set;
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    ConfigArguments *a = state->input;
    switch (key) {
    case 's':
        config_arguments_add(a, state, arg);
        return 0;
    case ARGP_KEY_ARG:
        if (a->path)
            argp_error(state, "one CONFIG, please; \"%s\" is a second", arg);
        a->path = arg;
        return 0;
    case ARGP_KEY_END:
        if (!a->path && !a->is_optional)
            argp_error(state, "which CONFIG?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option OPTIONS[] = {
    {"set", 's', "KEY=VALUE", 0, "Override a key of the configuration; may be repeated", 0},
    {0},
};

const struct argp CONFIG_ARGP = {OPTIONS, parse, NULL, NULL, NULL, NULL, NULL};
const struct argp_child CONFIG_CHILDREN[] = {{&CONFIG_ARGP, 0, NULL, 0}, {0}};

Err config_arguments_load(const ConfigArguments *a, Config *out) {
    return config_load(out, a->path, a->sets, a->n_sets);
}
