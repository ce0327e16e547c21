/* mangrove bench WHAT [CONFIG]: the benchmarks. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "deploy/bench_step.h"
#include "deploy/commands.h"
#include "deploy/config_arguments.h"

enum { KEY_HISTORY = 256, KEY_ROUNDS, KEY_YARDSTICK };

typedef struct BenchArguments {
    const char *what;
    ConfigArguments config;
    BenchStepOptions step;
} BenchArguments;

static double positive(struct argp_state *state, const char *option, const char *text) {
    char *end;
    double x = strtod(text, &end);
    if (*end || !(x > 0) || x > 1e6)
        argp_error(state, "--%s is \"%s\", expected a number above 0 and up to a million", option, text);
    return x;
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    BenchArguments *a = state->input;
    static char batch[64];
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->config;
        return 0;
    case 'd':
        a->step.data_dir = arg;
        return 0;
    case 'b':
        snprintf(batch, sizeof batch, "train.batch=%s", arg);
        config_arguments_add(&a->config, state, batch);
        return 0;
    case 't':
        a->step.seconds = positive(state, "seconds", arg);
        return 0;
    case KEY_HISTORY:
        a->step.mean_history = positive(state, "history", arg);
        return 0;
    case KEY_ROUNDS:
        a->step.rounds = (int)positive(state, "rounds", arg);
        return 0;
    case KEY_YARDSTICK:
        a->step.yardstick = arg;
        return 0;
    case 'j':
        a->step.is_json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (a->what)
            return ARGP_ERR_UNKNOWN; /* CONFIG */
        a->what = arg;
        return 0;
    case ARGP_KEY_END:
        if (!a->what || strcmp(a->what, "step"))
            argp_error(state, "WHAT is \"%s\", there is: step", a->what ? a->what : "");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option ARGUMENTS[] = {
    {"data", 'd', "DIR", 0, "Batches of this prepared data set (default: made up)", 0},
    {"batch", 'b', "N", 0, "Instances in a batch (train.batch)", 0},
    {"seconds", 't', "S", 0, "Length of a round (default 5)", 0},
    {"rounds", KEY_ROUNDS, "N", 0, "Rounds, each followed by the yardstick (default 3)", 0},
    {"history", KEY_HISTORY, "N", 0, "Mean length of made-up histories (default 10)", 0},
    {"yardstick", KEY_YARDSTICK, "COMMAND", 0,
     "Compare with a command whose last line of output holds \"speed N instances/s\"", 0},
    {"json", 'j', NULL, 0, "Print one JSON object a line", 0},
    {0},
};

int cmd_bench(int argc, char **argv) {
    BenchArguments a = {.config.is_optional = true, .step = {.seconds = 5, .rounds = 3, .mean_history = 10}};
    static const struct argp PARSER = {
        ARGUMENTS,
        parse,
        "step [CONFIG]",
        "step: trains in one process with its own store as fast as it can; prints instances per second and what "
        "each phase of a step takes.",
        CONFIG_CHILDREN,
        NULL,
        NULL};
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    argp_parse(&PARSER, argc, argv, 0, NULL, &a);
    Config config;
    Err err = config_arguments_load(&a.config, &config);
    if (!err)
        err = bench_step(&config, &a.step);
    if (err)
        log_error("%s", err_message());
    return err_exit_code(err);
}
