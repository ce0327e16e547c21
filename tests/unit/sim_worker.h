/* A simulated worker: the product's member and remote client, with made-up gradients in place of a model. What it
 * computes is a function of the step's name and of the values that it pulled, so that stale or torn values show. */
#ifndef MANGROVE_TESTS_SIM_WORKER_H
#define MANGROVE_TESTS_SIM_WORKER_H

#include <assert.h>

#include "common/ranking.h"
#include "tests/unit/sim_network.h"
#include "tests/unit/toy_data.h"
#include "worker/member.h"
#include "worker/remote.h"

enum {
    SIM_IDS = 10,  /* of a sparse table: few, so that steps meet */
    SIM_PICKS = 3, /* rows of each sparse table that a step names */
    SIM_KEYS = 2 * SIM_PICKS + 2,
    SIM_VALUES = 2 * SIM_PICKS * TOY_WIDTH + SCHEMA_DENSE_WIDTH + SCHEMA_STATS_WIDTH,
    SIM_MAX_TICK_MS = 1000,
};

typedef enum SimStage {
    SIM_IDLE,
    SIM_START,   /* of a unit: its pull */
    SIM_PULL,    /* waits for values */
    SIM_COMPUTE, /* until wake_ms */
    SIM_PUSH,    /* waits for room, or sends scores */
    SIM_FLUSH,   /* waits for acknowledgements */
} SimStage;

typedef struct SimUnit {
    Exchange x;
    uint64_t keys[SIM_KEYS];
    float values[SIM_VALUES];
} SimUnit;

typedef struct SimWorker {
    SimNetwork *net;
    Rng *rng;
    int node;
    uint64_t now_ms, clock_ms, ticked_ms; /* clock_ms: as the worker's shell keeps it */
    uint64_t seed;
    const Schema *schema;
    Member *member;
    const Config *config;
    const Geometry *geometry;
    Remote *remote;
    int server_nodes[8]; /* of the view's servers: their endpoints are sim://NODE */
    bool is_connecting, is_ended, is_revoked;
    bool dies_after_push; /* to one server, before the next server gets its part */
    Err code;
    char sentence[MESSAGE_TEXT];
    Assignment a;
    SimStage stage;
    bool is_failed_unit; /* RETRY or STALE: the lease is given back */
    uint64_t unit, n_started, wake_ms;
    SimUnit units[2];
    TrainerResult result;
    struct {
        uint32_t first, n; /* steps of the group under way that are in the sum; 0: none */
        float sum[SCHEMA_DENSE_WIDTH];
    } groups[N_DOMAINS];
} SimWorker;

/* ---- the model ------------------------------------------------------------------------------------------------ */

static inline void sim_name_rows(SimWorker *k, const Work *w, SimUnit *u) {
    uint64_t name = (uint64_t)w->step << 24 | (uint64_t)w->rank << 8 | (uint64_t)w->split << 4 | w->domain;
    Rng r = rng_stream(k->seed, RNG_TEST, w->epoch, name);
    uint32_t n = 0;
    for (int table = 0; table < 2; table++) {
        uint32_t start = rng_below(&r, SIM_IDS);
        for (uint32_t i = 0; i < SIM_PICKS; i++)
            u->keys[n++] = key_of(table ? TOY_SHARED : w->domain, (start + 3 * i) % SIM_IDS);
    }
    u->keys[n++] = key_of(TOY_DENSE_SHARED, 0);
    u->x.keys = u->keys;
    u->x.n_keys = n;
    u->x.n_values = 2 * SIM_PICKS * TOY_WIDTH + SCHEMA_DENSE_WIDTH;
    u->x.values = u->values;
}

/* Adds the step's dense gradients; the last step of a whole group pushes it. */
static inline void sim_push_group(SimWorker *k, const Work *w, const float *grads) {
    const AssignedStep *s = &k->a.steps[k->unit / k->a.n_ranks];
    uint32_t place = s->place % (uint32_t)k->config->dense.push, d = w->domain;
    if (place == 0) {
        memset(&k->groups[d], 0, sizeof k->groups[d]);
        k->groups[d].first = s->step;
    }
    bool is_next = k->groups[d].first == s->step - place && k->groups[d].n == place;
    k->groups[d].n = is_next ? place + 1 : 0;
    for (int i = 0; i < SCHEMA_DENSE_WIDTH; i++)
        k->groups[d].sum[i] += grads[i];
    if (k->groups[d].n != s->group)
        return;
    Work group = *w;
    uint64_t key = key_of(TOY_DENSE_SHARED, 0);
    group.step = k->groups[d].first;
    group.group = s->group;
    remote_push(k->remote, &group, &key, 1, k->groups[d].sum);
}

/* The first value of the dense row is the probe: its gradient is 1 for each step, over the ranks. */
static inline void sim_push(SimWorker *k, SimUnit *u) {
    const Work *w = &u->x.work;
    float grads[SIM_VALUES] = {0}, share = 1.0F / (float)k->config->train.ranks;
    size_t n_sparse = 2 * SIM_PICKS * TOY_WIDTH;
    for (size_t i = 0; i < u->x.n_values; i++)
        grads[i] = share * (0.5F * u->values[i] + 0.01F * (float)(i + w->rank));
    grads[n_sparse] = share;
    float *sums = grads + u->x.n_values;
    sums[0] = 0.5F * share;
    sums[2] = share;
    const Tensor *loss = &k->schema->tensors[schema_find(k->schema, w->domain ? "loss.B" : "loss.A")];
    u->keys[u->x.n_keys] = key_of(TOY_STATS, loss->first_row);
    if (k->config->dense.push == 1) {
        remote_push(k->remote, w, u->keys, u->x.n_keys + 1, grads);
        return;
    }
    float dense[SCHEMA_DENSE_WIDTH];
    memcpy(dense, grads + n_sparse, sizeof dense);
    memmove(grads + n_sparse, sums, SCHEMA_STATS_WIDTH * sizeof *sums);
    u->keys[u->x.n_keys - 1] = u->keys[u->x.n_keys];
    remote_push(k->remote, w, u->keys, u->x.n_keys, grads);
    sim_push_group(k, w, dense);
}

static inline void sim_score(SimWorker *k, SimUnit *u) {
    const Work *w = &u->x.work;
    uint32_t chunk, first, n, users[8];
    float scores[8 * RANKING_CANDIDATES];
    Message m;
    geometry_step_range(k->geometry, w->domain, (Split)w->split, w->step, &chunk, &first, &n);
    assert(n <= 8);
    for (uint32_t i = 0; i < n; i++) {
        users[i] = (w->step + i) % TOY_USERS;
        for (uint32_t j = 0; j < RANKING_CANDIDATES; j++)
            scores[i * RANKING_CANDIDATES + j] = u->values[(i + j) % u->x.n_values];
    }
    Scored scored = {.work = *w, .n = n, .n_candidates = RANKING_CANDIDATES, .users = users, .scores = scores};
    assignment_write_scores(&k->a, &scored, &m);
    net_send(k->net, k->node, 0, &m, k->now_ms);
}

/* ---- the trainer, as a state machine ---------------------------------------------------------------------------- */

static inline bool sim_is_training(const SimWorker *k) {
    return k->a.kind != LEASE_EVALUATION;
}

static inline uint64_t sim_n_units(const SimWorker *k) {
    return (uint64_t)k->a.n_steps * k->a.n_ranks;
}

static inline void sim_start_unit(SimWorker *k) {
    SimUnit *u = &k->units[k->n_started % 2];
    uint32_t step = (uint32_t)(k->n_started / k->a.n_ranks), rank = (uint32_t)(k->n_started % k->a.n_ranks);
    u->x = (Exchange){.work = assignment_work(&k->a, step, rank), .order = k->a.steps[step].order};
    sim_name_rows(k, &u->x.work, u);
    remote_pull(k->remote, &u->x);
    k->n_started++;
}

static inline void sim_give_back(SimWorker *k) {
    k->is_failed_unit = true;
    k->stage = SIM_FLUSH;
    remote_abandon_pulls(k->remote);
}

static inline bool sim_pulled(SimWorker *k) {
    Err err;
    if (remote_take_pull(k->remote, &err)) {
        if (err) {
            sim_give_back(k);
            return true;
        }
        if (k->config->train.prefetch && k->n_started < sim_n_units(k) && k->n_started == k->unit + 1)
            sim_start_unit(k);
        k->wake_ms = k->now_ms + rng_below(k->rng, 12);
        k->stage = SIM_COMPUTE;
        return true;
    }
    if (k->is_revoked)
        sim_give_back(k);
    return k->is_revoked;
}

static inline bool sim_push_unit(SimWorker *k) {
    SimUnit *u = &k->units[k->unit % 2];
    if (!remote_has_room(k->remote))
        return false;
    if (!sim_is_training(k))
        sim_score(k, u);
    else if (!u->x.is_applied)
        sim_push(k, u);
    k->unit++;
    k->result.n_steps++;
    if (remote_push_result(k->remote) || (k->is_revoked && k->unit < sim_n_units(k)))
        sim_give_back(k);
    else
        k->stage = k->unit < sim_n_units(k) ? SIM_START : SIM_FLUSH;
    return true;
}

static inline bool sim_flush(SimWorker *k) {
    if (!remote_is_flushed(k->remote))
        return false;
    k->result.is_done = !k->is_failed_unit && !remote_push_result(k->remote);
    remote_clear_push_result(k->remote);
    k->stage = SIM_IDLE;
    assignment_free(&k->a);
    member_on_lease_over(k->member, OK, "", &k->result);
    return true;
}

/* One move; false: nothing to do now. */
static inline bool sim_move(SimWorker *k) {
    switch (k->stage) {
    case SIM_IDLE:
        return false;
    case SIM_START:
        if (k->unit == sim_n_units(k)) {
            k->stage = SIM_FLUSH;
            return true;
        }
        if (k->n_started == k->unit)
            sim_start_unit(k);
        k->stage = SIM_PULL;
        return true;
    case SIM_PULL:
        return sim_pulled(k);
    case SIM_COMPUTE:
        if (k->now_ms < k->wake_ms)
            return false;
        k->stage = SIM_PUSH;
        return true;
    case SIM_PUSH:
        return sim_push_unit(k);
    case SIM_FLUSH:
        return sim_flush(k);
    }
    return false;
}

/* True if any went. */
static inline bool sim_send_requests(SimWorker *k) {
    bool has_sent = false;
    uint32_t server;
    for (Message m; !k->is_ended && remote_next(k->remote, &server, &m, k->clock_ms); has_sent = true) {
        bool is_last = k->dies_after_push && m.type == MESSAGE_PUSH;
        net_send(k->net, k->node, k->server_nodes[server], &m, k->now_ms);
        if (is_last)
            net_cut(k->net, k->node, false);
    }
    return has_sent;
}

/* After every event: as the shell's pump. */
static inline void sim_pump(SimWorker *k) {
    bool has_moved = true;
    while (has_moved && k->remote && !k->is_ended) {
        const char *sentence;
        has_moved = sim_move(k);
        has_moved = sim_send_requests(k) || has_moved;
        if (k->net->is_cut[k->node])
            return;
        Err err = remote_failure(k->remote, &sentence);
        if (err) {
            member_on_failure(k->member, err, sentence);
        } else if (k->is_connecting && remote_is_connected(k->remote)) {
            k->is_connecting = false;
            member_on_connected(k->member);
        }
    }
}

/* ---- what the member wants ------------------------------------------------------------------------------------ */

static inline void sim_to_scheduler(void *ctx, Message *m) {
    SimWorker *k = ctx;
    net_send(k->net, k->node, 0, m, k->now_ms);
}

static inline Err sim_welcomed(void *ctx, const Config *config, const Geometry *geometry, const WorkerIdentity *who) {
    SimWorker *k = ctx;
    k->config = config;
    k->geometry = geometry;
    RemoteOptions o = {
        .schema = k->schema,
        .config = config_fingerprint(config),
        .job = who->job,
        .sender = who->id,
        .is_sync = config->train.consistency == CONSISTENCY_SYNC,
        .limits = {.silent_ms = (uint64_t)config->cluster.dead_ms,
                   .request_ms = (uint64_t)config->cluster.lease_s * 1000 + (uint64_t)config->cluster.dead_ms}};
    remote_open(&k->remote, &o);
    return OK;
}

static inline Err sim_viewed(void *ctx, const ClusterView *view) {
    SimWorker *k = ctx;
    assert(view->n_servers <= sizeof k->server_nodes / sizeof *k->server_nodes);
    for (uint32_t i = 0; i < view->n_servers; i++)
        k->server_nodes[i] = atoi(view->endpoints[i] + strlen("sim://"));
    remote_set_view(k->remote, view, k->clock_ms);
    k->is_connecting = true;
    return OK;
}

static inline void sim_work(void *ctx, Assignment *a) {
    SimWorker *k = ctx;
    assert(k->stage == SIM_IDLE);
    k->a = *a;
    k->stage = SIM_START;
    k->unit = k->n_started = 0;
    k->is_revoked = k->is_failed_unit = false;
    k->result = (TrainerResult){0};
}

static inline void sim_revoke(void *ctx, uint64_t lease) {
    SimWorker *k = ctx;
    k->is_revoked = k->is_revoked || (k->stage != SIM_IDLE && lease == k->a.lease);
}

static inline MemberStats sim_stats(void *ctx) {
    return (MemberStats){.n_steps = ((SimWorker *)ctx)->result.n_steps};
}

static inline void sim_finished(void *ctx, Err code, const char *sentence) {
    SimWorker *k = ctx;
    k->is_ended = true;
    k->code = code;
    snprintf(k->sentence, sizeof k->sentence, "%s", sentence);
}

/* ---- opening and closing -------------------------------------------------------------------------------------- */

static inline SimWorker *sim_worker_open(SimNetwork *net, Rng *rng, int node, const Schema *schema, uint64_t seed,
                                         const DataInfo *info, const char *manifest, uint64_t now_ms) {
    SimWorker *k = must_calloc(1, sizeof *k);
    *k = (SimWorker){.net = net, .rng = rng, .node = node, .schema = schema, .seed = seed, .now_ms = now_ms};
    k->clock_ms = k->ticked_ms = now_ms;
    MemberEnv env = {k, sim_to_scheduler, sim_welcomed, sim_viewed, sim_work, sim_revoke, sim_stats, sim_finished};
    member_open(&k->member, info, manifest, "sim", &env, k->clock_ms);
    return k;
}

static inline void sim_worker_close(SimWorker *k) {
    assignment_free(&k->a);
    if (k->remote)
        remote_close(&k->remote);
    member_close(&k->member);
    free(k);
}

static inline void sim_worker_receive(SimWorker *k, int from, Message *m, uint64_t now_ms) {
    k->now_ms = now_ms;
    if (from == 0)
        member_on_message(k->member, m, k->clock_ms);
    for (uint32_t i = 0; k->remote && i < sizeof k->server_nodes / sizeof *k->server_nodes; i++)
        if (from != 0 && k->server_nodes[i] == from)
            remote_on_message(k->remote, i, m, k->clock_ms);
    sim_pump(k);
}

static inline void sim_worker_tick(SimWorker *k, uint64_t now_ms) {
    uint64_t gap = now_ms - k->ticked_ms;
    k->now_ms = k->ticked_ms = now_ms;
    k->clock_ms += gap < SIM_MAX_TICK_MS ? gap : SIM_MAX_TICK_MS;
    if (k->remote)
        remote_on_tick(k->remote, k->clock_ms);
    member_on_tick(k->member, k->clock_ms);
    sim_pump(k);
}

static inline void sim_worker_wake(SimWorker *k, uint64_t now_ms) {
    k->now_ms = now_ms;
    sim_pump(k);
}

#endif
