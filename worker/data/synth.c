/* Synthetic ratings of two domains. */
#include "worker/data/synth.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/files.h"
#include "common/log.h"
#include "common/rng.h"
#include "worker/data/input.h"

enum {
    MIN_LENGTH = 5,
    MAX_LENGTH = 4096,
    N_INTERESTS = 4,
    MAX_TRIES = 8, /* to find an item the user has not had */
    DAY = 86400,
    LAST_DAY = 17805, /* 2018-10-01 */
};

/* Shapes of the reviews of games and toys: medians 7 to 8 and 99 % below 62 to 99 events; 46 % of neighbouring events
 * share their day, other gaps have quartiles of 9 to 14 and 150 to 225 days; 10 % of the items hold 42 to 50 % of the
 * events. */
static const double LENGTH_SIGMA = 0.85, TIE_SHARE = 0.45, GAP_MEDIAN = 45, GAP_SIGMA = 1.6, TAIL_POWER = 2.5;
static const double FULL_YEARS = 13.75, YEAR_DAYS = 365.25; /* of those reviews */
static const double STAY_SHARE = 0.35, NEXT_SHARE = 0.35;   /* the rest follows an interest */

/* transfer is meant for `prepare --split days --days 200`: B then trains on some 2.7 events per item and is tested on
 * 23,000. Twice as many training events per item, and B no longer needs what A knows. */
const SynthPreset SYNTH_PRESETS[] = {
    {"transfer",
     "a dense domain A teaches a young domain B that has most of its items in common",
     {.n_users = {3500, 5000},
      .n_items = {2000, 2000},
      .median_length = {14, 6},
      .years = {13.75, 2},
      .n_topics = 50,
      .common_users = 0.3,
      .common_items = 0.95,
      .noise = 0.15,
      .seed = 1}},
    {"amazon",
     "as large as the sample of games and toys: many common users, few common items",
     {.n_users = {8900, 9200},
      .n_items = {16200, 48900},
      .median_length = {7.2, 9.7},
      .years = {13.75, 13.75},
      .n_topics = 100,
      .common_users = 0.95,
      .common_items = 0.002,
      .noise = 0.3,
      .seed = 1}},
    {"micro_video",
     "long histories, four fifths of the items in common",
     {.n_users = {4400, 3770},
      .n_items = {14800, 13200},
      .median_length = {150, 170},
      .years = {13.75, 13.75},
      .n_topics = 100,
      .common_users = 0.08,
      .common_items = 0.8,
      .noise = 0.3,
      .seed = 1}},
    {0},
};

const SynthPreset *synth_find_preset(const char *name) {
    for (const SynthPreset *p = SYNTH_PRESETS; p->name; p++)
        if (!strcmp(p->name, name))
            return p;
    return NULL;
}

static uint32_t scaled(uint32_t n, double factor) {
    double value = round(n * factor);
    return value < 1 ? 1 : value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

void synth_scale(SynthOptions *o, double factor) {
    for (int d = 0; d < N_DOMAINS; d++) {
        o->n_users[d] = scaled(o->n_users[d], factor);
        o->n_items[d] = scaled(o->n_items[d], factor);
    }
}

/* ---- the world: what both domains share ---- */

typedef struct World {
    const SynthOptions *options;
    uint32_t n_common_users, n_common_items; /* the first of each domain */
    uint32_t *successor;                     /* (n_topics) */
    uint32_t *by_rank[N_DOMAINS];            /* (n_items) of topic k first[k].., most popular first */
    uint32_t *first[N_DOMAINS];              /* (n_topics+1) */
} World;

/* `epoch` of the streams RNG_SYNTH. */
enum { STREAM_TOPICS, STREAM_INTERESTS, STREAM_EVENTS, STREAM_RANKS = STREAM_EVENTS + N_DOMAINS };

static uint32_t *identity(uint32_t n) {
    uint32_t *x = must_alloc(n * sizeof *x);
    for (uint32_t i = 0; i < n; i++)
        x[i] = i;
    return x;
}

/* One cycle through all topics in random order. */
static uint32_t *make_successors(const SynthOptions *o) {
    uint32_t *cycle = identity(o->n_topics), *successor = must_alloc(o->n_topics * sizeof *successor);
    Rng r = rng_stream(o->seed, RNG_SYNTH, STREAM_TOPICS, 0);
    rng_shuffle(&r, cycle, o->n_topics);
    for (uint32_t i = 0; i < o->n_topics; i++)
        successor[cycle[i]] = cycle[(i + 1) % o->n_topics];
    free(cycle);
    return successor;
}

/* Item i is of topic i mod n_topics in both domains, so common items keep theirs; popularity is each domain's own. */
static void rank_items(World *w, int d) {
    const SynthOptions *o = w->options;
    uint32_t at = 0;
    w->by_rank[d] = must_alloc(o->n_items[d] * sizeof(uint32_t));
    w->first[d] = must_alloc((o->n_topics + (size_t)1) * sizeof(uint32_t));
    for (uint32_t k = 0; k < o->n_topics; k++) {
        w->first[d][k] = at;
        for (uint64_t item = k; item < o->n_items[d]; item += o->n_topics)
            w->by_rank[d][at++] = (uint32_t)item;
        Rng r = rng_stream(o->seed, RNG_SYNTH, (uint32_t)(STREAM_RANKS + d), k);
        rng_shuffle(&r, w->by_rank[d] + w->first[d][k], at - w->first[d][k]);
    }
    w->first[d][o->n_topics] = at;
}

static uint32_t share_of(double share, const uint32_t n[N_DOMAINS]) {
    return (uint32_t)round(share * (n[0] < n[1] ? n[0] : n[1]));
}

static void world_init(World *w, const SynthOptions *o) {
    *w = (World){.options = o,
                 .n_common_users = share_of(o->common_users, o->n_users),
                 .n_common_items = share_of(o->common_items, o->n_items)};
    w->successor = make_successors(o);
    for (int d = 0; d < N_DOMAINS; d++)
        rank_items(w, d);
}

static void world_free(World *w) {
    free(w->successor);
    for (int d = 0; d < N_DOMAINS; d++) {
        free(w->by_rank[d]);
        free(w->first[d]);
    }
}

/* ---- a user ---- */

typedef struct User {
    Rng rng;
    int domain;
    uint32_t interests[N_INTERESTS];
    uint32_t n_events;
    uint32_t items[MAX_LENGTH];
    int64_t days[MAX_LENGTH];
} User;

/* Common users have one number in both domains, so the same interests. */
static uint64_t universal_user(const World *w, int d, uint32_t user) {
    return user < w->n_common_users ? user : (uint64_t)(d + 1) << 40 | user;
}

static void start_user(const World *w, int d, uint32_t index, User *u) {
    uint64_t user = universal_user(w, d, index);
    Rng interests = rng_stream(w->options->seed, RNG_SYNTH, STREAM_INTERESTS, user);
    for (int i = 0; i < N_INTERESTS; i++)
        u->interests[i] = rng_below(&interests, w->options->n_topics);
    u->rng = rng_stream(w->options->seed, RNG_SYNTH, (uint32_t)(STREAM_EVENTS + d), user);
    u->domain = d;
    u->n_events = 0;
}

/* The first interests are the stronger: weights 4, 3, 2, 1. */
static uint32_t draw_interest(User *u) {
    uint32_t x = rng_below(&u->rng, N_INTERESTS * (N_INTERESTS + 1) / 2), i = 0;
    for (uint32_t weight = N_INTERESTS; x >= weight; weight--, i++)
        x -= weight;
    return u->interests[i];
}

/* The topic of the next event; *topic is the topic of the last. Noise leaves it. */
static uint32_t draw_topic(const World *w, User *u, uint32_t *topic) {
    if (rng_uniform(&u->rng) < w->options->noise)
        return rng_below(&u->rng, w->options->n_topics);
    double x = rng_uniform(&u->rng);
    if (x >= STAY_SHARE + NEXT_SHARE)
        *topic = draw_interest(u);
    else if (x >= STAY_SHARE)
        *topic = w->successor[*topic];
    return *topic;
}

static bool has_item(const User *u, uint32_t item) {
    for (uint32_t i = 0; i < u->n_events; i++)
        if (u->items[i] == item)
            return true;
    return false;
}

/* An item of the topic: of n items the share q of the most popular is drawn with probability q^(1/TAIL_POWER). */
static bool draw_item(const World *w, User *u, uint32_t topic, uint32_t *item) {
    uint32_t first = w->first[u->domain][topic], n = w->first[u->domain][topic + 1] - first;
    for (int i = 0; i < MAX_TRIES && n > 0; i++) {
        uint32_t rank = (uint32_t)(n * pow(rng_uniform(&u->rng), TAIL_POWER));
        *item = w->by_rank[u->domain][first + rank];
        if (!has_item(u, *item))
            return true;
    }
    return false;
}

/* Days since 1970: a start that is more often late than early, and gaps that are pressed together where the years would
 * end before the user does. Drawn for a domain of FULL_YEARS, then shortened. */
static void draw_days(User *u, uint32_t length, double years) {
    double window = FULL_YEARS * YEAR_DAYS, start = sqrt(rng_uniform(&u->rng)) * window, span = 0;
    for (uint32_t i = 0; i < length; i++) {
        bool is_tie = rng_uniform(&u->rng) < TIE_SHARE;
        if (i > 0 && !is_tie)
            span += 1 + GAP_MEDIAN * exp(GAP_SIGMA * rng_normal(&u->rng));
        u->days[i] = (int64_t)span;
    }
    double room = window - start, press = span > room ? room / span : 1;
    for (uint32_t i = 0; i < length; i++) {
        double before_end = room - press * (double)u->days[i];
        u->days[i] = LAST_DAY - (int64_t)(before_end * (years / FULL_YEARS));
    }
}

static void draw_user(const World *w, int d, uint32_t index, User *u) {
    start_user(w, d, index, u);
    double drawn = w->options->median_length[d] * exp(LENGTH_SIGMA * rng_normal(&u->rng));
    uint32_t length = drawn < MIN_LENGTH ? MIN_LENGTH : drawn > MAX_LENGTH ? MAX_LENGTH : (uint32_t)drawn;
    uint32_t topic = draw_interest(u);
    draw_days(u, length, w->options->years[d]);
    for (uint32_t i = 0; i < length; i++) {
        uint32_t item;
        if (draw_item(w, u, draw_topic(w, u, &topic), &item))
            u->items[u->n_events++] = item;
    }
}

/* ---- writing ---- */

/* Names tell where they occur: C in both, A or B in one, D in B what would be C; items have ten characters, as ASINs.
 */
static char name_kind(const SynthOptions *o, int d, bool is_common) {
    return is_common ? (d == DOMAIN_B && o->disjoint ? 'D' : 'C') : (char)('A' + d);
}

static void write_user(const World *w, uint32_t index, const User *u, Output *out) {
    char line[96];
    const SynthOptions *o = w->options;
    char user_kind = name_kind(o, u->domain, index < w->n_common_users);
    for (uint32_t i = 0; i < u->n_events; i++) {
        char item_kind = name_kind(o, u->domain, u->items[i] < w->n_common_items);
        int n = snprintf(line, sizeof line, "u%c%u,B%c%08u,5.0,%" PRId64 "\n", user_kind, index, item_kind, u->items[i],
                         u->days[i] * DAY);
        output_write(out, line, (size_t)n);
    }
}

static Err write_domain(const World *w, int d, uint64_t *n_rows) {
    const SynthOptions *o = w->options;
    char path[PATH_MAX];
    Output *out;
    snprintf(path, sizeof path, "%s/ratings_%c.csv%s", o->out_dir, 'A' + d, o->gzip ? ".gz" : "");
    Err err = output_open(&out, path);
    if (err)
        return err;
    User *u = must_alloc(sizeof *u);
    *n_rows = 0;
    for (uint32_t i = 0; i < o->n_users[d]; i++) {
        draw_user(w, d, i, u);
        write_user(w, i, u, out);
        *n_rows += u->n_events;
    }
    free(u);
    return output_close(&out);
}

static Err check_options(const SynthOptions *o) {
    for (int d = 0; d < N_DOMAINS; d++) {
        if (!o->n_users[d] || o->n_users[d] > 100000000 || !o->n_items[d] || o->n_items[d] > 100000000)
            return err_fail(ERR_USAGE, "domain %c needs 1 to 100,000,000 users and items, not %u and %u", 'A' + d,
                            o->n_users[d], o->n_items[d]);
        if (o->n_items[d] < o->n_topics)
            return err_fail(ERR_USAGE, "domain %c has %u items for %u topics: each needs one", 'A' + d, o->n_items[d],
                            o->n_topics);
    }
    return OK;
}

Err synth_write(const SynthOptions *o, uint64_t n_rows[N_DOMAINS]) {
    Err err = check_options(o);
    if (!err)
        err = make_directories(o->out_dir);
    if (err)
        return err;
    World w;
    world_init(&w, o);
    for (int d = 0; d < N_DOMAINS && !err; d++)
        err = write_domain(&w, d, &n_rows[d]);
    world_free(&w);
    return err;
}
