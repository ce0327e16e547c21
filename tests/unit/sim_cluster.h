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
#include "server/scheduler/scheduler.h"
#include "server/session/session.h"
#include "tests/unit/sim_snapshot.h"
#include "tests/unit/sim_worker.h"

enum {
    SIM_SCHEDULER = 0, /* nodes: then the servers, then the workers in the order of their starts */
    SIM_MAX_SERVERS = 3,
    SIM_FIRST_WORKER = 1 + SIM_MAX_SERVERS,
    SIM_TICK_MS = 100,
    SIM_DEAD_MS = 2500,        /* more than a tick may advance a clock after a pause, with room */
    SIM_LIMIT_MS = 300 * 1000, /* by then every run has ended: deadlines are at most 60 s */
    SIM_CHUNKS = 3,
    SIM_CONTROL = 1000, /* from here on peers that only ask */
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
    int dense_push;                      /* 0: as 1 */
    int every_steps, full_every, n_asks; /* of snapshots in the middle of epochs; asked for at random moments */
    bool fails, loses;                   /* some writes and commits fail; messages of cuts are lost */
    int n_kills, n_pauses, n_joins;      /* of workers, at random moments */
    bool no_ghosts;                      /* no pushes that nobody computed */
    bool stops;                          /* the run is asked to stop at a random moment */
    int kills_node;                      /* scheduler or server; -1: none */
} SimOptions;

typedef enum SimEffectKind {
    SIM_WRITTEN,
    SIM_COMMITTED,
    SIM_RANK,
    SIM_LOADED,
    SIM_ASK,
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
    uint8_t marked[N_DOMAINS][SIM_BITMAP];     /* bits when it marked */
    uint64_t marked_t[N_DOMAINS], marked_rows; /* likewise, and the hash of all its rows */
    StoreCut *cut;
    SimRows written;
    const SessionLoad *load;
} SimServer;

/* What a run came to. */
typedef struct SimResult {
    Err code;
    char sentence[MESSAGE_TEXT];
    uint64_t rows, metrics; /* hashes of all rows with their state, and of the epochs' results */
    uint32_t n_epochs;
    uint64_t n_undone, n_repairs, n_killed, n_refused_marks, n_haunted, end_ms, n_events;
    uint64_t n_in_epochs, n_incremental, n_failed, n_lost; /* snapshots in the middle of epochs, .. */
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
    const SimSnapshot *from; /* the run was resumed from it; NULL */
    SimArchive *archive;     /* its snapshots */
    SimSnapshot committing;
    Standing standing; /* as the results of epochs say */
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
        uint64_t before = (uint64_t)(store_epoch(store) - 1) * n;
        SIM_CHECK(c, stats.t[d] == before + bitmap_count(store_begun(store, d), n));
        n_all += before + bitmap_count(bits, n); /* of steps whose dense gradients are applied */
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

/* Rules 5 and 6: what is committed is what every server had when it marked, whatever was pushed since. */
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

static inline uint64_t sim_hash_store(const SimCluster *c, int server) {
    SimRows rows = {0};
    sim_rows_of_store(&rows, sim_store(c, server), &c->schema);
    uint64_t hash = sim_rows_hash(&rows);
    free(rows.list);
    return hash;
}

static inline uint64_t sim_hash_rows(const SimCluster *c) {
    uint64_t sum = 0;
    for (int i = 0; i < c->o.servers; i++)
        sum += sim_hash_store(c, i);
    return sum;
}

#endif
