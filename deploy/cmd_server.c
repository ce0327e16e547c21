/* mangrove server: one parameter server, for a supervisor or a person to start. */
#include <argp.h>

#include "common/log.h"
#include "deploy/commands.h"
#include "deploy/derive.h"
#include "server/server_shell.h"

static error_t parse(int key, char *arg, struct argp_state *state) {
    ServerRunOptions *o = state->input;
    switch (key) {
    case 's':
        o->scheduler = arg;
        return 0;
    case 'b':
        o->bind = arg;
        return 0;
    case 'a':
        o->advertise = arg;
        return 0;
    case 'i':
        o->insecure = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "what is \"%s\"?", arg);
        return 0;
    case ARGP_KEY_END:
        if (!o->scheduler)
            argp_error(state, "which scheduler? --scheduler tcp://host:port");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option OPTIONS[] = {
    {"scheduler", 's', "ENDPOINT", 0, "The scheduler's tcp://host:port", 0},
    {"bind", 'b', "ENDPOINT", 0,
     "Where workers are listened for, tcp://address:port (default: any port of the address from which the scheduler is "
     "reached)",
     0},
    {"advertise", 'a', "ENDPOINT", 0, "What workers are told (default: what was bound)", 0},
    {"insecure", 'i', NULL, 0, "Allow addresses that other hosts can reach, without encryption", 0},
    {0},
};

int cmd_server(int argc, char **argv) {
    ServerRunOptions options = {.schema = derive_schema};
    const struct argp argp = {
        OPTIONS,
        parse,
        NULL,
        "Holds a share of the tables and applies what workers push. Everything else it learns from "
        "the scheduler; it waits until that is there.",
        NULL,
        NULL,
        NULL};
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    Err err = log_open("server", LOG_INFO, NULL);
    if (!err)
        err = server_run(&options);
    if (err)
        log_error("%s", err_message());
    return err_exit_code(err);
}
