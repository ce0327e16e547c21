#include "deploy/start_arguments.h"

#include <string.h>

#include "common/options.h"

static error_t parse(int key, char *arg, struct argp_state *state) {
    StartArguments *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        a->config.is_optional = true; /* checked here, as --resume stands for it */
        state->child_inputs[0] = &a->config;
        return 0;
    case 'r':
        a->resume = arg;
        return 0;
    case 'I':
        a->init = arg;
        return 0;
    case ARGP_KEY_END:
        if (a->resume && a->init)
            argp_error(state, "--resume goes on with a run, --init starts a new one: one of them, please");
        if (a->resume && a->config.path)
            argp_error(state,
                       "a resumed run has the configuration of its snapshot: change it by --set, without CONFIG");
        if (!a->resume && !a->config.path)
            argp_error(state, "which CONFIG?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option OPTIONS[] = {
    {"resume", 'r', "DIR", 0,
     "Go on with the run in DIR from its newest snapshot, or from the snapshot DIR; without CONFIG", 0},
    {"init", 'I', "SNAPSHOT", 0,
     "Start a new run with the rows of a snapshot (or of a run's newest), on data whose ids were kept; "
     "train.init_moments says what becomes of the optimizer's state",
     0},
    {0},
};

const struct argp START_ARGP = {OPTIONS, parse, NULL, NULL, CONFIG_CHILDREN, NULL, NULL};
const struct argp_child START_CHILDREN[] = {{&START_ARGP, 0, NULL, 0}, {0}};

static Err load_resumed(const StartArguments *a, Config *config, SnapshotStart *start) {
    Err err = snapshot_start_open(start, a->resume, RESTORE_RESUME);
    if (err)
        return err;
    Config base = *snapshot_config(start->snapshot);
    if (start->run_dir[0]) /* which may have been moved since */
        memcpy(base.run_dir, start->run_dir, sizeof base.run_dir);
    err = config_load_upon(config, &base, a->config.sets, a->config.n_sets);
    return err ? err : config_check_resume(&base, config);
}

Err start_arguments_load(const StartArguments *a, Config *config, SnapshotStart *start) {
    *start = (SnapshotStart){0};
    Err err = a->resume ? load_resumed(a, config, start) : config_arguments_load(&a->config, config);
    if (!err && a->init)
        err = snapshot_start_open(
            start, a->init, config->train.init_moments == INIT_MOMENTS_KEEP ? RESTORE_INIT_MOMENTS : RESTORE_INIT);
    if (err)
        snapshot_start_close(start);
    return err;
}
