/* The run of a simulated cluster: opening, events in the order of their times, faults, closing. */
#ifndef MANGROVE_TESTS_SIM_RUN_H
#define MANGROVE_TESTS_SIM_RUN_H

#include "tests/unit/sim_effects.h"

/* ---- time ------------------------------------------------------------------------------------------------------- */

typedef struct SimNext {
    uint64_t due_ms;
    enum { NEXT_NOTHING, NEXT_MESSAGE, NEXT_TICK, NEXT_WAKE, NEXT_EFFECT } kind;
    int from, node; /* effect: its index in node */
} SimNext;

static inline void sim_consider(SimCluster *c, SimNext *best, uint64_t due_ms, SimNext next, int node) {
    next.due_ms = due_ms < c->paused_ms[node] ? c->paused_ms[node] : due_ms;
    if (next.due_ms < best->due_ms || (next.due_ms == best->due_ms && rng_below(&c->rng, 2)))
        *best = next;
}

/* Of what happens at the same time any may be first, but for two messages of one pipe. */
static inline SimNext sim_next(SimCluster *c) {
    SimNext best = {.due_ms = SIM_NEVER - 1};
    for (int node = 0; node < c->n_nodes; node++) {
        if (!sim_is_alive(c, node))
            continue;
        for (int from = 0; from < c->n_nodes; from++)
            if (c->net.pipes[from][node].first)
                sim_consider(c, &best, net_due_ms(&c->net, from, node),
                             (SimNext){.kind = NEXT_MESSAGE, .from = from, .node = node}, node);
        sim_consider(c, &best, c->tick_ms[node], (SimNext){.kind = NEXT_TICK, .node = node}, node);
        if (c->workers[node] && c->workers[node]->stage == SIM_COMPUTE)
            sim_consider(c, &best, c->workers[node]->wake_ms, (SimNext){.kind = NEXT_WAKE, .node = node}, node);
    }
    for (int i = 0; i < c->n_effects; i++)
        if (c->effects[i].due_ms < best.due_ms)
            best = (SimNext){.due_ms = c->effects[i].due_ms, .kind = NEXT_EFFECT, .node = i};
    return best;
}

static inline void sim_deliver(SimCluster *c, int from, int node) {
    Flight *f = net_take(&c->net, from, node);
    uint64_t peer = (uint64_t)(SIM_INCARNATION + from);
    if (node == SIM_SCHEDULER)
        scheduler_on_message(c->scheduler, peer, &f->m, c->now_ms);
    else if (!sim_is_server(node))
        sim_worker_receive(c->workers[node], from, &f->m, c->now_ms);
    else if (from == SIM_SCHEDULER)
        session_on_scheduler(c->servers[node - 1].session, &f->m, c->now_ms);
    else {
        if (f->m.type == MESSAGE_PUSH)
            sim_copy_push(c, node, &f->m, 20);
        session_on_worker(c->servers[node - 1].session, peer, &f->m, c->now_ms);
    }
    net_recycle(&c->net, f);
}

static inline void sim_tick(SimCluster *c, int node) {
    c->tick_ms[node] = c->now_ms + SIM_TICK_MS;
    if (node == SIM_SCHEDULER)
        scheduler_on_tick(c->scheduler, c->now_ms);
    else if (sim_is_server(node))
        session_on_tick(c->servers[node - 1].session, c->now_ms);
    else
        sim_worker_tick(c->workers[node], c->now_ms);
}

static inline bool sim_anybody_alive(const SimCluster *c) {
    for (int node = 0; node < c->n_nodes; node++)
        if (sim_is_alive(c, node))
            return true;
    return false;
}

static inline void sim_loop(SimCluster *c) {
    while (sim_anybody_alive(c)) {
        SimNext next = sim_next(c);
        c->now_ms = next.due_ms > c->now_ms ? next.due_ms : c->now_ms;
        c->result.n_events++;
        SIM_CHECK(c, c->now_ms < SIM_LIMIT_MS); /* liveness */
        sim_replace_last(c);
        if (next.kind == NEXT_EFFECT) {
            SimEffect e = c->effects[next.node];
            c->effects[next.node] = c->effects[--c->n_effects];
            sim_happen(c, &e);
        } else if (next.kind == NEXT_MESSAGE)
            sim_deliver(c, next.from, next.node);
        else if (next.kind == NEXT_TICK)
            sim_tick(c, next.node);
        else
            sim_worker_wake(c->workers[next.node], c->now_ms);
    }
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

static inline void sim_configure(SimCluster *c) {
    const SimOptions *o = &c->o;
    Config *f = &c->config;
    config_defaults(f);
    f->optimizer.kind = OPTIMIZER_SGD;
    f->optimizer.lr = 1.0 / 64;
    f->optimizer.l2 = 0;
    f->train.consistency = o->ranks ? CONSISTENCY_SYNC : CONSISTENCY_ASYNC;
    f->train.ranks = o->ranks ? o->ranks : 1;
    f->train.prefetch = o->prefetch;
    f->dense.push = o->dense_push ? o->dense_push : 1;
    f->train.batch = 2;
    f->train.epochs = o->epochs;
    f->train.patience = o->epochs;
    f->eval.batch = 2;
    f->cluster.servers = o->servers;
    f->cluster.workers = o->workers;
    f->cluster.heartbeat_ms = 200;
    f->cluster.dead_ms = SIM_DEAD_MS;
    f->cluster.lease_s = 4;
    f->snapshot.enabled = o->has_snapshots;
    f->snapshot.every_steps = o->every_steps;
    f->snapshot.full_every = o->full_every ? o->full_every : 1;
    c->config_text = config_text(f);
    toy_tables(&c->schema);
    size_t size = toy_manifest(c->manifest, SIM_CHUNKS, SIM_COUNTS);
    assert_int_equal(datainfo_parse(&c->info, c->manifest, size), OK);
    Geometry g;
    assert_int_equal(geometry_init(&g, c->info.counts[0], SIM_CHUNKS, (uint32_t)f->train.ranks, 2, 2), OK);
    for (int d = 0; d < N_DOMAINS; d++)
        c->n_steps[d] = geometry_steps(&g, d, SPLIT_TRAIN);
    geometry_free(&g);
}

static inline void sim_plan_faults(SimCluster *c) {
    const SimOptions *o = &c->o;
    uint32_t span_ms = 200 + rng_below(&c->rng, 3000);
    const struct {
        int n;
        SimEffectKind kind;
    } PLAN[] = {{o->n_kills, SIM_KILL}, {o->n_pauses, SIM_PAUSE}, {o->n_joins, SIM_JOIN}};
    for (size_t i = 0; i < sizeof PLAN / sizeof *PLAN; i++)
        for (int j = 0; j < PLAN[i].n; j++)
            sim_effect(c, rng_below(&c->rng, span_ms), PLAN[i].kind, 0, NULL);
    for (int i = 0; i < o->n_asks; i++)
        sim_effect(c, rng_below(&c->rng, span_ms), SIM_ASK, i, NULL);
    if (o->stops) /* every other one while the roles are still joining, or have just */
        sim_effect(c, rng_below(&c->rng, rng_below(&c->rng, 2) ? span_ms : 400), SIM_STOP, 0, NULL);
    if (o->kills_node >= 0)
        sim_effect(c, rng_below(&c->rng, span_ms), SIM_DIE, o->kills_node, NULL);
}

static inline void sim_open(SimCluster *c, SimServerNode *nodes) {
    SchedulerEnv env = {.ctx = c,
                        .outbox = {c, sim_scheduler_send},
                        .schema = sim_schema,
                        .commit = sim_commit,
                        .rank = sim_rank,
                        .epoch_done = sim_epoch_done,
                        .progress = sim_progress,
                        .finished = sim_over};
    SchedulerStart start = c->from ? sim_start_from(c->from, c->config.train.seed) : (SchedulerStart){0};
    assert_int_equal(scheduler_open(&c->scheduler, &c->config, c->config_text, SIM_INCARNATION + SIM_SCHEDULER, &env,
                                    c->from ? &start : NULL, c->now_ms),
                     OK);
    for (int i = 0; i < c->o.servers; i++) {
        char endpoint[32];
        snprintf(endpoint, sizeof endpoint, "sim://%d", 1 + i);
        nodes[i] = (SimServerNode){c, i};
        SessionEnv e = {.ctx = &nodes[i],
                        .outbox = {&nodes[i], sim_session_send},
                        .schema = sim_schema,
                        .load = sim_load,
                        .write = sim_write,
                        .finished = sim_session_over};
        uint64_t incarnation = (uint64_t)(SIM_INCARNATION + 1 + i);
        assert_int_equal(session_open(&c->servers[i].session, incarnation, endpoint, &e, c->now_ms), OK);
    }
    for (int node = 0; node < SIM_FIRST_WORKER; node++)
        c->tick_ms[node] = c->now_ms + rng_below(&c->rng, SIM_TICK_MS);
    for (int i = 0; i < c->o.workers; i++)
        sim_effect(c, rng_below(&c->rng, 300), SIM_JOIN, 0, NULL);
    sim_plan_faults(c);
}

static inline void sim_close(SimCluster *c) {
    scheduler_close(&c->scheduler);
    for (int i = 0; i < c->o.servers; i++) {
        session_close(&c->servers[i].session);
        free(c->servers[i].written.list);
    }
    free(c->committing.rows.list);
    for (int node = SIM_FIRST_WORKER; node < c->n_nodes; node++)
        sim_worker_close(c->workers[node]);
    for (int i = 0; i < SIM_MAX_GHOSTS; i++) {
        if (c->ghosts[i])
            message_free(c->ghosts[i]);
        free(c->ghosts[i]);
    }
    net_close(&c->net);
    datainfo_free(&c->info);
    free(c->config_text);
    free(c);
}

/* from: the snapshot that is resumed, or NULL. archive: its snapshots out. */
static inline SimResult sim_run_from(const SimOptions *o, const SimSnapshot *from, SimArchive *archive) {
    SimCluster *c = must_calloc(1, sizeof *c);
    SimServerNode nodes[SIM_MAX_SERVERS];
    c->o = *o;
    c->from = from;
    c->archive = archive;
    c->standing = from ? from->standing : (Standing){.best_wauc = {-1, -1}};
    c->result.metrics = from ? from->metrics : 0;
    c->result.n_epochs = from ? from->epoch - !from->is_evaluated : 0;
    c->now_ms = 1000;
    c->n_nodes = SIM_FIRST_WORKER;
    c->rng = rng_stream(o->seed, RNG_TEST, 1, 0);
    net_open(&c->net, &c->rng);
    c->net.is_cut[SIM_GHOST] = true; /* hears no answers */
    c->net.lost = sim_lost;
    c->net.ctx = c;
    sim_configure(c);
    sim_open(c, nodes);
    sim_loop(c);
    for (int i = 0; i < o->servers; i++) {
        sim_check_store(c, i);
        c->result.n_undone += session_stats(c->servers[i].session).n_undone;
        if (c->result.code == OK && c->is_over) {
            SIM_CHECK(c, c->servers[i].code == OK);
            SIM_CHECK(c, store_epoch(sim_store(c, i)) == (uint32_t)o->epochs && sim_is_full(sim_store(c, i)));
        }
    }
    /* those who slept through the end, or came after it, hear nobody any more */
    for (int node = SIM_FIRST_WORKER; node < c->n_nodes && o->kills_node < 0; node++)
        if (!c->net.is_cut[node] && !c->paused_ms[node] && c->workers[node]->remote &&
            c->workers[node]->code != c->result.code)
            fail_msg("seed %llu: worker %d ended on its own: %s", (unsigned long long)o->seed, node,
                     c->workers[node]->sentence);
    c->result.rows = sim_hash_rows(c);
    c->result.end_ms = c->now_ms;
    SimResult result = c->result;
    sim_close(c);
    return result;
}

static inline SimResult sim_run(const SimOptions *o) {
    SimArchive *archive = must_calloc(1, sizeof *archive);
    SimResult result = sim_run_from(o, NULL, archive);
    sim_archive_free(archive);
    return result;
}

#endif
