/* CONFIG and --set of a command line: an argp child that commands with a configuration share. */
#ifndef MANGROVE_DEPLOY_CONFIG_ARGUMENTS_H
#define MANGROVE_DEPLOY_CONFIG_ARGUMENTS_H

#include <argp.h>
#include <stdbool.h>

#include "common/config.h"
#include "common/err.h"

enum { CONFIG_MAX_SETS = 64 };

typedef struct ConfigArguments {
    const char *path; /* NULL: none was given */
    const char *sets[CONFIG_MAX_SETS];
    int n_sets;
    bool is_optional; /* CONFIG may be left out */
} ConfigArguments;

/* Its input is a ConfigArguments: the parent sets state->child_inputs[0] at ARGP_KEY_INIT. */
extern const struct argp CONFIG_ARGP;
extern const struct argp_child CONFIG_CHILDREN[]; /* CONFIG_ARGP alone */

void config_arguments_add(ConfigArguments *a, struct argp_state *state, const char *set);
Err config_arguments_load(const ConfigArguments *a, Config *out) MUST_CHECK;

#endif
