/* mangrove scheduler: the scheduler of a cluster, for a supervisor or a person to start. */
#include <argp.h>

#include "common/config.h"
#include "common/log.h"
#include "common/options.h"
#include "deploy/commands.h"
#include "deploy/derive.h"
#include "server/scheduler_shell.h"

enum { MAX_SETS = 64 };

typedef struct Arguments {
    const char *config_path;
    const char *sets[MAX_SETS];
    int n_sets;
    SchedulerRunOptions run;
} Arguments;

static error_t parse(int key, char *arg, struct argp_state *state) {
    Arguments *a = state->input;
    switch (key) {
    case 'b':
        a->run.bind = arg;
        return 0;
    case 'a':
        a->run.advertise = arg;
        return 0;
    case 'i':
        a->run.insecure = true;
        return 0;
    case 's':
        if (a->n_sets == MAX_SETS)
            argp_error(state, "at most %d --set", MAX_SETS);
        a->sets[a->n_sets++] = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (a->config_path)
            argp_error(state, "one CONFIG, please; \"%s\" is a second", arg);
        a->config_path = arg;
        return 0;
    case ARGP_KEY_END:
        if (!a->config_path)
            argp_error(state, "which CONFIG?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option OPTIONS[] = {
    {"bind", 'b', "ENDPOINT", 0, "Where the roles are listened for, tcp://address:port (default: cluster.bind)", 0},
    {"advertise", 'a', "ENDPOINT", 0, "What the roles are told (default: cluster.advertise, or what was bound)", 0},
    {"insecure", 'i', NULL, 0, "Allow an address that other hosts can reach, without encryption", 0},
    {"set", 's', "KEY=VALUE", 0, "Override a key of the configuration; may be repeated", 0},
    {0},
};

int cmd_scheduler(int argc, char **argv) {
    static Arguments a = {.run.schema = derive_schema};
    static Config config;
    const struct argp argp = {
        OPTIONS,
        parse,
        "CONFIG",
        "Coordinates a run: waits for the servers and workers of the configuration, which need "
        "nothing but its address, deals the work, and writes metrics and snapshots into run.dir. "
        "Prints the line \"scheduler ENDPOINT\" first.\v"
        "SIGTERM or ctrl-C finishes the steps in hand, writes a snapshot and ends with code 75; a "
        "second one ends at once.",
        NULL,
        NULL,
        NULL};
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    Err err = log_open("scheduler", LOG_INFO, NULL);
    if (!err)
        err = config_load(&config, a.config_path, a.sets, a.n_sets);
    if (!err)
        err = scheduler_run(&config, &a.run);
    if (err)
        log_error("%s", err_message());
    return err_exit_code(err);
}
