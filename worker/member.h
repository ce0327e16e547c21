/* The member: a worker's side of its talk with the scheduler, as a state machine without I/O. worker_shell.c connects
 * it to the link and the compute thread, `train --local` to a scheduler in the same process.
 *
 *   JOINING --WELCOME--> WELCOMED --VIEW--> CONNECTING --connected--> ASKING --LEASE--> WORKING
 *                                                                       ^                  |
 *                                                                       +--lease is over---+
 *   any --FINISH, REFUSE, silence, an error, stop--> ENDED; WORKING --stop--> LEAVING --lease is over--> ENDED */
#ifndef MANGROVE_WORKER_MEMBER_H
#define MANGROVE_WORKER_MEMBER_H

#include "common/config.h"
#include "common/datainfo.h"
#include "common/err.h"
#include "worker/assignment.h"
#include "worker/trainer.h"

enum { MEMBER_ENDPOINT = 512 };

/* Where the tables are. Valid until the next VIEW. */
typedef struct ClusterView {
    uint64_t map; /* version of slots */
    uint32_t n_servers;
    uint16_t slots[N_SLOTS]; /* slot -> server */
    char **endpoints;        /* (n_servers) */
} ClusterView;

/* What the scheduler calls this worker. */
typedef struct WorkerIdentity {
    uint32_t job, id, rank;
} WorkerIdentity;

typedef struct MemberStats {
    uint64_t n_steps, n_instances; /* of the lease in hand */
    uint64_t sent_bytes, received_bytes;
} MemberStats;

typedef struct MemberEnv {
    void *ctx;
    void (*send)(void *ctx, Message *m); /* to the scheduler; takes the frames */
    /* Once: the configuration is known and fits the data. Borrowed for the member's life. */
    Err (*welcomed)(void *ctx, const Config *config, const Geometry *geometry, const WorkerIdentity *who);
    /* The servers are these: answered by member_on_connected(). */
    Err (*viewed)(void *ctx, const ClusterView *view);
    /* Do this; answered by member_on_lease_over(). Takes the assignment. */
    void (*work)(void *ctx, Assignment *a);
    /* Give this lease back after the step in hand, and do not wait for values. */
    void (*revoke)(void *ctx, uint64_t lease);
    MemberStats (*stats)(void *ctx); /* for the heartbeat */
    /* This worker is through. Called once, last. */
    void (*finished)(void *ctx, Err code, const char *sentence);
} MemberEnv;

typedef struct Member Member;

/* Says HELLO at once. info and manifest are the data set's; scheduler names the other side in sentences. Borrows all.
 */
void member_open(Member **out, const DataInfo *info, const char *manifest, const char *scheduler, const MemberEnv *env,
                 uint64_t now_ms);
void member_close(Member **m);

void member_on_message(Member *m, Message *message, uint64_t now_ms);
void member_on_tick(Member *m, uint64_t now_ms); /* every 100 ms or so */
void member_on_connected(Member *m);             /* every server of the view has granted credit */
/* The work has ended: result, or the error that ends this worker. */
void member_on_lease_over(Member *m, Err code, const char *sentence, const TrainerResult *result);
/* Something this worker cannot do without is gone: says BYE. */
void member_on_failure(Member *m, Err code, const char *sentence);
/* Gives the lease back after the step in hand, says BYE and ends with ERR_STOPPED. */
void member_on_stop(Member *m, uint64_t now_ms);

#endif
