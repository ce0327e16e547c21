/* mangrove recommend: the best items of a domain for users of the data set or for a history. */
#include <argp.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/work.h"
#include "deploy/commands.h"
#include "deploy/tools/name_text.h"
#include "deploy/tools/recommendations.h"

enum { KEY_USERS = 256, KEY_HISTORY, MOST_ITEMS = 1000000000 };

static uint32_t parse_k(const char *arg, struct argp_state *state) {
    char *end;
    long k = strtol(arg, &end, 10);
    if (end == arg || *end || k < 1 || k > MOST_ITEMS)
        argp_error(state, "--k is a number of items from 1 on, not \"%s\"", arg);
    return (uint32_t)k;
}

static int parse_domain(const char *arg, struct argp_state *state) {
    if (strcmp(arg, "A") && strcmp(arg, "B"))
        argp_error(state, "the domain is A or B, not \"%s\"", arg);
    return *arg - 'A' + DOMAIN_A;
}

static void check(const RecommendOptions *o, struct argp_state *state) {
    if (!o->dir)
        argp_error(state, "which SNAPSHOT? A directory like runs/quickstart/snapshots/epoch-0003, or runs/quickstart");
    if (!o->data_dir)
        argp_error(state, "which data? --data DIR, the prepared data set of the training");
    if (o->domain < 0)
        argp_error(state, "which domain? --domain A or --domain B");
    if (!o->user + !o->history + !o->users_path != 2)
        argp_error(state, "for whom? One of --user NAME, --history ITEM,ITEM,... and --users FILE");
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    RecommendOptions *o = state->input;
    switch (key) {
    case 'd':
        o->data_dir = arg;
        return 0;
    case 'm':
        o->domain = parse_domain(arg, state);
        return 0;
    case 'u':
        o->user = arg;
        if (!name_text_read(arg, strlen(arg)))
            argp_error(state, "--user holds \\x00, as no name does");
        return 0;
    case KEY_HISTORY:
        o->history = arg;
        return 0;
    case KEY_USERS:
        o->users_path = arg;
        return 0;
    case 'k':
        o->k = parse_k(arg, state);
        return 0;
    case 'x':
        o->excludes_seen = true;
        return 0;
    case 'j':
        o->is_json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->dir)
            argp_error(state, "one snapshot at a time, not \"%s\" and \"%s\"", o->dir, arg);
        o->dir = arg;
        return 0;
    case ARGP_KEY_END:
        check(o, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option OPTIONS[] = {
    {"data", 'd', "DIR", 0, "The prepared data set of the training, or one made from it with prepare --base", 0},
    {"domain", 'm', "A|B", 0, "Whose items are recommended, and whose history is looked at", 0},
    {"user", 'u', "NAME", 0, "For a user of the data set", 1},
    {"history", KEY_HISTORY, "ITEM,ITEM,...", 0, "For whoever did this: items of the domain, oldest first", 1},
    {"users", KEY_USERS, "FILE", 0,
     "For the users named in FILE, one a line; the users per second go to stderr. A name that cannot be answered is "
     "reported with its line and left out, and the exit code is then 3",
     1},
    {"k", 'k', "N", 0, "How many items (default: 10)", 2},
    {"exclude-seen", 'x', NULL, 0, "Leave out the items of the user's events in both domains, or of the history", 2},
    {"json", 'j', NULL, 0, "A JSON object for each user, one a line: user, domain, items with their scores", 2},
    {0},
};

int cmd_recommend(int argc, char **argv) {
    RecommendOptions o = {.domain = -1, .k = 10};
    const struct argp argp = {
        OPTIONS,
        parse,
        "SNAPSHOT|RUN_DIR",
        "Prints the best items of a domain for a user: rank, item and score, separated by tabs; with --users the "
        "user's name before them. Every candidate is scored by the model as it is evaluated: the score is its logit. "
        "Candidates are the items that occur in the domain's events of the data set; equal scores are ordered by item "
        "id. A user's history are all of its events in the domain, of which the model looks at the most recent. "
        "RUN_DIR "
        "stands for the snapshot of the domain's best validation epoch, which need not be the newest. Needs no "
        "cluster.",
        NULL,
        NULL,
        NULL};
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    Err err = recommend(&o);
    if (err)
        log_error("%s", err_message());
    return err_exit_code(err);
}
