/* Options: the sources of a configuration in their order, and what its keys demand of each other. */
#include "common/options.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"
#include "common/options_message.h"
#include "common/options_table.h"

/* ---- sources ---- */

static void set_defaults(Loader *l) {
    *l = (Loader){0};
    for (int i = 0; i < N_OPTIONS; i++) {
        Err e = option_set(l, &OPTIONS[i], OPTIONS[i].fallback, (Origin){.kind = ORIGIN_UNSET});
        assert(e == OK);
        (void)e;
    }
}

/* Returns the text, caller frees; one byte more than allowed is read so that the reader notices. */
static Err read_file(const char *path, char **text, size_t *size) {
    FILE *file = fopen(path, "re");
    if (!file)
        return err_fail(ERR_CONFIG, "cannot open the configuration %s: %s", path, strerror(errno));
    *text = must_alloc(OPTIONS_MAX_TEXT + 1);
    *size = fread(*text, 1, OPTIONS_MAX_TEXT + 1, file);
    int error = ferror(file) ? errno : 0;
    fclose(file);
    if (!error)
        return OK;
    free(*text);
    return err_fail(ERR_CONFIG, "cannot read the configuration %s: %s", path, strerror(error));
}

static Err load_file(Loader *l, const char *path) {
    char *text = NULL;
    size_t size = 0;
    Err e = read_file(path, &text, &size);
    if (e)
        return e;
    e = options_read_yaml(l, text, size, path);
    free(text);
    return e;
}

static Err set_variables(Loader *l) {
    char name[OPTION_VARIABLE];
    for (int i = 0; i < N_OPTIONS; i++) {
        option_variable(&OPTIONS[i], name);
        const char *value = getenv(name);
        if (!value || !*value)
            continue;
        Err e = option_set(l, &OPTIONS[i], value, (Origin){.kind = ORIGIN_VARIABLE});
        if (e)
            return e;
    }
    return OK;
}

static bool is_variable(const char *name) {
    char known[OPTION_VARIABLE];
    for (int i = 0; i < N_OPTIONS; i++) {
        option_variable(&OPTIONS[i], known);
        if (!strcmp(known, name))
            return true;
    }
    return false;
}

/* "MANGROVE_TRAIN_..." has the form of a key; MANGROVE_SHARED has not. */
static bool names_section(const char *name) {
    for (int i = 0; i < N_SECTIONS; i++) {
        size_t length = strlen(SECTIONS[i].name);
        if (!strncasecmp(name + strlen("MANGROVE_"), SECTIONS[i].name, length) &&
            name[strlen("MANGROVE_") + length] == '_')
            return true;
    }
    return false;
}

static Err check_variables(void) {
    for (char **v = environ; v && *v; v++) {
        char name[2 * OPTION_VARIABLE], nearest[OPTION_VARIABLE];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*v, "="), *v);
        if (strncmp(name, "MANGROVE_", strlen("MANGROVE_")) || !names_section(name) || is_variable(name))
            continue;
        const char *hint = nearest_variable(name, nearest);
        return err_fail(ERR_CONFIG, "%s: no key of a configuration has this variable%s%s%s", name,
                        hint ? ": did you mean " : "", hint ? hint : "", hint ? "?" : "");
    }
    return OK;
}

static Err apply_set(Loader *l, const char *set) {
    const char *equals = strchr(set, '=');
    char key[128], found[FOUND_TEXT];
    if (!equals) {
        found_text(set, found);
        return err_fail(ERR_USAGE, "--set: found %s, expected section.key=value, as in --set train.seed=2", found);
    }
    int option = option_find(set, (size_t)(equals - set));
    if (option >= 0)
        return option_set(l, &OPTIONS[option], equals + 1, (Origin){.kind = ORIGIN_SET});
    snprintf(key, sizeof key, "%.*s", (int)(equals - set), set);
    return option_unknown("--set", key, section_find(key, strcspn(key, ".")));
}

/* ---- what keys demand of each other ---- */

static const Option *option_of(const char *name) {
    int i = option_find(name, strlen(name));
    assert(i >= 0);
    return &OPTIONS[i];
}

static const Origin *origin_of(const Loader *l, const char *name) {
    return &l->origin[option_of(name) - OPTIONS];
}

#define refuse(l, name, ...) (err_fail(ERR_CONFIG, __VA_ARGS__), refuse_key((l), (name)))

static Err refuse_key(const Loader *l, const char *name) {
    char where[OPTION_WHERE];
    origin_text(option_of(name), origin_of(l, name), where);
    return err_wrap(ERR_CONFIG, "%s: %s", where, name);
}

static Err check_ranks(Loader *l) {
    const TrainConfig *t = &l->config.train;
    if (t->ranks > 1 && t->consistency != CONSISTENCY_SYNC)
        return refuse(l, "train.ranks", "found %d, expected 1 unless train.consistency is sync", t->ranks);
    return OK;
}

/* The model numbers the (instance, position, candidate) triples of a batch by int. */
static Err check_triples(Loader *l) {
    const TrainConfig *t = &l->config.train;
    int64_t most = INT32_MAX / ((int64_t)l->config.model.seq_len * (t->negatives + 1));
    if (t->batch > most)
        return refuse(l, "train.batch",
                      "found %d, expected at most %d where model.seq_len is %d and train.negatives %d", t->batch,
                      (int)most, l->config.model.seq_len, t->negatives);
    return OK;
}

/* In sync nothing is pulled ahead: a default of 1 gives way, a 1 that somebody wrote does not. */
static Err check_prefetch(Loader *l) {
    TrainConfig *t = &l->config.train;
    if (t->consistency != CONSISTENCY_SYNC || t->prefetch == 0)
        return OK;
    if (origin_of(l, "train.prefetch")->kind != ORIGIN_UNSET)
        return refuse(l, "train.prefetch", "found %d, expected 0 where train.consistency is sync", t->prefetch);
    t->prefetch = 0;
    return OK;
}

/* A step of sync is one update of everything that it reaches. */
static Err check_dense(Loader *l) {
    static const char SENTENCE[] = "found %d, expected 1 where train.consistency is sync";
    const DenseConfig *d = &l->config.dense;
    if (l->config.train.consistency != CONSISTENCY_SYNC)
        return OK;
    if (d->fetch > 1)
        return refuse(l, "dense.fetch", SENTENCE, d->fetch);
    return d->push > 1 ? refuse(l, "dense.push", SENTENCE, d->push) : OK;
}

static Err check_heartbeats(Loader *l) {
    const ClusterConfig *c = &l->config.cluster;
    if (c->dead_ms < 2 * c->heartbeat_ms)
        return refuse(l, "cluster.dead_ms", "found %d, expected at least two cluster.heartbeat_ms, which are %d",
                      c->dead_ms, 2 * c->heartbeat_ms);
    return OK;
}

static Err check_ks(Loader *l) {
    const EvalConfig *e = &l->config.eval;
    for (int i = 1; i < e->n_ks; i++) {
        for (int j = 0; j < i; j++) {
            if (e->ks[i] == e->ks[j])
                return refuse(l, "eval.ks", "found %d twice, expected different values", e->ks[i]);
        }
    }
    return OK;
}

static Err check_dirs(Loader *l) {
    if (!strcmp(l->config.data_dir, l->config.run_dir)) {
        char found[FOUND_TEXT];
        found_text(l->config.run_dir, found);
        return refuse(l, "run.dir", "found %s, expected another directory than data.dir", found);
    }
    return OK;
}

static Err check_together(Loader *l) {
    static Err (*const CHECKS[])(Loader *) = {check_ranks,      check_triples, check_prefetch, check_dense,
                                              check_heartbeats, check_ks,      check_dirs};
    for (size_t i = 0; i < sizeof CHECKS / sizeof CHECKS[0]; i++) {
        Err e = CHECKS[i](l);
        if (e)
            return e;
    }
    return OK;
}

/* ---- the whole ---- */

void config_defaults(Config *c) {
    Loader l;
    set_defaults(&l);
    *c = l.config;
}

/* The environment, the command line, and what follows. */
static Err finish_load(Loader *l, const char *const *sets, int n_sets, Config *out) {
    Err e;
    if ((e = check_variables()) || (e = set_variables(l)))
        return e;
    for (int i = 0; i < n_sets; i++) {
        if ((e = apply_set(l, sets[i])))
            return e;
    }
    if ((e = check_together(l)))
        return e;
    *out = l->config;
    return OK;
}

Err config_load(Config *out, const char *path, const char *const *sets, int n_sets) {
    Loader l;
    set_defaults(&l);
    Err e = path ? load_file(&l, path) : OK;
    return e ? e : finish_load(&l, sets, n_sets, out);
}

Err config_load_upon(Config *out, const Config *base, const char *const *sets, int n_sets) {
    Loader l = {.config = *base};
    return finish_load(&l, sets, n_sets, out);
}

Err config_parse(Config *c, const char *text, size_t size, const char *source) {
    Loader l = {.config = *c};
    Err e;
    if ((e = options_read_yaml(&l, text, size, source)) || (e = check_together(&l)))
        return e;
    *c = l.config;
    return OK;
}
