/* mangrove prepare: two ratings files -> a prepared data set. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "deploy/commands.h"
#include "worker/data/prepare.h"

enum {
    KEY_OUT = 256,
    KEY_BASE,
    KEY_VANISHED,
    KEY_FORMAT,
    KEY_COLUMNS,
    KEY_K,
    KEY_ITEM_K,
    KEY_SPLIT,
    KEY_DAYS,
    KEY_CHUNK,
    KEY_SEED,
    KEY_BAD,
    KEY_FORCE
};

static const struct argp_option OPTIONS[] = {
    {"out", KEY_OUT, "DIR", 0, "Directory of the prepared data set (required)", 0},
    {"base", KEY_BASE, "DIR", 0,
     "Keep the ids of users and items of the data set in DIR; new names get ids behind them. The inputs are the "
     "complete ratings, not the new ones alone",
     0},
    {"allow-vanished", KEY_VANISHED, NULL, 0,
     "Go on where more than half of the base's items or users have no event in the inputs", 0},
    {"format", KEY_FORMAT, "NAME", 0, "csv, inter or jsonl; default: what each file looks like", 0},
    {"columns", KEY_COLUMNS, "LIST", 0, "What the columns hold, as in item,user,rating,time; other names are skipped",
     0},
    {"k-core", KEY_K, "K", 0, "Keep users with at least K distinct items in the domain (5)", 0},
    {"item-core", KEY_ITEM_K, "K", 0, "Keep items with at least K users in the domain, and repeat both (1)", 0},
    {"split", KEY_SPLIT, "NAME", 0, "quantile, days or leave_one_out (quantile)", 0},
    {"days", KEY_DAYS, "N", 0, "Of --split days: the last N days are test, the N before validation (91)", 0},
    {"chunk", KEY_CHUNK, "N", 0, "Training instances of a chunk, the unit of partitions, at least (40000)", 0},
    {"seed", KEY_SEED, "N", 0, "Of the order of users and of the evaluation candidates (1)", 0},
    {"max-bad", KEY_BAD, "PERCENT", 0, "Refuse a file of which more rows are malformed (1)", 0},
    {"force", KEY_FORCE, NULL, 0, "Replace the data set that is there", 0},
    {0},
};

static uint64_t parse_number(struct argp_state *state, const char *name, const char *text, uint64_t low,
                             uint64_t high) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end || text[0] == '-' || value < low || value > high)
        argp_error(state, "--%s \"%s\" is no integer in [%llu, %llu]", name, text, (unsigned long long)low,
                   (unsigned long long)high);
    return value;
}

static double parse_percent(struct argp_state *state, const char *text) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0 && value <= 100))
        argp_error(state, "--max-bad \"%s\" is no percentage in [0, 100]", text);
    return value / 100;
}

static RatingsFormat parse_format(struct argp_state *state, const char *text) {
    for (int i = RATINGS_SNIFF + 1; i < N_RATINGS_FORMATS; i++)
        if (!strcmp(text, RATINGS_FORMAT_NAMES[i]))
            return (RatingsFormat)i;
    argp_error(state, "--format \"%s\" is neither csv nor inter nor jsonl", text);
    return RATINGS_SNIFF;
}

static SplitKind parse_split(struct argp_state *state, const char *text) {
    for (int i = 0; i < N_SPLIT_KINDS; i++)
        if (!strcmp(text, SPLIT_KIND_NAMES[i]))
            return (SplitKind)i;
    argp_error(state, "--split \"%s\" is neither quantile nor days nor leave_one_out", text);
    return SPLIT_BY_QUANTILE;
}

static error_t parse_input(struct argp_state *state, PrepareOptions *o, const char *path) {
    if (state->arg_num >= N_DOMAINS)
        argp_error(state, "two ratings files are expected, \"%s\" is a third", path);
    else
        o->inputs[state->arg_num] = path;
    return 0;
}

static void check_required(struct argp_state *state, const PrepareOptions *o) {
    if (state->arg_num < N_DOMAINS)
        argp_error(state, "two ratings files are expected, one for each domain");
    if (!o->out_dir)
        argp_error(state, "--out DIR is missing");
}

static error_t parse(int key, char *arg, struct argp_state *state) {
    PrepareOptions *o = state->input;
    switch (key) {
    case KEY_OUT:
        o->out_dir = arg;
        break;
    case KEY_BASE:
        o->base_dir = arg;
        break;
    case KEY_VANISHED:
        o->allows_vanished = true;
        break;
    case KEY_FORMAT:
        o->ratings.format = parse_format(state, arg);
        break;
    case KEY_COLUMNS:
        o->ratings.columns = arg;
        break;
    case KEY_K:
        o->user_core = (uint32_t)parse_number(state, "k-core", arg, 1, 1000000);
        break;
    case KEY_ITEM_K:
        o->item_core = (uint32_t)parse_number(state, "item-core", arg, 1, 1000000);
        break;
    case KEY_SPLIT:
        o->split = parse_split(state, arg);
        break;
    case KEY_DAYS:
        o->days = (int)parse_number(state, "days", arg, 1, 100000);
        break;
    case KEY_CHUNK:
        o->chunk = (uint32_t)parse_number(state, "chunk", arg, 1, 1000000000);
        break;
    case KEY_SEED:
        o->seed = parse_number(state, "seed", arg, 0, INT64_MAX);
        break;
    case KEY_BAD:
        o->ratings.max_bad = parse_percent(state, arg);
        break;
    case KEY_FORCE:
        o->force = true;
        break;
    case ARGP_KEY_ARG:
        return parse_input(state, o, arg);
    case ARGP_KEY_END:
        check_required(state, o);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static const struct argp ARGP = {OPTIONS,
                                 parse,
                                 "A.csv B.csv --out DIR",
                                 "Reads the ratings of two domains (CSV as Amazon publishes it, CSV with a header, "
                                 "RecBole .inter, JSON lines; plain "
                                 "or gzip; times in seconds or milliseconds), "
                                 "splits them by time, draws the evaluation candidates and writes what workers map.",
                                 NULL,
                                 NULL,
                                 NULL};

/* ---- the table ---- */

static void warn_malformed(const PrepareOptions *o, const PrepareReport *report) {
    for (int d = 0; d < N_DOMAINS; d++) {
        const RatingsStats *s = &report->inputs[d];
        if (s->n_bad)
            log_warn("%s: %llu of %llu rows are malformed and were skipped; the first is line %llu, where %s",
                     o->inputs[d], (unsigned long long)s->n_bad, (unsigned long long)s->n_rows,
                     (unsigned long long)s->bad_lines[0], s->bad_reason);
    }
}

static void print_line(const char *what, uint64_t a, uint64_t b) {
    printf("%-24s %12llu %12llu\n", what, (unsigned long long)a, (unsigned long long)b);
}

static void print_words(const char *what, const char *a, const char *b) {
    printf("%-24s %12s %12s\n", what, a, b);
}

static const char *unit_of(const RatingsStats *input) {
    return input->has_ms ? "milliseconds" : "seconds";
}

static void print_instances(const Dataset *data) {
    static const char *const NAMES[N_LISTS] = {"training instances", "validation, warm", "test, warm",
                                               "validation, all", "test, all"};
    for (int protocol = 0; protocol < N_PROTOCOLS; protocol++)
        for (int split = protocol ? SPLIT_VALID : SPLIT_TRAIN; split < N_SPLITS; split++) {
            uint32_t n[N_DOMAINS];
            for (int d = 0; d < N_DOMAINS; d++)
                (void)dataset_instances(data, d, (Split)split, (Protocol)protocol, &n[d]);
            print_line(NAMES[list_index((Split)split, (Protocol)protocol)], n[0], n[1]);
        }
}

static void print_probes(const DataInfo *info) {
    static const char *const LISTS[N_PROTOCOLS][N_SPLITS] = {{NULL, "valid, warm", "test, warm"},
                                                             {NULL, "valid, all", "test, all"}};
    printf("\n%-28s %8s %12s   rules that know no user: .50 if the candidates are fair\n", "AUC of the probes", "A",
           "B");
    for (int protocol = 0; protocol < N_PROTOCOLS; protocol++)
        for (int split = SPLIT_VALID; split < N_SPLITS; split++)
            for (int rule = 0; rule < N_PROBES; rule++) {
                char what[48];
                snprintf(what, sizeof what, "%s, %s", PROBE_NAMES[rule], LISTS[protocol][split]);
                printf("%-28s %8.4f %12.4f\n", what, info->probes[protocol][DOMAIN_A][split][rule].auc,
                       info->probes[protocol][DOMAIN_B][split][rule].auc);
            }
}

static void print_ids(const PrepareReport *r) {
    printf("\n");
    print_words("ids of the base", "users", "items");
    print_line("kept", r->user_ids.n_kept, r->item_ids.n_kept);
    print_line("without events now", r->user_ids.n_vanished, r->item_ids.n_vanished);
    print_line("new behind them", r->user_ids.n_new, r->item_ids.n_new);
}

static void print_report(const PrepareOptions *o, const PrepareReport *r, const Dataset *data) {
    const DataInfo *info = dataset_info(data);
    print_words("domain", "A", "B");
    print_words("format", RATINGS_FORMAT_NAMES[r->inputs[0].format], RATINGS_FORMAT_NAMES[r->inputs[1].format]);
    print_words("times in", unit_of(&r->inputs[0]), unit_of(&r->inputs[1]));
    print_line("rows", r->inputs[0].n_rows, r->inputs[1].n_rows);
    print_line("malformed", r->inputs[0].n_bad, r->inputs[1].n_bad);
    print_line("duplicates", r->n_duplicates[0], r->n_duplicates[1]);
    print_line("users", r->n_users[0], r->n_users[1]);
    print_line("items", r->n_items[0], r->n_items[1]);
    print_line("items of training", info->n_train_items[0], info->n_train_items[1]);
    print_line("events", r->n_events[0], r->n_events[1]);
    print_instances(data);
    if (o->base_dir)
        print_ids(r);
    printf("\nin both domains: %u users, %u items; %u chunks; fingerprint %016llx\n", r->n_common_users,
           r->n_common_items, info->n_chunks, (unsigned long long)info->fingerprint);
    print_probes(info);
    printf("\nprepared: %s\n", o->out_dir);
}

int cmd_prepare(int argc, char **argv) {
    PrepareOptions options;
    PrepareReport report;
    Dataset *data = NULL;
    prepare_defaults(&options);
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    error_t usage = argp_parse(&ARGP, argc, argv, 0, NULL, &options);
    if (usage)
        return err_exit_code(ERR_USAGE);
    Err err = prepare_run(&options, &report);
    if (!err) {
        warn_malformed(&options, &report);
        err = dataset_open(&data, options.out_dir);
    }
    if (err) {
        log_error("%s", err_message());
        return err_exit_code(err);
    }
    print_report(&options, &report, data);
    dataset_close(&data);
    return 0;
}
