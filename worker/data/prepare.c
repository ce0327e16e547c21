/* Ratings -> prepared data set. */
#include "worker/data/prepare.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/log.h"
#include "common/rng.h"
#include "worker/data/base.h"
#include "worker/data/candidates.h"
#include "worker/data/interactions.h"
#include "worker/data/outdir.h"
#include "worker/data/splits.h"
#include "worker/data/vocab.h"

const char *const SPLIT_KIND_NAMES[N_SPLIT_KINDS] = {"quantile", "days", "leave_one_out"};

void prepare_defaults(PrepareOptions *o) {
    *o = (PrepareOptions){
        .ratings = {.max_bad = 0.01},
        .user_core = 5,
        .item_core = 1,
        .days = 91,
        .chunk = 40000,
        .seed = 1,
    };
}

void prepared_free(Prepared *p) {
    free(p->layout);
    for (int d = 0; d < N_DOMAINS; d++) {
        PreparedDomain *domain = &p->domains[d];
        free(domain->users);
        free(domain->times);
        free(domain->items);
        free(domain->is_warm);
        for (int l = 0; l < N_LISTS; l++) {
            free(domain->lists[l].at);
            free(domain->lists[l].chunk_start);
            free(domain->lists[l].negatives);
        }
    }
    *p = (Prepared){0};
}

typedef struct Preparation {
    const PrepareOptions *options;
    PrepareReport *report;
    Base base;
    Vocab users, items; /* of all rows, later of what is kept */
    Interactions domains[N_DOMAINS];
    Prepared prepared;
    int reading; /* domain */
} Preparation;

/* ---- reading ---- */

static Err take_row(void *self, const RatingsRow *row) {
    Preparation *x = self;
    uint32_t user = vocab_intern(&x->users, row->user, row->user_length);
    uint32_t item = vocab_intern(&x->items, row->item, row->item_length);
    return interactions_add(&x->domains[x->reading], user, item, row->time);
}

static Err read_inputs(Preparation *x) {
    for (int d = 0; d < N_DOMAINS; d++) {
        x->reading = d;
        Err err = ratings_read(x->options->inputs[d], &x->options->ratings, take_row, x, &x->report->inputs[d]);
        if (err)
            return err;
    }
    return OK;
}

static Err find_core(Preparation *x) {
    const PrepareOptions *o = x->options;
    for (int d = 0; d < N_DOMAINS; d++) {
        Interactions *domain = &x->domains[d];
        interactions_finish(domain, x->users.n, x->items.n, o->user_core, o->item_core);
        x->report->n_duplicates[d] = domain->n_duplicates;
        if (interactions_count(domain) == 0)
            return err_fail(ERR_DATA, "domain %c is empty: of %llu rows in %s no user has %u distinct items%s", 'A' + d,
                            (unsigned long long)x->report->inputs[d].n_rows, o->inputs[d], o->user_core,
                            o->item_core > 1 ? " that enough users have" : "");
    }
    return OK;
}

/* ---- ids ---- */

/* Which domains use an id: bit d. */
static void mark_users(const Interactions *x, int domain, uint8_t *used) {
    for (uint32_t u = 0; u < x->n_users; u++)
        if (x->start[u + 1] > x->start[u])
            used[u] |= (uint8_t)(1u << domain);
}

static void mark_items(const Interactions *x, int domain, uint8_t *used) {
    for (uint32_t i = 0; i < interactions_count(x); i++)
        used[x->events[i].item] |= (uint8_t)(1u << domain);
}

/* Gives the used names new ids behind those of `kept`, the base's, in the old order; new_id (names->n) out. kept is
 * taken and becomes the new names. */
static uint32_t *renumber(Vocab *names, const uint8_t *used, Vocab *kept, IdCounts *counts) {
    uint32_t *new_id = must_calloc(names->n, sizeof *new_id), n_base = kept->n;
    for (uint32_t id = 1; id < names->n; id++) {
        if (!used[id])
            continue;
        new_id[id] = vocab_intern(kept, vocab_name(names, id), strlen(vocab_name(names, id)));
        counts->n_kept += new_id[id] < n_base;
    }
    counts->n_new = kept->n - n_base;
    counts->n_vanished = n_base - 1 - counts->n_kept;
    vocab_free(names);
    *names = *kept;
    *kept = (Vocab){0};
    return new_id;
}

static void count_domains(const uint8_t *used, uint32_t n, uint32_t n_of_domain[N_DOMAINS], uint32_t *n_common) {
    for (uint32_t id = 1; id < n; id++) {
        for (int d = 0; d < N_DOMAINS; d++)
            n_of_domain[d] += used[id] >> d & 1;
        *n_common += used[id] == (1u << N_DOMAINS) - 1;
    }
}

/* ---- layout ---- */

typedef struct LayoutKey {
    uint64_t key;
    uint32_t user;
} LayoutKey;

static int by_key(const void *left, const void *right) {
    const LayoutKey *a = left, *b = right;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return a->user < b->user ? -1 : a->user > b->user;
}

static void order_users(Prepared *p, uint64_t seed) {
    LayoutKey *keys = must_alloc((p->n_layout + (size_t)1) * sizeof *keys);
    p->layout = must_alloc((p->n_layout + (size_t)1) * sizeof *p->layout);
    for (uint32_t i = 0; i < p->n_layout; i++) {
        Rng r = rng_stream(seed, RNG_LAYOUT, 0, i + 1);
        keys[i] = (LayoutKey){.key = rng_u64(&r), .user = i + 1};
    }
    qsort(keys, p->n_layout, sizeof *keys, by_key);
    for (uint32_t i = 0; i < p->n_layout; i++)
        p->layout[i] = keys[i].user;
    free(keys);
}

/* Moves a domain's events to their place in the layout, under the new ids. old_user (n_users): old ids of the new. */
static void place_events(PreparedDomain *d, const Prepared *p, Interactions *x, const uint32_t *old_user,
                         const uint32_t *new_item) {
    d->users = must_calloc(p->n_users, sizeof *d->users);
    d->n_events = interactions_count(x);
    d->times = must_alloc(d->n_events * sizeof *d->times);
    d->items = must_alloc(d->n_events * sizeof *d->items);
    uint32_t at = 0;
    for (uint32_t i = 0; i < p->n_layout; i++) {
        uint32_t user = p->layout[i], old = old_user[user];
        d->users[user] = (UserRange){.first = at, .n = x->start[old + 1] - x->start[old]};
        for (uint32_t e = x->start[old]; e < x->start[old + 1]; e++, at++) {
            d->times[at] = x->events[e].time;
            d->items[at] = new_item[x->events[e].item];
        }
    }
    interactions_free(x);
}

static void lay_out(Preparation *x, const uint32_t *new_user, uint32_t n_old_users, const uint32_t *new_item) {
    Prepared *p = &x->prepared;
    p->n_users = x->users.n;
    p->n_items = x->items.n;
    p->n_layout = p->n_users - 1;
    order_users(p, x->options->seed);
    uint32_t *old_user = must_calloc(p->n_users, sizeof *old_user); /* 0, who has no events, for the vanished */
    for (uint32_t u = 1; u < n_old_users; u++)
        if (new_user[u])
            old_user[new_user[u]] = u;
    for (int d = 0; d < N_DOMAINS; d++)
        place_events(&p->domains[d], p, &x->domains[d], old_user, new_item);
    free(old_user);
}

/* Renumbers what the core has left and lays it out. */
static Err settle_ids(Preparation *x) {
    PrepareReport *report = x->report;
    uint32_t n_users = x->users.n, n_items = x->items.n;
    uint8_t *used_users = must_calloc(n_users, 1), *used_items = must_calloc(n_items, 1);
    for (int d = 0; d < N_DOMAINS; d++) {
        report->n_events[d] = interactions_count(&x->domains[d]);
        mark_users(&x->domains[d], d, used_users);
        mark_items(&x->domains[d], d, used_items);
    }
    count_domains(used_users, n_users, report->n_users, &report->n_common_users);
    count_domains(used_items, n_items, report->n_items, &report->n_common_items);
    Err err = base_check_domains(&x->base, &x->items, used_items, x->options->inputs);
    if (!err && !x->options->allows_vanished)
        err = base_check_complete(&x->base, &x->items, used_items, &x->users, used_users);
    if (!err) {
        uint32_t *new_user = renumber(&x->users, used_users, &x->base.users, &report->user_ids);
        uint32_t *new_item = renumber(&x->items, used_items, &x->base.items, &report->item_ids);
        lay_out(x, new_user, n_users, new_item);
        free(new_user);
        free(new_item);
    }
    free(used_users);
    free(used_items);
    return err;
}

/* ---- everything ---- */

/* Only what changes the result. Formats as they were found; the columns matter through what was read, and are part of
 * it. */
static uint64_t fingerprint_of(const PrepareOptions *o, const PrepareReport *report, const Base *base) {
    XXH3_state_t *state = XXH3_createState();
    if (!state)
        log_die(ERR_MEMORY, "cannot allocate a checksum");
    uint64_t facts[] = {DATAFILE_VERSION,
                        report->inputs[0].hash,
                        report->inputs[1].hash,
                        o->user_core,
                        o->item_core,
                        o->split,
                        (uint64_t)(o->split == SPLIT_BY_DAYS ? o->days : 0),
                        o->chunk,
                        o->seed,
                        report->inputs[0].format,
                        report->inputs[1].format};
    const char *columns = o->ratings.columns ? o->ratings.columns : "";
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, facts, sizeof facts);
    XXH3_64bits_update(state, columns, strlen(columns));
    if (o->base_dir)
        XXH3_64bits_update(state, &base->fingerprint, sizeof base->fingerprint);
    uint64_t hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return hash;
}

static Err prepare_data(Preparation *x) {
    const PrepareOptions *o = x->options;
    Err err = base_open(&x->base, o->base_dir);
    if (!err)
        err = read_inputs(x);
    if (!err)
        err = find_core(x);
    if (!err)
        err = settle_ids(x);
    if (err)
        return err;
    for (int d = 0; d < N_DOMAINS; d++) {
        splits_find_cuts(&x->prepared.domains[d], o->split, o->days);
        splits_make_lists(&x->prepared, d, o->split);
    }
    splits_make_chunks(&x->prepared, o->chunk);
    err = candidates_draw(&x->prepared, o->seed);
    if (!err)
        candidates_probe(&x->prepared);
    return err;
}

Err prepare_run(const PrepareOptions *options, PrepareReport *report) {
    *report = (PrepareReport){0};
    if (options->ratings.columns) {
        Err err = ratings_check_columns(options->ratings.columns);
        if (err)
            return err;
    }
    Err err = options->base_dir ? base_check_place(options->base_dir, options->out_dir) : OK;
    if (!err)
        err = outdir_check(options->out_dir, options->force);
    if (err)
        return err;
    Preparation x = {.options = options, .report = report};
    vocab_init(&x.users);
    vocab_init(&x.items);
    err = prepare_data(&x);
    if (!err) {
        DataSource source = {.options = options,
                             .report = report,
                             .prepared = &x.prepared,
                             .items = &x.items,
                             .users = &x.users,
                             .base = &x.base,
                             .fingerprint = fingerprint_of(options, report, &x.base)};
        err = outdir_write(&source);
    }
    for (int d = 0; d < N_DOMAINS; d++)
        interactions_free(&x.domains[d]);
    base_close(&x.base);
    vocab_free(&x.users);
    vocab_free(&x.items);
    prepared_free(&x.prepared);
    return err;
}
