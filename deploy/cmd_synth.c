/* mangrove synth: ratings of two domains that nobody gave. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "deploy/commands.h"
#include "worker/data/synth.h"

enum {
    KEY_PRESET = 256,
    KEY_USERS_A,
    KEY_USERS_B,
    KEY_ITEMS_A,
    KEY_ITEMS_B,
    KEY_LENGTH_A,
    KEY_LENGTH_B,
    KEY_YEARS_A,
    KEY_YEARS_B,
    KEY_TOPICS,
    KEY_COMMON_USERS,
    KEY_COMMON_ITEMS,
    KEY_NOISE,
    KEY_SCALE,
    KEY_SEED,
    KEY_DISJOINT,
    KEY_GZIP,
};

static const struct argp_option OPTIONS[] = {
    {"preset", KEY_PRESET, "NAME", 0, "transfer, amazon or micro_video (transfer); other options change what it says",
     0},
    {"users-a", KEY_USERS_A, "N", 0, "Users of domain A", 0},
    {"users-b", KEY_USERS_B, "N", 0, "Users of domain B", 0},
    {"items-a", KEY_ITEMS_A, "N", 0, "Items of domain A", 0},
    {"items-b", KEY_ITEMS_B, "N", 0, "Items of domain B", 0},
    {"length-a", KEY_LENGTH_A, "N", 0, "Median number of events of a user in A", 0},
    {"length-b", KEY_LENGTH_B, "N", 0, "Median number of events of a user in B", 0},
    {"years-a", KEY_YEARS_A, "X", 0, "A's events lie in the last X years before October 2018", 0},
    {"years-b", KEY_YEARS_B, "X", 0, "The same of B; in a young domain all happens faster", 0},
    {"topics", KEY_TOPICS, "N", 0, "Topics of the items, shared by the domains", 0},
    {"common-users", KEY_COMMON_USERS, "SHARE", 0, "Share of the smaller domain's users who are in both", 0},
    {"common-items", KEY_COMMON_ITEMS, "SHARE", 0, "Share of the smaller domain's items that are in both", 0},
    {"noise", KEY_NOISE, "SHARE", 0, "Share of events that follow no interest and no transition", 0},
    {"scale", KEY_SCALE, "X", 0, "Multiply users and items by X", 0},
    {"seed", KEY_SEED, "N", 0, "The same seed gives the same bytes (1)", 0},
    {"disjoint", KEY_DISJOINT, NULL, 0, "Give B's users and items names that A does not have; all else stays", 0},
    {"gzip", KEY_GZIP, NULL, 0, "Write .csv.gz", 0},
    {0},
};

typedef struct Arguments {
    SynthOptions options;
    double scale;
} Arguments;

/* A number of the range; whole numbers of up to 2^53 are exact. */
static double parse_number(struct argp_state *state, const char *what, const char *text, double low, double high) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= low && value <= high))
        argp_error(state, "%s \"%s\" is no number in [%g, %g]", what, text, low, high);
    return value;
}

static uint32_t parse_count(struct argp_state *state, const char *what, const char *text) {
    double value = parse_number(state, what, text, 1, 100000000);
    if (value != (double)(uint32_t)value)
        argp_error(state, "%s \"%s\" is no whole number", what, text);
    return (uint32_t)value;
}

static error_t parse_size(int key, char *arg, struct argp_state *state, SynthOptions *o) {
    switch (key) {
    case KEY_USERS_A:
    case KEY_USERS_B:
        o->n_users[key - KEY_USERS_A] = parse_count(state, "the number of users", arg);
        break;
    case KEY_ITEMS_A:
    case KEY_ITEMS_B:
        o->n_items[key - KEY_ITEMS_A] = parse_count(state, "the number of items", arg);
        break;
    case KEY_LENGTH_A:
    case KEY_LENGTH_B:
        o->median_length[key - KEY_LENGTH_A] = parse_number(state, "the length", arg, 1, 2000);
        break;
    case KEY_YEARS_A:
    case KEY_YEARS_B:
        o->years[key - KEY_YEARS_A] = parse_number(state, "the number of years", arg, 0.1, 40);
        break;
    case KEY_TOPICS:
        o->n_topics = parse_count(state, "the number of topics", arg);
        break;
    case KEY_COMMON_USERS:
        o->common_users = parse_number(state, "the share of users", arg, 0, 1);
        break;
    case KEY_COMMON_ITEMS:
        o->common_items = parse_number(state, "the share of items", arg, 0, 1);
        break;
    case KEY_NOISE:
        o->noise = parse_number(state, "the share of noise", arg, 0, 1);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    Arguments *a = state->input;
    SynthOptions *o = &a->options;
    switch (key) {
    case KEY_PRESET:
        if (!synth_find_preset(arg))
            argp_error(state, "--preset \"%s\" is neither transfer nor amazon nor micro_video", arg);
        break;
    case KEY_SCALE:
        a->scale = parse_number(state, "the scale", arg, 1e-6, 1e6);
        break;
    case KEY_SEED:
        o->seed = (uint64_t)parse_number(state, "the seed", arg, 0, 9e15);
        break;
    case KEY_DISJOINT:
        o->disjoint = true;
        break;
    case KEY_GZIP:
        o->gzip = true;
        break;
    case ARGP_KEY_ARG:
        if (o->out_dir)
            argp_error(state, "one OUT_DIR is expected, \"%s\" is a second", arg);
        o->out_dir = arg;
        break;
    case ARGP_KEY_END:
        if (!o->out_dir)
            argp_error(state, "OUT_DIR is missing");
        break;
    default:
        return parse_size(key, arg, state, o);
    }
    return 0;
}

/* A first pass, so that the preset lies below the other options wherever it stands. */
static error_t parse_preset(int key, char *arg, struct argp_state *state) {
    Arguments *a = state->input;
    const SynthPreset *preset = key == KEY_PRESET ? synth_find_preset(arg) : NULL;
    if (preset)
        a->options = preset->options;
    return 0;
}

static const char DOC[] = "Writes ratings_A.csv and ratings_B.csv of users whose interests, and items whose topics, "
                          "hold in both domains, for "
                          "mangrove prepare.";

static const struct argp ARGP = {OPTIONS, parse, "OUT_DIR", DOC, NULL, NULL, NULL};
static const struct argp PRESET_ARGP = {OPTIONS, parse_preset, "OUT_DIR", DOC, NULL, NULL, NULL};

int cmd_synth(int argc, char **argv) {
    Arguments a = {.options = SYNTH_PRESETS[0].options, .scale = 1};
    uint64_t n_rows[N_DOMAINS];
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    argp_parse(&PRESET_ARGP, argc, argv, ARGP_SILENT, NULL, &a);
    if (argp_parse(&ARGP, argc, argv, 0, NULL, &a))
        return err_exit_code(ERR_USAGE);
    synth_scale(&a.options, a.scale);
    Err err = synth_write(&a.options, n_rows);
    if (err) {
        log_error("%s", err_message());
        return err_exit_code(err);
    }
    for (int d = 0; d < N_DOMAINS; d++)
        printf("%s/ratings_%c.csv%s: %llu rows of %u users and %u items\n", a.options.out_dir, 'A' + d,
               a.options.gzip ? ".gz" : "", (unsigned long long)n_rows[d], a.options.n_users[d], a.options.n_items[d]);
    return 0;
}
