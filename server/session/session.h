/* A parameter server's state machine: (message, now) -> messages and effects, over a Store. No socket, file, clock or
 * thread inside; server_shell.c connects it to the link and the disk, the simulator to a simulated network.
 *
 *   JOINING --WELCOME--> WAITING --VIEW--> SERVING     any --FINISH, REFUSE, silence, a violation, fault, stop--> ENDED
 *                        WAITING --VIEW of a snapshot--> LOADING --loaded--> SERVING
 *
 * PROTOCOL.md is its contract; session_parts.h says which file does what. */
#ifndef MANGROVE_SERVER_SESSION_SESSION_H
#define MANGROVE_SERVER_SESSION_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/datainfo.h"
#include "common/err.h"
#include "common/schema.h"
#include "proto/outbox.h"
#include "server/snapshot/snapshot_load.h"
#include "server/store/store_cut.h"

typedef struct Session Session;

enum {
    PEER_SCHEDULER = 0,          /* the outbox's name for the scheduler; workers are their incarnations */
    SESSION_CREDIT_REQUESTS = 16 /* of one worker: the link's window in messages */
};

/* A store to be opened with the rows of a snapshot. */
typedef struct SessionLoad {
    const char *dir;
    const Schema *schema;
    const OptimizerConfig *optimizer;
    uint32_t n_ranks;
    SnapshotLoad how;
} SessionLoad;

typedef struct SessionEnv {
    void *ctx;
    const char *host; /* of this process, for people, while the session lives; NULL: unnamed */
    uint64_t pid;
    Outbox outbox;
    /* Derives the schema from the configuration and the data set (model_schema, given by deploy/). */
    void *schema_ctx;
    Err (*schema)(void *schema_ctx, const Config *config, const DataInfo *data, Schema *out);
    /* snapshot_load_store(), off the loop's thread; answered by session_on_loaded(), until when the load lives. */
    void (*load)(void *ctx, const SessionLoad *load);
    /* Writes this server's files of a snapshot, off the loop's thread; answered by session_on_written(), until when the
     * cut lives. */
    void (*write)(void *ctx, StoreCut *cut, const Schema *schema, uint32_t rank, const char *dir);
    /* The run is over for this process. */
    void (*finished)(void *ctx, Err code, const char *sentence);
} SessionEnv;

typedef struct SessionStats {
    uint64_t n_pulls, n_pushes;          /* served, of any status */
    uint64_t n_refused;                  /* violations: peers dropped */
    uint64_t n_parked, parked_bytes;     /* requests that wait now, and their cost in credit */
    uint64_t n_waits;                    /* tries of pushes that had to wait for a cut */
    uint64_t n_undone;                   /* sync: rows served as they were before the last step */
    uint64_t sent_bytes, received_bytes; /* raw frames of requests and replies */
} SessionStats;

/* endpoint: where workers reach this server (--advertise). */
Err session_open(Session **out, uint64_t incarnation, const char *endpoint, const SessionEnv *env,
                 uint64_t now_ms) MUST_CHECK;
void session_close(Session **s);

void session_on_scheduler(Session *s, Message *m, uint64_t now_ms);             /* may move the message out */
void session_on_worker(Session *s, uint64_t peer, Message *m, uint64_t now_ms); /* likewise */
void session_on_tick(Session *s, uint64_t now_ms);                              /* every 100 ms or so */
/* The link has dropped this worker: what it asked for is forgotten. */
void session_on_fault(Session *s, uint64_t peer);
/* The link has dropped the scheduler: ends with ERR_PROTOCOL. */
void session_on_scheduler_fault(Session *s, const char *sentence);
/* Says BYE to the scheduler and ends with ERR_STOPPED. */
void session_on_stop(Session *s);
/* result of env.write, whose sentence is this thread's err_message(); files: JSON text for the manifest (borrowed),
 * NULL on error. */
void session_on_written(Session *s, Err result, const char *files, uint64_t now_ms);

/* result of env.load, with its sentence likewise; takes the store, NULL on error. */
void session_on_loaded(Session *s, Err result, Store *store, uint64_t now_ms);
/* Pushes wait for room for the old rows of a cut: while this is so, call session_on_retry() every few milliseconds. */
bool session_has_waiting_pushes(const Session *s);
void session_on_retry(Session *s, uint64_t now_ms);

int session_rank(const Session *s); /* among the servers; -1 before WELCOME */
/* For `train --local`, whose trainer calls it instead of sending messages, and for proofs. NULL before the VIEW. */
Store *session_store(const Session *s);
SessionStats session_stats(const Session *s);

#endif
