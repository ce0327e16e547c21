/* A server process without a cluster: this process is its scheduler, in so far as it gives it a configuration, a view
 * of one server and one endless epoch. */
#ifndef MANGROVE_DEPLOY_BENCH_BENCH_LONE_SERVER_H
#define MANGROVE_DEPLOY_BENCH_BENCH_LONE_SERVER_H

#include "common/config.h"
#include "deploy/supervisor.h"
#include "proto/link.h"

enum { LONE_SERVER_JOB = 1, LONE_SERVER_STEPS = 1 << 22 /* of each domain's epoch 1 */ };

typedef struct LoneServer {
    const Config *config;
    const char *manifest; /* of the data set */
    Loop *loop;           /* the caller's, which runs it */
    Supervisor supervisor;
    Link *link;
    char endpoint[MESSAGE_TEXT]; /* of the server */
    Err code;                    /* what went wrong; the loop was stopped then */
} LoneServer;

/* Starts the process and runs the loop until the epoch is open. Its messages go to log_path. Borrows all. */
Err lone_server_open(LoneServer *s, const Config *config, const char *manifest, Loop *loop, Network *network,
                     const char *log_path) MUST_CHECK;
/* OK while it runs. */
Err lone_server_check(LoneServer *s) MUST_CHECK;
void lone_server_close(LoneServer *s); /* before the network */

#endif
