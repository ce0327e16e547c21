#include "deploy/tools/recommendations.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/files.h"
#include "common/log.h"
#include "deploy/local_client.h"
#include "deploy/tools/name_text.h"
#include "deploy/tools/restored_model.h"
#include "deploy/tools/snapshot_choice.h"
#include "worker/data/names.h"
#include "worker/ops/gemm.h"
#include "worker/recommend.h"

enum { MAX_FILE_BYTES = 1 << 30 };

typedef struct Desk {
    const RecommendOptions *options;
    RestoredModel *model;
    Recommender *recommender;
    Vocab users, items;
    Recommendation *best; /* (k) */
} Desk;

static char domain_letter(const Desk *d) {
    return (char)('A' + d->options->domain);
}

/* ---- printing ---------------------------------------------------------------------------------------------------- */

static Err name_json(json_t **out, const char *name) {
    char shown[NAME_SHOWN];
    *out = json_string(name);
    if (*out)
        return OK;
    name_text_shown(name, shown);
    return err_fail(ERR_DATA, "the name \"%s\" is not UTF-8, which JSON must be: leave out --json", shown);
}

static Err items_json(const Desk *d, const Top *top, json_t *items) {
    Err err = OK;
    for (uint32_t i = 0; i < top->n && !err; i++) {
        json_t *name;
        err = name_json(&name, dataset_item_name(d->model->data, top->at[i].item));
        if (!err)
            json_array_append_new(items, json_pack("{s:o, s:f}", "item", name, "score", (double)top->at[i].score));
    }
    return err;
}

/* Nine digits give a float back to the last bit. */
static Err print_json(const Desk *d, const char *user, const Top *top) {
    json_t *name = json_null(), *items = json_array();
    Err err = user ? name_json(&name, user) : OK;
    if (!err)
        err = items_json(d, top, items);
    if (!err) {
        char domain[] = {domain_letter(d), 0};
        json_t *json = json_pack("{s:O, s:s, s:O}", "user", name, "domain", domain, "items", items);
        if (json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)))
            err = err_fail(ERR_IO, "cannot write the recommendations: %m");
        putchar('\n');
        json_decref(json);
    }
    json_decref(items);
    json_decref(name);
    return err;
}

/* user NULL: none, or only one is asked about. */
static void print_lines(const Desk *d, const char *user, const Top *top) {
    for (uint32_t i = 0; i < top->n; i++) {
        if (user) {
            name_text_write(stdout, user, NAME_LINE);
            putchar('\t');
        }
        printf("%" PRIu32 "\t", i + 1);
        name_text_write(stdout, dataset_item_name(d->model->data, top->at[i].item), NAME_LINE);
        printf("\t%.9g\n", (double)top->at[i].score);
    }
}

/* ---- answering --------------------------------------------------------------------------------------------------- */

static Err answer(Desk *d, const RecommendQuery *query, const char *user) {
    Top top = {.k = d->options->k, .at = d->best};
    Err err = recommender_run(d->recommender, query, &top);
    if (err || d->options->is_json)
        return err ? err : print_json(d, user, &top);
    print_lines(d, d->options->users_path ? user : NULL, &top);
    return OK;
}

/* The id of a name that the data set must have; hint: look for the one that was meant. */
static Err find_name(const Desk *d, const char *what, const Vocab *names, const char *text, bool hints, uint32_t *id) {
    *id = vocab_find(names, text, strlen(text));
    if (*id)
        return OK;
    const char *nearest = hints ? names_nearest(names, text) : NULL;
    char shown[NAME_SHOWN], hint[NAME_SHOWN] = "";
    name_text_shown(text, shown);
    if (nearest)
        name_text_shown(nearest, hint);
    return err_fail(ERR_DATA, "the data set in %s has no %s \"%s\"%s%s%s", d->options->data_dir, what, shown,
                    nearest ? "; did you mean \"" : "", hint, nearest ? "\"?" : "");
}

static Err answer_user(Desk *d, const char *user, bool hints) {
    uint32_t id;
    Err err = find_name(d, "user", &d->users, user, hints, &id);
    if (err)
        return err;
    RecommendQuery query = recommender_user(d->recommender, id, d->options->excludes_seen);
    if (query.n_hist)
        return answer(d, &query, user);
    char shown[NAME_SHOWN];
    name_text_shown(user, shown);
    return err_fail(ERR_DATA, "user \"%s\" has no history in domain %c", shown, domain_letter(d));
}

/* ---- a file of users --------------------------------------------------------------------------------------------- */

typedef struct Count {
    uint32_t n_users, n_failed;
} Count;

/* A name that cannot be answered is reported; any other error ends. */
static Err answer_line(Desk *d, char *name, size_t length, uint32_t line, Count *count) {
    Err err = name_text_read(name, length) ? answer_user(d, name, false)
                                           : err_fail(ERR_DATA, "it holds a byte 0, as no name does");
    count->n_users++;
    if (err != ERR_DATA)
        return err;
    count->n_failed++;
    log_error("%s, line %" PRIu32 ": %s", d->options->users_path, line, err_message());
    return OK;
}

static Err answer_lines(Desk *d, char *text, size_t size, Count *count) {
    Err err = OK;
    uint32_t line = 0;
    for (char *end, *stop = text + size; text < stop && !err; text = end + 1) {
        end = memchr(text, '\n', (size_t)(stop - text));
        if (!end)
            end = stop; /* read_file() left a 0 there */
        size_t length = (size_t)(end - text);
        length -= length > 0 && text[length - 1] == '\r';
        line++;
        if (length > 0)
            err = answer_line(d, text, length, line, count);
    }
    return err;
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static Err answer_file(Desk *d) {
    const char *path = d->options->users_path;
    char *text;
    size_t size;
    Count count = {0};
    Err err = read_file(path, MAX_FILE_BYTES, &text, &size);
    if (err)
        return err;
    double start = now_s();
    err = answer_lines(d, text, size, &count);
    double seconds = now_s() - start;
    free(text);
    if (err)
        return err;
    if (!count.n_users)
        return err_fail(ERR_DATA, "%s holds no user's name", path);
    log_info("%" PRIu32 " users over %" PRIu32 " items in %.2f s: %.1f users/s", count.n_users - count.n_failed,
             recommender_candidates(d->recommender), seconds, (count.n_users - count.n_failed) / seconds);
    if (count.n_failed)
        return err_fail(ERR_DATA, "%" PRIu32 " of %" PRIu32 " users of %s were left out", count.n_failed, count.n_users,
                        path);
    return OK;
}

/* ---- a history --------------------------------------------------------------------------------------------------- */

static Err find_item(const Desk *d, char *text, uint32_t *id) {
    Err err = *text ? OK : err_fail(ERR_USAGE, "--history has an empty name: names are separated by single commas");
    if (!err && !name_text_read(text, strlen(text)))
        err = err_fail(ERR_USAGE, "--history holds \\x00, as no name does");
    if (!err)
        err = find_name(d, "item", &d->items, text, true, id);
    if (err || recommender_is_candidate(d->recommender, *id))
        return err;
    char shown[NAME_SHOWN];
    name_text_shown(text, shown);
    return err_fail(ERR_DATA, "item \"%s\" has no event in domain %c: a history of a domain holds its own items", shown,
                    domain_letter(d));
}

static Err find_items(const Desk *d, char *text, uint32_t *ids, uint32_t *n) {
    Err err = OK;
    for (char *end; text && !err; text = end) {
        end = strchr(text, ',');
        if (end)
            *end++ = 0;
        err = find_item(d, text, &ids[(*n)++]);
    }
    return err;
}

static Err answer_history(Desk *d) {
    char *text = must_strdup(d->options->history);
    uint32_t *ids = must_calloc(strlen(text) + 1, sizeof *ids), n = 0;
    Err err = find_items(d, text, ids, &n);
    if (!err) {
        RecommendQuery query = {.hist = ids, .n_hist = n};
        if (d->options->excludes_seen) {
            query.excluded[0] = ids;
            query.n_excluded[0] = n;
        }
        err = answer(d, &query, NULL);
    }
    free(ids);
    free(text);
    return err;
}

/* ---- opening and closing ----------------------------------------------------------------------------------------- */

static Err open_names(Desk *d) {
    Err err = names_read(&d->users, d->model->data, NAME_USER);
    if (!err)
        err = names_read(&d->items, d->model->data, NAME_ITEM);
    return err ? err_wrap(err, "the data set in %s is damaged", d->options->data_dir) : OK;
}

static Err open_recommender(Desk *d) {
    const RecommendOptions *o = d->options;
    RestoredModel *m = d->model;
    ParameterClient client = local_client(m->store);
    Err err =
        recommender_open(&d->recommender, m->data, &m->config, &m->schema, o->domain, &client, store_epoch(m->store));
    if (err)
        return err;
    uint32_t n = recommender_candidates(d->recommender);
    if (o->k > n)
        return err_fail(ERR_USAGE, "--k %" PRIu32 " is more than the %" PRIu32 " items of domain %c", o->k, n,
                        domain_letter(d));
    d->best = must_calloc(o->k, sizeof *d->best);
    return OK;
}

static Err open_desk(Desk *d) {
    char chosen[SNAPSHOT_CHOICE_PATH];
    gemm_use_one_thread();
    Err err = gemm_self_check();
    if (!err)
        err = snapshot_choose_best(d->options->dir, d->options->domain, chosen);
    if (!err)
        err = restored_model_open(&d->model, chosen, d->options->data_dir);
    if (!err)
        err = open_names(d);
    if (!err)
        err = restored_model_load(d->model);
    return err ? err : open_recommender(d);
}

static void close_desk(Desk *d) {
    recommender_close(&d->recommender);
    vocab_free(&d->users);
    vocab_free(&d->items);
    restored_model_close(&d->model);
    free(d->best);
}

Err recommend(const RecommendOptions *options) {
    Desk d = {.options = options};
    Err err = open_desk(&d);
    if (!err && options->users_path)
        err = answer_file(&d);
    else if (!err)
        err = options->user ? answer_user(&d, options->user, true) : answer_history(&d);
    close_desk(&d);
    if ((fflush(stdout) || ferror(stdout)) && !err)
        err = err_fail(ERR_IO, "cannot write the recommendations: %m");
    return err;
}
