/* What the sides of `bench link` and `bench rtt` share: the requests, whose bytes are the same for all of them. */
#ifndef MANGROVE_DEPLOY_BENCH_BENCH_LINK_H
#define MANGROVE_DEPLOY_BENCH_BENCH_LINK_H

#include <stdint.h>

#include "common/config.h"
#include "common/err.h"

enum {
    LINK_SETS = 64,      /* of keys, taken in turn: distinct random rows of the table */
    LINK_IN_FLIGHT = 4,  /* requests: half of them pulls, half pushes once it flows */
    LINK_PATIENCE_S = 20 /* without an answer: then the benchmark fails */
};

typedef struct LinkShape {
    uint32_t n_rows, width; /* of a request */
    uint64_t table_rows;
} LinkShape;

/* Rows that were pulled and pushed in a second, and in a second of processor time of both processes. */
typedef struct LinkRate {
    double per_s, per_cpu_s;
} LinkRate;

typedef struct LinkRequests {
    LinkShape shape;
    uint64_t *keys[LINK_SETS]; /* (n_rows) */
    float *grads;              /* (n_rows * width) of every push */
} LinkRequests;

void link_requests_init(LinkRequests *r, LinkShape shape, uint64_t seed);
void link_requests_free(LinkRequests *r);

/* ---- ours: a server process, this process its scheduler and its worker. Both sides of it are loops. */

typedef struct LinkOurs LinkOurs;

/* Forks: call it while there is one thread. */
Err link_ours_start(LinkOurs **out, const Config *config, const LinkRequests *requests) MUST_CHECK;
/* Connects, and pushes every row once. Threads begin here. */
Err link_ours_connect(LinkOurs *o) MUST_CHECK;
void link_ours_close(LinkOurs **o);
Err link_ours_rate(LinkOurs *o, double seconds, LinkRate *rate) MUST_CHECK;
/* Median time of a pull with nothing else under way, in microseconds. */
Err link_ours_rtt(LinkOurs *o, double seconds, double *p50_us) MUST_CHECK;

/* ---- raw ZeroMQ: DEALER and ROUTER with blocking calls and no table, the same frames from memory that is reused */

typedef struct LinkRaw LinkRaw;

Err link_raw_start(LinkRaw **out, const LinkRequests *requests) MUST_CHECK;
Err link_raw_connect(LinkRaw *r) MUST_CHECK;
void link_raw_close(LinkRaw **r);
Err link_raw_rate(LinkRaw *r, double seconds, LinkRate *rate) MUST_CHECK;
Err link_raw_rtt(LinkRaw *r, double seconds, double *p50_us) MUST_CHECK;

/* ---- redis: MGET and MSET over loopback tcp, pipelined */

typedef struct LinkRedis LinkRedis;

/* *out NULL: there is no redis-server here. */
Err link_redis_start(LinkRedis **out, const LinkRequests *requests) MUST_CHECK;
Err link_redis_connect(LinkRedis *r) MUST_CHECK;
void link_redis_close(LinkRedis **r);
Err link_redis_rate(LinkRedis *r, double seconds, LinkRate *rate) MUST_CHECK;

#endif
