/* A whole cluster in one thread: the product's scheduler, sessions with their stores, and simulated workers, on a
 * simulated network and clock. Everything random comes from the seed. What must hold is checked as it happens. */
#ifndef MANGROVE_TESTS_SIM_CLUSTER_H
#define MANGROVE_TESTS_SIM_CLUSTER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/options.h"
#include "server/scheduler.h"
#include "server/session.h"
#include "tests/unit/sim_worker.h"

enum {
    SIM_SCHEDULER = 0, /* nodes: then the servers, then the workers in the order of their starts */
    SIM_MAX_SERVERS = 3,
    SIM_FIRST_WORKER = 1 + SIM_MAX_SERVERS,
    SIM_TICK_MS = 100,
    SIM_DEAD_MS = 2500,        /* more than a tick may advance a clock after a pause, with room */
    SIM_LIMIT_MS = 300 * 1000, /* by then every run has ended: deadlines are at most 60 s */
    SIM_CHUNKS = 3,
    SIM_BITMAP = 16,
    SIM_MAX_EFFECTS = 64,
    SIM_GHOST = SIM_MAX_NODES - 1, /* the node that sends what others sent, again: see sim_haunt */
    SIM_MAX_GHOSTS = 16,
};

/* Instances of each chunk, and so the steps of a batch of 2: A 3, B 2; in sync with R ranks fewer. */
static const uint32_t SIM_COUNTS[N_DOMAINS][N_SPLITS] = {{6, 3, 2}, {3, 2, 1}};

typedef struct SimOptions {
    uint64_t seed;
    int ranks; /* 0: async */
    int servers, workers, prefetch, epochs;
    bool has_snapshots;
    int n_kills, n_pauses, n_joins; /* of workers, at random moments */
    bool stops;                     /* the run is asked to stop at a random moment */
    int kills_node;                 /* scheduler or server; -1: none */
} SimOptions;

typedef enum SimEffectKind {
    SIM_WRITTEN,
    SIM_COMMITTED,
    SIM_RANK,
    SIM_KILL,
    SIM_PAUSE,
    SIM_JOIN,
    SIM_STOP,
    SIM_DIE,
    SIM_HAUNT
} SimEffectKind;

typedef struct SimEffect {
    uint64_t due_ms;
    SimEffectKind kind;
    int node;
    const RankJob *job;
    int ghost;
} SimEffect;

typedef struct SimServer {
    Session *session;
    bool is_ended;
    Err code;
    uint8_t marked[N_DOMAINS][SIM_BITMAP]; /* bits when its files were written */
    uint64_t marked_t[N_DOMAINS];
} SimServer;

/* What a run came to. */
typedef struct SimResult {
    Err code;
    char sentence[MESSAGE_TEXT];
    uint64_t rows, metrics; /* hashes of all rows with their state, and of the epochs' results */
    uint32_t n_epochs;
    uint64_t n_undone, n_repairs, n_killed, n_refused_marks, n_haunted, end_ms, n_events;
} SimResult;

typedef struct SimCluster {
    SimOptions o;
    Rng rng;
    SimNetwork net;
    uint64_t now_ms;
    Config config;
    Schema schema;
    DataInfo info;
    char manifest[TOY_MANIFEST_BYTES];
    char *config_text;
    uint32_t n_steps[N_DOMAINS];
    Scheduler *scheduler;
    bool has_begun, is_over; /* an epoch has been opened; the scheduler has finished */
    SimServer servers[SIM_MAX_SERVERS];
    SimWorker *workers[SIM_MAX_NODES]; /* by node */
    int n_nodes;
    uint64_t tick_ms[SIM_MAX_NODES], paused_ms[SIM_MAX_NODES];
    SimEffect effects[SIM_MAX_EFFECTS];
    Message *ghosts[SIM_MAX_GHOSTS]; /* copies of pushes that will be sent again; NULL: free */
    int n_effects;
    SimResult result;
} SimCluster;

#define SIM_CHECK(c, condition)                                                                                        \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            fail_msg("seed %llu, ranks %d, servers %d, workers %d, at %llu ms: %s does not hold",                      \
                     (unsigned long long)(c)->o.seed, (c)->o.ranks, (c)->o.servers, (c)->o.workers,                    \
                     (unsigned long long)(c)->now_ms, #condition);                                                     \
    } while (0)

static inline void sim_effect(SimCluster *c, uint64_t delay_ms, SimEffectKind kind, int node, const RankJob *job) {
    SIM_CHECK(c, c->n_effects < SIM_MAX_EFFECTS);
    c->effects[c->n_effects++] = (SimEffect){.due_ms = c->now_ms + delay_ms, .kind = kind, .node = node, .job = job};
}

static inline uint64_t sim_mix(uint64_t hash, const void *data, size_t size) {
    for (const uint8_t *p = data; size--; p++)
        hash = (hash ^ *p) * 0x100000001B3u; /* FNV-1a */
    return hash;
}

/* ---- what must hold ------------------------------------------------------------------------------------------- */

static inline const Store *sim_store(const SimCluster *c, int server) {
    return session_store(c->servers[server].session);
}

static inline bool sim_is_full(const Store *store) {
    bool is_full = true;
    for (int d = 0; d < N_DOMAINS; d++) {
        uint32_t n = 0;
        const uint8_t *bits = store_bitmap(store, d, &n);
        is_full = is_full && bitmap_is_full(bits, n);
    }
    return is_full;
}

/* Every step was applied exactly once: t counts the bits of all epochs, and the probe has moved by lr for each. */
static inline void sim_check_store(SimCluster *c, int server) {
    const Store *store = sim_store(c, server);
    uint64_t n_all = 0, probe = key_of(TOY_DENSE_SHARED, 0);
    if (!store || !store_epoch(store))
        return;
    StoreStats stats = store_stats(store);
    for (int d = 0; d < N_DOMAINS; d++) {
        uint32_t n = 0;
        const uint8_t *bits = store_bitmap(store, d, &n);
        SIM_CHECK(c, n == c->n_steps[d]);
        SIM_CHECK(c, stats.t[d] == (uint64_t)(store_epoch(store) - 1) * n + bitmap_count(bits, n));
        n_all += stats.t[d];
    }
    if ((int)key_slot(probe) % c->o.servers == session_rank(c->servers[server].session)) {
        float row[SCHEMA_DENSE_WIDTH];
        store_pull(store, &probe, 1, row);
        SIM_CHECK(c, row[0] == -(float)(c->config.optimizer.lr * (double)n_all)); /* lr is a power of two: exact */
    }
}

/* Rule 10: nobody is told to open an epoch before all have the one before whole. */
static inline void sim_check_open(SimCluster *c, uint64_t epoch) {
    for (int i = 0; i < c->o.servers; i++) {
        const Store *store = sim_store(c, i);
        SIM_CHECK(c,
                  epoch == 1 || store_epoch(store) == epoch || (store_epoch(store) == epoch - 1 && sim_is_full(store)));
    }
}

/* Rules 5 and 6: what is committed is what every server had when it wrote. */
static inline void sim_check_commit(SimCluster *c, const SnapshotFacts *f) {
    SIM_CHECK(c, f->n_servers == (uint32_t)c->o.servers);
    for (int d = 0; d < N_DOMAINS; d++) {
        SIM_CHECK(c, f->n_steps[d] == c->n_steps[d]);
        SIM_CHECK(c, !f->is_epoch_end || bitmap_is_full(f->bitmaps[d], f->n_steps[d]));
        for (int i = 0; i < c->o.servers; i++) {
            SIM_CHECK(c, !memcmp(c->servers[i].marked[d], f->bitmaps[d], bitmap_bytes(f->n_steps[d])));
            SIM_CHECK(c, c->servers[i].marked_t[d] == f->t[d]);
        }
    }
}

typedef struct SimHash {
    uint64_t sum;
    size_t row_bytes;
} SimHash;

static inline void sim_hash_row(void *ctx, uint64_t key, const real *row) {
    SimHash *h = ctx;
    h->sum += sim_mix(sim_mix(0xCBF29CE484222325u, &key, sizeof key), row, h->row_bytes);
}

/* The order of servers and slots does not matter. */
static inline uint64_t sim_hash_rows(const SimCluster *c) {
    SimHash h = {0};
    for (int i = 0; i < c->o.servers; i++)
        for (int table = 0; sim_store(c, i) && table < c->schema.n_tables; table++) {
            h.row_bytes = store_row_reals(sim_store(c, i), table) * sizeof(real);
            for (uint32_t slot = 0; slot < N_SLOTS; slot++)
                store_visit(sim_store(c, i), table, slot, sim_hash_row, &h);
        }
    return h.sum;
}

/* ---- the scheduler's world -------------------------------------------------------------------------------------- */

static inline Err sim_schema(void *ctx, const Config *config, const DataInfo *data, Schema *out) {
    (void)ctx, (void)config, (void)data;
    toy_tables(out);
    return OK;
}

/* A push, as small as it may be, of a step that this server lacks; NULL: it lacks none. */
static inline Message *sim_make_push(const SimCluster *c, int server, int domain) {
    const Store *store = sim_store(c, server);
    uint32_t n, step = 0, n_keys = 0;
    const uint8_t *bits = store_bitmap(store, domain, &n);
    while (step < n && bitmap_get(bits, step))
        step++;
    if (step == n)
        return NULL;
    const Tensor *loss = &c->schema.tensors[schema_find(&c->schema, domain ? "loss.B" : "loss.A")];
    const uint64_t rows[] = {key_of(TOY_DENSE_SHARED, 0), key_of(TOY_STATS, loss->first_row)};
    const float grads[2][SCHEMA_DENSE_WIDTH] = {{1}, {0.5F, 0, 1}};
    uint64_t keys[2];
    float values[2 * SCHEMA_DENSE_WIDTH];
    for (int i = 0; i < 2; i++)
        if ((int)key_slot(rows[i]) % c->o.servers == session_rank(c->servers[server].session)) {
            memcpy(values + n_keys * SCHEMA_DENSE_WIDTH, grads[i], sizeof grads[i]);
            keys[n_keys++] = rows[i];
        }
    Message *m = must_alloc(sizeof *m);
    message_init(m, MESSAGE_PUSH);
    m->push = (MessagePUSH){
        .epoch = store_epoch(store), .domain = (uint64_t)domain, .step = step, .map = 1, .n_keys = n_keys};
    if (n_keys) {
        message_add_bytes(m, keys, n_keys * sizeof *keys);
        message_add_bytes(m, values, n_keys * SCHEMA_DENSE_WIDTH * sizeof *values);
    }
    return m;
}

/* A cut is where late pushes can do harm: one comes to one server when all have reported, before it marks, or after. */
static inline void sim_haunt_cut(SimCluster *c, uint32_t job) {
    int slot = 0, server = (int)rng_below(&c->rng, (uint32_t)c->o.servers);
    while (slot < SIM_MAX_GHOSTS && c->ghosts[slot])
        slot++;
    if (slot == SIM_MAX_GHOSTS || c->o.ranks || rng_below(&c->rng, 3))
        return;
    if ((c->ghosts[slot] = sim_make_push(c, server, (int)rng_below(&c->rng, N_DOMAINS)))) {
        c->ghosts[slot]->job = job;
        sim_effect(c, rng_below(&c->rng, 12), SIM_HAUNT, 1 + server, NULL);
        c->effects[c->n_effects - 1].ghost = slot;
    }
}

static inline void sim_scheduler_send(void *ctx, uint64_t peer, Message *m) {
    SimCluster *c = ctx;
    if (m->type == MESSAGE_EPOCH_OPEN) {
        c->has_begun = true;
        sim_check_open(c, m->epoch_open.epoch);
    }
    if (m->type == MESSAGE_MARK)
        sim_haunt_cut(c, m->job);
    c->result.n_repairs += m->type == MESSAGE_LEASE && m->lease.kind == LEASE_STEPS;
    net_send(&c->net, SIM_SCHEDULER, (int)(peer - SIM_INCARNATION), m, c->now_ms);
}

static inline void sim_commit(void *ctx, const SnapshotFacts *facts) {
    SimCluster *c = ctx;
    sim_check_commit(c, facts);
    sim_effect(c, rng_below(&c->rng, 50), SIM_COMMITTED, SIM_SCHEDULER, NULL);
}

static inline void sim_rank(void *ctx, const RankJob *job) {
    SimCluster *c = ctx;
    sim_effect(c, rng_below(&c->rng, 20), SIM_RANK, SIM_SCHEDULER, job);
}

static inline void sim_epoch_done(void *ctx, const EpochResult *r, const char *dir) {
    SimCluster *c = ctx;
    uint64_t h = c->result.metrics;
    SIM_CHECK(c, r->epoch == ++c->result.n_epochs);
    SIM_CHECK(c, !dir == !c->o.has_snapshots);
    for (int d = 0; d < N_DOMAINS; d++) {
        SIM_CHECK(c, r->data_loss[d] == 0.5); /* of every step, counted once */
        SIM_CHECK(c, r->is_scored[d][SPLIT_VALID]);
        for (int split = SPLIT_VALID; split < N_SPLITS; split++) {
            if (!r->is_scored[d][split])
                continue;
            SIM_CHECK(c, r->metrics[d][split].n == SIM_CHUNKS * SIM_COUNTS[d][split]);
            h = sim_mix(h, &r->metrics[d][split].auc, sizeof(double));
            h = sim_mix(h, &r->metrics[d][split].logloss, sizeof(double));
        }
    }
    c->result.metrics = h;
}

static inline void sim_progress(void *ctx, const SchedulerProgress *p) {
    (void)ctx, (void)p;
}

static inline void sim_over(void *ctx, Err code, const char *sentence) {
    SimCluster *c = ctx;
    SIM_CHECK(c, !c->is_over);
    c->is_over = true;
    c->result.code = code;
    snprintf(c->result.sentence, sizeof c->result.sentence, "%s", sentence);
}

/* ---- a server's world ------------------------------------------------------------------------------------------- */

/* Of which a session's environment is told. */
typedef struct SimServerNode {
    SimCluster *c;
    int server;
} SimServerNode;

static inline void sim_session_send(void *ctx, uint64_t peer, Message *m) {
    SimServerNode *n = ctx;
    int to = peer == PEER_SCHEDULER ? SIM_SCHEDULER : (int)(peer - SIM_INCARNATION);
    SIM_CHECK(n->c, m->type != MESSAGE_REFUSE);
    n->c->result.n_refused_marks += m->type == MESSAGE_MARKED && !m->marked.is_ok;
    net_send(&n->c->net, 1 + n->server, to, m, n->c->now_ms);
}

static inline void sim_write(void *ctx, StoreCut *cut, const Schema *schema, uint32_t rank, const char *dir) {
    SimServerNode *n = ctx;
    SimServer *s = &n->c->servers[n->server];
    (void)schema, (void)rank;
    const Store *store = store_cut_store(cut);
    SIM_CHECK(n->c, dir[0]);
    sim_check_store(n->c, n->server);
    for (int d = 0; d < N_DOMAINS; d++) {
        uint32_t n_bits = 0;
        const uint8_t *bits = store_bitmap(store, d, &n_bits);
        memcpy(s->marked[d], bits, bitmap_bytes(n_bits));
        s->marked_t[d] = store_stats(store).t[d];
    }
    sim_effect(n->c, rng_below(&n->c->rng, 60), SIM_WRITTEN, 1 + n->server, NULL);
}

static inline void sim_session_over(void *ctx, Err code, const char *sentence) {
    SimServerNode *n = ctx;
    (void)sentence;
    n->c->servers[n->server].is_ended = true;
    n->c->servers[n->server].code = code;
}

#endif
