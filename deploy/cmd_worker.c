/* mangrove worker: one worker, for a supervisor or a person to start. */
#include <argp.h>

#include "common/log.h"
#include "deploy/commands.h"
#include "worker/worker_shell.h"

static error_t parse(int key, char *arg, struct argp_state *state) {
    WorkerRunOptions *o = state->input;
    switch (key) {
    case 's':
        o->scheduler = arg;
        return 0;
    case 'd':
        o->data_dir = arg;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "what is \"%s\"?", arg);
        return 0;
    case ARGP_KEY_END:
        if (!o->scheduler)
            argp_error(state, "which scheduler? --scheduler tcp://host:port");
        if (!o->data_dir)
            argp_error(state, "which data? --data DIR, a prepared data set");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option OPTIONS[] = {
    {"scheduler", 's', "ENDPOINT", 0, "The scheduler's tcp://host:port", 0},
    {"data", 'd', "DIR", 0, "A prepared data set (mangrove prepare); a copy of the run's own will do", 0},
    {0},
};

int cmd_worker(int argc, char **argv) {
    WorkerRunOptions options = {0};
    const struct argp argp = {OPTIONS,
                              parse,
                              NULL,
                              "Computes steps of the run: asks the scheduler for work, pulls rows from the servers and "
                              "pushes gradients. Workers may come and go at any time.\v"
                              "SIGTERM gives the work back after the step in hand and ends with code 75.",
                              NULL,
                              NULL,
                              NULL};
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    Err err = log_open("worker", LOG_INFO, NULL);
    if (!err)
        err = worker_run(&options);
    if (err)
        log_error("%s", err_message());
    return err_exit_code(err);
}
