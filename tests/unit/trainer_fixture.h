/* A trainer over a small data set and a store in this process, and leases for it. */
#ifndef MANGROVE_TESTS_TRAINER_FIXTURE_H
#define MANGROVE_TESTS_TRAINER_FIXTURE_H

#include "deploy/local_client.h"
#include "tests/unit/data_fixture.h"

#include "common/log.h"
#include "common/options.h"
#include "worker/model/model.h"
#include "worker/trainer.h"

typedef struct Run {
    Config config;
    Geometry geometry;
    Schema schema;
    Store *store;
    Trainer *trainer;
    ParameterClient inner; /* the local client; what is above may refuse */
    uint64_t stop_after;   /* steps after which the lease is taken back; 0: never */
    uint64_t retry_at;     /* the pull, counted from 1, that is answered RETRY; 0: none */
    uint64_t n_pulls, n_pushes, n_flushes;
    uint32_t n_scored, *users;
    float *scores;
} Run;

/* ---- the environment ---------------------------------------------------------------------------------------- */

static inline Err run_pull_start(void *self, Exchange *x) {
    Run *r = self;
    return r->inner.pull_start(r->inner.self, x);
}

static inline Err run_pull_wait(void *self, Exchange *x) {
    Run *r = self;
    return ++r->n_pulls == r->retry_at ? ERR_RETRY : r->inner.pull_wait(r->inner.self, x);
}

static inline Err run_push(void *self, const Work *work, const uint64_t *keys, uint32_t n_keys, const real *grads,
                           size_t n_values) {
    Run *r = self;
    r->n_pushes++;
    return r->inner.push(r->inner.self, work, keys, n_keys, grads, n_values);
}

static inline Err run_flush(void *self) {
    Run *r = self;
    r->n_flushes++;
    return r->inner.flush(r->inner.self);
}

static inline bool run_stepped(void *ctx, const Assignment *a, uint64_t n_steps, uint64_t n_instances) {
    (void)a;
    (void)n_instances;
    const Run *r = ctx;
    return n_steps != r->stop_after;
}

static inline Err run_scored(void *ctx, const Assignment *a, const Scored *s) {
    (void)a;
    Run *r = ctx;
    r->users = must_realloc(r->users, (r->n_scored + s->n) * sizeof *r->users);
    r->scores = must_realloc(r->scores, (size_t)(r->n_scored + s->n) * s->n_candidates * sizeof *r->scores);
    memcpy(r->users + r->n_scored, s->users, s->n * sizeof *s->users);
    memcpy(r->scores + (size_t)r->n_scored * s->n_candidates, s->scores,
           (size_t)s->n * s->n_candidates * sizeof *s->scores);
    r->n_scored += s->n;
    return OK;
}

/* ---- life --------------------------------------------------------------------------------------------------- */

static inline Config small_config(Consistency consistency, int ranks, int batch) {
    Config c;
    config_defaults(&c);
    c.model.dim = 8;
    c.model.seq_len = 6;
    c.model.groups = 3;
    c.model.mlp = c.model.att_mlp = (Widths){.n = 2, .width = {8, 4}};
    c.train.consistency = consistency;
    c.train.ranks = ranks;
    c.train.batch = batch;
    c.train.prefetch = 0;
    c.train.seed = 5;
    c.eval.batch = 16;
    return c;
}

/* Another worker: it remembers nothing of what the one before has done. */
static inline void run_new_trainer(Run *r, const Dataset *data) {
    trainer_close(&r->trainer);
    TrainerEnv env = {.ctx = r,
                      .client = {.self = r,
                                 .pull_start = run_pull_start,
                                 .pull_wait = run_pull_wait,
                                 .push = run_push,
                                 .flush = run_flush},
                      .stepped = run_stepped,
                      .scored = run_scored};
    trainer_open(&r->trainer, data, &r->geometry, &r->config, &r->schema, model_find(r->config.model.name), &env);
}

static inline Run *run_open(const Dataset *data, const Config *config) {
    Run *r = must_calloc(1, sizeof *r);
    const DataInfo *info = dataset_info(data);
    r->config = *config;
    uint32_t ranks = config->train.consistency == CONSISTENCY_SYNC ? (uint32_t)config->train.ranks : 1;
    assert_int_equal(geometry_init(&r->geometry, info->counts[config->eval.protocol], info->n_chunks, ranks,
                                   (uint32_t)config->train.batch, (uint32_t)config->eval.batch),
                     OK);
    assert_int_equal(model_schema(&r->config, info->n_items, info->n_users, &r->schema), OK);
    assert_int_equal(store_open(&r->store, &r->schema, &r->config.optimizer, r->config.train.seed, ranks), OK);
    r->inner = local_client(r->store);
    run_new_trainer(r, data);
    return r;
}

static inline void run_close(Run *r) {
    trainer_close(&r->trainer);
    store_close(&r->store);
    geometry_free(&r->geometry);
    free(r->users);
    free(r->scores);
    free(r);
}

static inline uint32_t run_steps(const Run *r, int domain) {
    return geometry_steps(&r->geometry, domain, SPLIT_TRAIN);
}

static inline void run_open_epoch(Run *r, uint32_t epoch) {
    store_open_epoch(r->store, epoch, (uint32_t[]){run_steps(r, DOMAIN_A), run_steps(r, DOMAIN_B)});
}

/* ---- leases ------------------------------------------------------------------------------------------------- */

/* A LEASE message; bytes is its frame, if any. */
static inline Message lease_message(LeaseKind kind, uint32_t epoch, const uint32_t *words, size_t n_words) {
    Message m;
    message_init(&m, MESSAGE_LEASE);
    m.lease.lease = 1;
    m.lease.kind = kind;
    m.lease.epoch = epoch;
    if (n_words)
        message_add_bytes(&m, words, n_words * sizeof *words);
    return m;
}

/* Does what the message says, which is freed. */
static inline Err run_lease(Run *r, Message *m, TrainerResult *result) {
    Assignment a;
    Err err = assignment_decode(&a, m, &r->geometry, &r->config);
    message_free(m);
    if (!err)
        err = trainer_run(r->trainer, &a, result);
    assignment_free(&a);
    return err;
}

/* The evaluation of one (chunk, domain, split) in epoch 1. */
static inline void evaluation_of(const Run *r, uint32_t chunk, int domain, Split split, Assignment *out) {
    Message m = lease_message(LEASE_EVALUATION, 1, NULL, 0);
    m.lease.pass = 1;
    m.lease.chunk = chunk;
    m.lease.domain = (uint64_t)domain;
    m.lease.split = split;
    assert_int_equal(assignment_decode(out, &m, &r->geometry, &r->config), OK);
    message_free(&m);
}

/* Leases every part, in the epoch's order. */
static inline void train_parts(Run *r, uint32_t epoch) {
    uint32_t n = geometry_parts(&r->geometry);
    Part *order = must_alloc(n * sizeof *order);
    geometry_part_order(&r->geometry, r->config.train.seed, epoch, order);
    for (uint32_t i = 0; i < n; i++) {
        TrainerResult result;
        Message m = lease_message(LEASE_PART, epoch, NULL, 0);
        m.lease.chunk = order[i].chunk;
        m.lease.part = order[i].index;
        assert_int_equal(run_lease(r, &m, &result), OK);
        assert_true(result.is_done);
    }
    free(order);
}

static inline void train_ranks(Run *r, uint32_t epoch, const uint32_t *ranks, size_t n_ranks) {
    TrainerResult result;
    Message m = lease_message(LEASE_RANKS, epoch, ranks, n_ranks);
    assert_int_equal(run_lease(r, &m, &result), OK);
    assert_true(result.is_done);
}

static inline void assert_epoch_is_full(const Run *r) {
    for (int d = 0; d < N_DOMAINS; d++) {
        uint32_t n;
        const uint8_t *bits = store_bitmap(r->store, d, &n);
        assert_true(bitmap_is_full(bits, n));
    }
}

/* ---- rows --------------------------------------------------------------------------------------------------- */

/* Every row of a store, one behind the other, values and state. */
typedef struct Rows {
    const Store *store;
    uint64_t *keys;
    size_t n_keys, n_values;
    real *values;
} Rows;

static inline void rows_add(void *ctx, uint64_t key, const real *row) {
    Rows *rows = ctx;
    uint32_t n = store_row_reals(rows->store, key_table(key));
    rows->keys = must_realloc(rows->keys, (rows->n_keys + 1) * sizeof *rows->keys);
    rows->values = must_realloc(rows->values, (rows->n_values + n) * sizeof *rows->values);
    rows->keys[rows->n_keys++] = key;
    memcpy(rows->values + rows->n_values, row, n * sizeof *row);
    rows->n_values += n;
}

static inline Rows rows_of(const Run *r) {
    Rows rows = {.store = r->store};
    for (int table = 0; table < r->schema.n_tables; table++)
        for (uint32_t slot = 0; slot < N_SLOTS; slot++)
            store_visit(r->store, table, slot, rows_add, &rows);
    assert_true(rows.n_keys > 100);
    return rows;
}

static inline void rows_free(Rows *rows) {
    free(rows->keys);
    free(rows->values);
}

static inline bool same_rows(const Run *x, const Run *y) {
    Rows a = rows_of(x), b = rows_of(y);
    bool is_same = a.n_keys == b.n_keys && a.n_values == b.n_values &&
                   !memcmp(a.keys, b.keys, a.n_keys * sizeof *a.keys) &&
                   !memcmp(a.values, b.values, a.n_values * sizeof *a.values);
    rows_free(&a);
    rows_free(&b);
    return is_same;
}

#endif
