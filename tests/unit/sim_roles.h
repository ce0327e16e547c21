/* The worlds of a simulated scheduler and of simulated servers: what they send, write, commit and load. */
#ifndef MANGROVE_TESTS_SIM_ROLES_H
#define MANGROVE_TESTS_SIM_ROLES_H

#include "tests/unit/sim_cluster.h"

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
    bool is_grouped = c->o.dense_push > 1;
    bits = is_grouped ? store_begun(store, domain) : bits;
    while (step < n && bitmap_get(bits, step))
        step++;
    if (step == n)
        return NULL;
    const Tensor *loss = &c->schema.tensors[schema_find(&c->schema, domain ? "loss.B" : "loss.A")];
    const uint64_t rows[] = {key_of(TOY_DENSE_SHARED, 0), key_of(TOY_STATS, loss->first_row)};
    const float grads[2][SCHEMA_DENSE_WIDTH] = {{1}, {0.5F, 0, 1}};
    uint64_t keys[2];
    float values[2 * SCHEMA_DENSE_WIDTH];
    for (int i = is_grouped; i < 2; i++) /* without the dense row: the step's group lacks */
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
    if (slot == SIM_MAX_GHOSTS || c->o.no_ghosts || c->o.ranks || rng_below(&c->rng, 3))
        return;
    if ((c->ghosts[slot] = sim_make_push(c, server, (int)rng_below(&c->rng, N_DOMAINS)))) {
        c->ghosts[slot]->job = job;
        sim_effect(c, rng_below(&c->rng, 12), SIM_HAUNT, 1 + server, NULL);
        c->effects[c->n_effects - 1].ghost = slot;
    }
}

/* Of what is asked again until it is answered some is lost. */
static inline bool sim_loses(SimCluster *c, const Message *m) {
    bool is_lost = c->o.loses && m->type >= MESSAGE_REPORT_ASK && m->type <= MESSAGE_RESUME && !rng_below(&c->rng, 8);
    c->result.n_lost += is_lost;
    return is_lost;
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
    if (peer >= SIM_INCARNATION + SIM_CONTROL || sim_loses(c, m))
        message_free(m);
    else
        net_send(&c->net, SIM_SCHEDULER, (int)(peer - SIM_INCARNATION), m, c->now_ms);
}

/* Base and servers' parts together are the rows that all servers had when they marked. */
static inline void sim_merge_parts(SimCluster *c, const SnapshotFacts *f, SimRows *rows) {
    uint64_t want = 0;
    if (f->base_cut) {
        const SimSnapshot *base = sim_find_cut(c->archive, f->base_cut);
        SIM_CHECK(c, base && !base->base && !strcmp(base->dir, f->base_dir));
        sim_rows_put_all(rows, &base->rows);
    }
    for (int i = 0; i < c->o.servers; i++) {
        want += c->servers[i].marked_rows;
        sim_rows_put_all(rows, &c->servers[i].written);
    }
    SIM_CHECK(c, sim_rows_hash(rows) == want);
}

static inline void sim_commit(void *ctx, const SnapshotFacts *f) {
    SimCluster *c = ctx;
    SimSnapshot *s = &c->committing;
    *s = (SimSnapshot){.cut = f->cut,
                       .base = f->base_cut,
                       .epoch = f->epoch,
                       .is_epoch_end = f->is_epoch_end,
                       .standing = f->standing,
                       .metrics = c->result.metrics};
    sim_check_commit(c, f);
    sim_merge_parts(c, f, &s->rows);
    snprintf(s->dir, sizeof s->dir, "%s", f->dir);
    for (int d = 0; d < N_DOMAINS; d++) {
        s->t[d] = f->t[d];
        s->n_steps[d] = f->n_steps[d];
        memcpy(s->bitmaps[d], f->bitmaps[d], bitmap_bytes(f->n_steps[d]));
        SIM_CHECK(c, f->standing.best_wauc[d] == c->standing.best_wauc[d]);
        SIM_CHECK(c, f->standing.stale[d] == c->standing.stale[d]);
    }
    sim_effect(c, rng_below(&c->rng, 50), SIM_COMMITTED, SIM_SCHEDULER, NULL);
}

static inline void sim_committed(SimCluster *c) {
    SimSnapshot *s = &c->committing;
    bool is_failed = c->o.fails && !rng_below(&c->rng, 6);
    if (is_failed) {
        free(s->rows.list);
        c->result.n_failed++;
    } else {
        SIM_CHECK(c, c->archive->n < SIM_MAX_SNAPSHOTS);
        c->archive->list[c->archive->n++] = *s;
        c->result.n_in_epochs += !s->is_epoch_end;
        c->result.n_incremental += s->base != 0;
    }
    s->rows = (SimRows){0};
    scheduler_on_committed(c->scheduler, is_failed ? err_fail(ERR_IO, "no room") : OK, c->now_ms);
}

static inline void sim_rank(void *ctx, const RankJob *job) {
    SimCluster *c = ctx;
    sim_effect(c, rng_below(&c->rng, 20), SIM_RANK, SIM_SCHEDULER, job);
}

/* evaluation.json */
static inline void sim_note_standing(SimCluster *c, const EpochResult *r, const char *dir) {
    for (int d = 0; d < N_DOMAINS; d++) {
        if (r->is_best[d])
            c->standing.best_wauc[d] = r->metrics[d][SPLIT_VALID].wauc;
        c->standing.best_epoch[d] = r->best_epoch[d];
        c->standing.stale[d] = r->stale[d];
    }
    for (int i = 0; dir && i < c->archive->n; i++) {
        SimSnapshot *s = &c->archive->list[i];
        if (strcmp(s->dir, dir))
            continue;
        s->is_evaluated = true;
        s->standing = c->standing;
        s->metrics = c->result.metrics;
    }
}

static inline void sim_epoch_done(void *ctx, const EpochResult *r, const char *dir) {
    SimCluster *c = ctx;
    uint64_t h = c->result.metrics;
    SIM_CHECK(c, r->epoch == ++c->result.n_epochs);
    SIM_CHECK(c, c->o.fails || !dir == !c->o.has_snapshots);
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
    sim_note_standing(c, r, dir);
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
    if (sim_loses(n->c, m))
        message_free(m);
    else
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
    s->marked_rows = sim_hash_store(n->c, n->server);
    s->cut = cut;
    sim_effect(n->c, rng_below(&n->c->rng, 60), SIM_WRITTEN, 1 + n->server, NULL);
}

static inline void sim_written(SimCluster *c, int server) {
    SimServer *s = &c->servers[server];
    bool is_failed = c->o.fails && !rng_below(&c->rng, 10);
    sim_check_store(c, server);
    if (is_failed)
        c->result.n_failed++;
    else
        sim_rows_of_cut(&s->written, s->cut, &c->schema);
    s->cut = NULL;
    session_on_written(s->session, is_failed ? err_fail(ERR_IO, "no room") : OK, is_failed ? NULL : "[]", c->now_ms);
}

static inline void sim_load(void *ctx, const SessionLoad *load) {
    SimServerNode *n = ctx;
    SIM_CHECK(n->c, n->c->from && !strcmp(load->dir, n->c->from->dir) && load->how.restore == RESTORE_RESUME);
    n->c->servers[n->server].load = load;
    sim_effect(n->c, rng_below(&n->c->rng, 3000), SIM_LOADED, 1 + n->server, NULL);
}

static inline void sim_loaded(SimCluster *c, int server) {
    SimServer *s = &c->servers[server];
    session_on_loaded(s->session, OK, sim_restore(c->from, s->load, c->o.servers, c->config.train.seed), c->now_ms);
}

static inline void sim_session_over(void *ctx, Err code, const char *sentence) {
    SimServerNode *n = ctx;
    (void)sentence;
    n->c->servers[n->server].is_ended = true;
    n->c->servers[n->server].code = code;
}

#endif
