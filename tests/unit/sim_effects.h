/* What happens in a simulated cluster beside messages: work that ends, faults, those who join, and late pushes. */
#ifndef MANGROVE_TESTS_SIM_EFFECTS_H
#define MANGROVE_TESTS_SIM_EFFECTS_H

#include "tests/unit/sim_roles.h"

/* ---- who is there ----------------------------------------------------------------------------------------------- */

static inline bool sim_is_server(int node) {
    return node > SIM_SCHEDULER && node < SIM_FIRST_WORKER;
}

static inline bool sim_is_alive(const SimCluster *c, int node) {
    if (c->net.is_cut[node])
        return false;
    if (node == SIM_SCHEDULER)
        return !c->is_over;
    if (sim_is_server(node))
        return node <= c->o.servers && !c->servers[node - 1].is_ended;
    return c->workers[node] && !c->workers[node]->is_ended;
}

static inline int sim_live_workers(const SimCluster *c) {
    int n = 0;
    for (int node = SIM_FIRST_WORKER; node < c->n_nodes; node++)
        n += sim_is_alive(c, node);
    return n;
}

/* A random one of those that live; 0: none does. */
static inline int sim_any_worker(SimCluster *c) {
    int n = sim_live_workers(c), node = SIM_FIRST_WORKER;
    if (!n)
        return 0;
    for (int skip = (int)rng_below(&c->rng, (uint32_t)n) + 1; node < c->n_nodes; node++)
        if (sim_is_alive(c, node) && !--skip)
            break;
    return node;
}

static inline void sim_join(SimCluster *c) {
    if (c->n_nodes == SIM_GHOST || c->is_over)
        return;
    int node = c->n_nodes++;
    c->tick_ms[node] = c->now_ms + rng_below(&c->rng, SIM_TICK_MS);
    c->workers[node] = sim_worker_open(&c->net, &c->rng, node, &c->schema, 77, &c->info, c->manifest, c->now_ms);
}

/* ---- effects ---------------------------------------------------------------------------------------------------- */

static inline void sim_ranked(SimCluster *c, const RankJob *job) {
    RankingMetrics m;
    ranking_metrics(job->scores, job->users, job->n, job->n_candidates, c->config.eval.ks, c->config.eval.n_ks, &m);
    scheduler_on_ranked(c->scheduler, job, &m, c->now_ms);
}

static inline void sim_kill_worker(SimCluster *c) {
    int node = sim_any_worker(c);
    if (!node)
        return;
    if (rng_below(&c->rng, 2))
        c->workers[node]->dies_after_push = true;
    else
        net_cut(&c->net, node, true);
    c->result.n_killed++;
    if (rng_below(&c->rng, 2))
        sim_effect(c, rng_below(&c->rng, 1500), SIM_JOIN, 0, NULL);
}

/* Before the run begins all workers must be there, later one: another one comes, as a supervisor would see to. */
static inline void sim_replace_last(SimCluster *c) {
    bool is_coming = false;
    for (int i = 0; i < c->n_effects; i++)
        is_coming = is_coming || c->effects[i].kind == SIM_JOIN;
    if (!is_coming && sim_live_workers(c) < (c->has_begun ? 1 : c->o.workers) && sim_is_alive(c, SIM_SCHEDULER))
        sim_effect(c, rng_below(&c->rng, 1500), SIM_JOIN, 0, NULL);
}

/* A push may come at any time after it was made, and any number of times: what a dead worker's last words were comes
 * late, perhaps in the middle of a cut or in another epoch, and what has come may come again, from a node that has no
 * other business. */
static inline void sim_copy_push(SimCluster *c, int server, const Message *m, uint32_t odds) {
    int slot = 0;
    while (slot < SIM_MAX_GHOSTS && c->ghosts[slot])
        slot++;
    if (slot == SIM_MAX_GHOSTS || rng_below(&c->rng, odds))
        return;
    Message *copy = must_alloc(sizeof *copy);
    message_init(copy, MESSAGE_PUSH);
    copy->job = m->job;
    copy->push = m->push;
    for (int i = 0; i < m->n_frames; i++)
        message_add_bytes(copy, m->frames[i].data, m->frames[i].size_bytes);
    c->ghosts[slot] = copy;
    sim_effect(c, rng_below(&c->rng, rng_below(&c->rng, 2) ? 100 : 3 * SIM_DEAD_MS), SIM_HAUNT, server, NULL);
    c->effects[c->n_effects - 1].ghost = slot;
}

static inline void sim_lost(void *ctx, int to, Message *m) {
    if (m->type == MESSAGE_PUSH)
        sim_copy_push(ctx, to, m, 2);
}

static inline void sim_haunt(SimCluster *c, int node, int slot) {
    Message hello, *m = c->ghosts[slot];
    Session *session = c->servers[node - 1].session;
    c->ghosts[slot] = NULL;
    message_init(&hello, MESSAGE_HELLO);
    hello.job = m->job;
    hello.hello = (MessageHELLO){.role = ROLE_WORKER, .version = MANGROVE_VERSION};
    session_on_worker(session, SIM_INCARNATION + SIM_GHOST, &hello, c->now_ms);
    session_on_worker(session, SIM_INCARNATION + SIM_GHOST, m, c->now_ms);
    c->result.n_haunted++;
    message_free(m);
    free(m);
}

static inline void sim_ask_snapshot(SimCluster *c, int asker) {
    Message m;
    if (c->is_over)
        return;
    message_init(&m, MESSAGE_SNAPSHOT_ASK);
    scheduler_on_message(c->scheduler, (uint64_t)(SIM_INCARNATION + SIM_CONTROL + asker), &m, c->now_ms);
    message_free(&m);
}

static inline void sim_happen(SimCluster *c, const SimEffect *e) {
    int node;
    if (e->kind <= SIM_LOADED && c->net.is_cut[e->node])
        return;
    switch (e->kind) {
    case SIM_WRITTEN:
        sim_written(c, e->node - 1);
        break;
    case SIM_COMMITTED:
        sim_committed(c);
        break;
    case SIM_LOADED:
        sim_loaded(c, e->node - 1);
        break;
    case SIM_ASK:
        sim_ask_snapshot(c, e->node);
        break;
    case SIM_RANK:
        sim_ranked(c, e->job);
        break;
    case SIM_KILL:
        sim_kill_worker(c);
        break;
    case SIM_PAUSE:
        if ((node = sim_any_worker(c)))
            c->paused_ms[node] = c->now_ms + rng_below(&c->rng, 4 * SIM_DEAD_MS);
        break;
    case SIM_JOIN:
        sim_join(c);
        break;
    case SIM_STOP:
        if (!c->is_over)
            scheduler_on_stop(c->scheduler, c->now_ms);
        break;
    case SIM_HAUNT:
        sim_haunt(c, e->node, e->ghost);
        break;
    case SIM_DIE:
        net_cut(&c->net, e->node, true);
        break;
    }
}

#endif
