/* A simulated network: one pipe for each direction of each connection, first in first out, with random delays. A node
 * is a number; its incarnation is SIM_INCARNATION + number. Whoever dies takes with it what it has not yet sent on. */
#ifndef MANGROVE_TESTS_SIM_NETWORK_H
#define MANGROVE_TESTS_SIM_NETWORK_H

#include <stdlib.h>

#include "common/log.h"
#include "common/rng.h"
#include "proto/message.h"

enum { SIM_INCARNATION = 1000, SIM_MAX_NODES = 40, SIM_NEVER = 1u << 30 };

typedef struct Flight {
    struct Flight *next;
    uint64_t due_ms;
    Message m;
} Flight;

typedef struct Pipe {
    Flight *first, **last;
    uint64_t last_due_ms;
} Pipe;

typedef struct SimNetwork {
    Rng *rng;
    Pipe pipes[SIM_MAX_NODES][SIM_MAX_NODES]; /* [from][to] */
    Flight *unused;
    bool is_cut[SIM_MAX_NODES];                  /* the node is dead: nothing to it or from it any more */
    void (*lost)(void *ctx, int to, Message *m); /* of what a dead node had sent, or was about to */
    void *ctx;
} SimNetwork;

static inline void net_open(SimNetwork *net, Rng *rng) {
    *net = (SimNetwork){.rng = rng};
    for (int i = 0; i < SIM_MAX_NODES; i++)
        for (int j = 0; j < SIM_MAX_NODES; j++)
            net->pipes[i][j].last = &net->pipes[i][j].first;
}

/* Mostly a few ms, now and then a stumble. Takes the message. */
static inline void net_send(SimNetwork *net, int from, int to, Message *m, uint64_t now_ms) {
    Pipe *p = &net->pipes[from][to];
    if (net->is_cut[from] || net->is_cut[to]) {
        if (net->lost && net->is_cut[from])
            net->lost(net->ctx, to, m);
        message_free(m);
        return;
    }
    uint64_t due_ms = now_ms + rng_below(net->rng, 4);
    if (rng_below(net->rng, 50) == 0)
        due_ms += rng_below(net->rng, 150);
    Flight *f = net->unused;
    if (f)
        net->unused = f->next;
    else
        f = must_alloc(sizeof *f);
    m->incarnation = (uint64_t)(SIM_INCARNATION + from);
    message_move(&f->m, m);
    f->next = NULL;
    p->last_due_ms = f->due_ms = due_ms > p->last_due_ms ? due_ms : p->last_due_ms;
    *p->last = f;
    p->last = &f->next;
}

/* When the pipe delivers next. */
static inline uint64_t net_due_ms(const SimNetwork *net, int from, int to) {
    const Flight *f = net->pipes[from][to].first;
    return f ? f->due_ms : SIM_NEVER;
}

static inline Flight *net_take(SimNetwork *net, int from, int to) {
    Pipe *p = &net->pipes[from][to];
    Flight *f = p->first;
    p->first = f->next;
    if (!p->first)
        p->last = &p->first;
    return f;
}

static inline void net_recycle(SimNetwork *net, Flight *f) {
    message_free(&f->m);
    f->next = net->unused;
    net->unused = f;
}

/* The node dies: what was sent to it is lost, and of what it sent, from a random message on, the rest. */
static inline void net_cut(SimNetwork *net, int node, bool loses_sent) {
    net->is_cut[node] = true;
    for (int other = 0; other < SIM_MAX_NODES; other++) {
        while (net->pipes[other][node].first)
            net_recycle(net, net_take(net, other, node));
        Pipe *p = &net->pipes[node][other];
        Flight **at = &p->first;
        while (*at && !(loses_sent && rng_below(net->rng, 3) == 0))
            at = &(*at)->next;
        while (*at) {
            Flight *f = *at;
            *at = f->next;
            if (net->lost)
                net->lost(net->ctx, other, &f->m);
            net_recycle(net, f);
        }
        p->last = at;
    }
}

static inline void net_close(SimNetwork *net) {
    net->lost = NULL;
    for (int i = 0; i < SIM_MAX_NODES; i++)
        net_cut(net, i, true);
    for (int i = 0; i < SIM_MAX_NODES; i++)
        for (int j = 0; j < SIM_MAX_NODES; j++)
            while (net->pipes[i][j].first)
                net_recycle(net, net_take(net, i, j));
    while (net->unused) {
        Flight *f = net->unused;
        net->unused = f->next;
        free(f);
    }
}

#endif
