/* mangrove config [CONFIG]: the effective configuration, and what a run with it will cost. */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "common/options.h"
#include "deploy/commands.h"
#include "deploy/config_arguments.h"
#include "deploy/plan.h"
#include "deploy/plan_sample.h"
#include "worker/data/dataset.h"
#include "worker/model/model.h"

enum { NO_ITEMS = 2 /* ids of a schema whose sparse tables are not known yet */ };

typedef struct ShowArguments {
    ConfigArguments config;
    bool is_reference, is_json;
} ShowArguments;

/* ---- the plan ---- */

static Err plan_without_data(const Config *config, Schema *schema, Plan *plan) {
    Err e = model_schema(config, NO_ITEMS, NO_ITEMS, schema);
    return e ? e : plan_make(plan, config, schema, NULL, NULL);
}

static Err plan_with_data(const Config *config, const Dataset *data, Schema *schema, Plan *plan) {
    const DataInfo *info = dataset_info(data);
    PlanSample samples[N_DOMAINS];
    Err e = model_schema(config, info->n_items, info->n_users, schema);
    if (e || (e = plan_sample(config, data, schema, samples)))
        return e;
    return plan_make(plan, config, schema, info, samples);
}

static bool has_dataset(const Config *config) {
    char path[CONFIG_PATH + 16];
    snprintf(path, sizeof path, "%s/manifest.json", config->data_dir);
    return access(path, F_OK) == 0;
}

static Err plan_of(const Config *config, Schema *schema, Plan *plan) {
    if (!has_dataset(config)) {
        log_info("%s holds no prepared data set: the plan leaves out what depends on it", config->data_dir);
        return plan_without_data(config, schema, plan);
    }
    Dataset *data;
    Err e = dataset_open(&data, config->data_dir);
    if (e)
        return e;
    e = plan_with_data(config, data, schema, plan);
    dataset_close(&data);
    return e;
}

/* ---- output ---- */

static void print_people(const Config *config, const Plan *plan) {
    char *text = config_text(config);
    printf("%s\n# fingerprint: %016" PRIx64 "\n", text, config_fingerprint(config));
    plan_print(plan, stdout);
    free(text);
}

static void print_programs(const Config *config, const Plan *plan) {
    char *text = config_json(config);
    printf("{\"config\": %s, \"fingerprint\": \"%016" PRIx64 "\", \"plan\": ", text, config_fingerprint(config));
    plan_print_json(plan, stdout);
    puts("}");
    free(text);
}

static Err show(const ShowArguments *a) {
    Config config;
    Plan plan;
    Err e = config_arguments_load(&a->config, &config);
    if (e)
        return e;
    Schema *schema = must_calloc(1, sizeof *schema);
    if (!(e = plan_of(&config, schema, &plan)))
        (a->is_json ? print_programs : print_people)(&config, &plan);
    free(schema);
    return e;
}

/* ---- the command line ---- */

static error_t parse(int key, char *arg, struct argp_state *state) {
    (void)arg;
    ShowArguments *a = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &a->config;
        return 0;
    case 'r':
        a->is_reference = true;
        return 0;
    case 'j':
        a->is_json = true;
        return 0;
    case ARGP_KEY_END:
        if (a->is_reference && (a->config.path || a->config.n_sets || a->is_json))
            argp_error(state, "--reference shows the defaults and stands alone");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Appends the keys to the text behind the options; argp frees it. */
static char *help_filter(int key, const char *text, void *input) {
    (void)input;
    if (key != ARGP_KEY_HELP_EXTRA)
        return (char *)text;
    char *keys = NULL;
    size_t size;
    FILE *out = open_memstream(&keys, &size);
    if (!out)
        log_die(ERR_MEMORY, "cannot allocate the help text");
    config_write_help(out);
    fclose(out);
    return keys;
}

static const struct argp_option ARGUMENTS[] = {
    {"reference", 'r', NULL, 0, "Print configs/reference.yaml: every key, its default and its meaning", 0},
    {"json", 'j', NULL, 0, "Print one JSON object: config, fingerprint, plan", 0},
    {0},
};

int cmd_config(int argc, char **argv) {
    const struct argp argp = {ARGUMENTS,
                              parse,
                              "[CONFIG]",
                              "Prints the effective configuration (defaults, then CONFIG, then the environment, then "
                              "--set) and the plan: rows, memory per server, bytes a batch, steps an epoch. The output "
                              "is itself a configuration.",
                              CONFIG_CHILDREN,
                              help_filter,
                              NULL};
    ShowArguments a = {.config.is_optional = true};
    argp_err_exit_status = err_exit_code(ERR_USAGE);
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    Err e = OK;
    if (a.is_reference)
        config_write_reference(stdout);
    else
        e = show(&a);
    if (!e && fflush(stdout))
        e = err_fail(ERR_IO, "cannot write the configuration: %m");
    if (e)
        log_error("%s", err_message());
    return err_exit_code(e);
}
