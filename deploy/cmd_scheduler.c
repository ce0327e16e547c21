/* mangrove scheduler: the scheduler of a cluster, for a supervisor or a person to start. */
#include <argp.h>

#include "common/config.h"
#include "common/log.h"
#include "deploy/commands.h"
#include "deploy/derive.h"
#include "deploy/start_arguments.h"
#include "server/scheduler_shell.h"

typedef struct Arguments {
    StartArguments start;
    SchedulerRunOptions run;
} Arguments;

static error_t parse(int key, char *arg, struct argp_state *state) {
    Arguments *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->start;
        return 0;
    case 'b':
        a->run.bind = arg;
        return 0;
    case 'a':
        a->run.advertise = arg;
        return 0;
    case 'i':
        a->run.insecure = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option OPTIONS[] = {
    {"bind", 'b', "ENDPOINT", 0, "Where the roles are listened for, tcp://address:port (default: cluster.bind)", 0},
    {"advertise", 'a', "ENDPOINT", 0, "What the roles are told (default: cluster.advertise, or what was bound)", 0},
    {"insecure", 'i', NULL, 0, "Allow an address that other hosts can reach, without encryption", 0},
    {0},
};

int cmd_scheduler(int argc, char **argv) {
    static Arguments a = {.run.schema = derive_schema};
    static Config config;
    static SnapshotStart start;
    const struct argp argp = {
        OPTIONS,
        parse,
        "CONFIG\n--resume DIR",
        "Coordinates a run: waits for the servers and workers of the configuration, which need "
        "nothing but its address, deals the work, and writes metrics and snapshots into run.dir. "
        "Prints the line \"scheduler ENDPOINT\" first.\v"
        "SIGTERM or ctrl-C finishes the steps in hand, writes a snapshot and ends with code 75; a "
        "second one ends at once.",
        START_CHILDREN,
        NULL,
        NULL};
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    Err err = log_open("scheduler", LOG_INFO, NULL);
    if (!err)
        err = start_arguments_load(&a.start, &config, &start);
    a.run.start = start.snapshot ? &start : NULL;
    if (!err)
        err = scheduler_run(&config, &a.run);
    if (err)
        log_error("%s", err_message());
    snapshot_start_close(&start);
    return err_exit_code(err);
}
