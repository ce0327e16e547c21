/* The parameter client: how a step reaches the tables, wherever they are. Two halves: the remote one (remote.h) speaks
 * the wire; the local one (deploy/local.c) calls the store directly. One compute thread calls it and may block. */
#ifndef MANGROVE_WORKER_CLIENT_H
#define MANGROVE_WORKER_CLIENT_H

#include "common/err.h"
#include "common/real.h"
#include "common/work.h"

/* One step's exchange with all servers. The caller keeps keys and values alive until the pull has been waited for
 * (the push copies them). keys are unique; the values of the rows lie one behind the other in key order, each as wide
 * as its table. */
typedef struct Exchange {
    Work work;
    uint64_t order;       /* sync: how many steps of this epoch come before this one, over both domains */
    const uint64_t *keys; /* (n_keys) */
    uint32_t n_keys;
    size_t n_values; /* sum of the widths */
    real *values;    /* pull: (n_values) out */
    bool is_applied; /* pull: out: every server has applied this step already; values are undefined then */
} Exchange;

/* Every function: OK; ERR_RETRY or ERR_STALE: give the lease back and ask again; ERR_STOPPED: the run ends;
 * any other error ends the worker. */
typedef struct ParameterClient {
    void *self;
    Err (*pull_start)(void *self, Exchange *x); /* at most 2 are under way */
    Err (*pull_wait)(void *self, Exchange *x);  /* in the order of their starts */
    Err (*push)(void *self, const Work *work, const uint64_t *keys, uint32_t n_keys, const real *grads,
                size_t n_values); /* returns when it is handed over: credit bounds what is not yet acknowledged */
    Err (*flush)(void *self);     /* returns when every push has been acknowledged; abandons pulls under way, whose
                                     Exchange the caller may reuse from then on, also after an error */
} ParameterClient;

#endif
