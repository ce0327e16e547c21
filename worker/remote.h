/* The parameter client's remote half as a state machine: requests and messages in, messages out, no I/O, no clock, no
 * thread. compute.c makes blocking calls of it and worker_shell.c moves its messages; tests drive it as it is.
 *
 * Each request of a step becomes one message to every server, also to one that holds none of its rows. A message waits
 * in its server's queue until the server's credit covers it; a push finds room while the queues are short, so that
 * memory is bounded by the credit plus two steps.
 *
 *   REFUSE, silence, a violation --> the client has failed, for good */
#ifndef MANGROVE_WORKER_REMOTE_H
#define MANGROVE_WORKER_REMOTE_H

#include <stdbool.h>

#include "common/schema.h"
#include "proto/message.h"
#include "worker/channel.h"
#include "worker/client.h"
#include "worker/member.h"

typedef struct Remote Remote;

typedef struct RemoteOptions {
    const Schema *schema;
    uint64_t config, data; /* fingerprints, for HELLO */
    uint32_t job, sender;
    Wire wire;    /* of training */
    bool is_sync; /* training pulls may wait at the server for the other ranks */
    ChannelLimits limits;
} RemoteOptions;

void remote_open(Remote **out, const RemoteOptions *options);
void remote_close(Remote **r);

/* The servers from now on; borrowed. What is under way is forgotten and ends as ERR_STALE. */
void remote_set_view(Remote *r, const ClusterView *view, uint64_t now_ms);

void remote_on_message(Remote *r, uint32_t server, Message *m, uint64_t now_ms);
void remote_on_fault(Remote *r, uint32_t server, const char *sentence); /* the link has dropped the server */
void remote_on_tick(Remote *r, uint64_t now_ms);

/* The next message that may be sent now, and to which server. False: none. */
bool remote_next(Remote *r, uint32_t *server, Message *out, uint64_t now_ms);

bool remote_is_connected(const Remote *r); /* every server of the view has granted credit */
/* What ended this client, and its sentence; OK while it works. */
Err remote_failure(const Remote *r, const char **sentence);

/* At most two pulls are under way; they end in the order of their starts. */
void remote_pull(Remote *r, Exchange *x);
/* True when the oldest pull has ended: result, and it is taken off. */
bool remote_take_pull(Remote *r, Err *result);
bool remote_has_room(const Remote *r); /* for a push */
void remote_push(Remote *r, const Work *work, const uint64_t *keys, uint32_t n_keys, const real *grads);
bool remote_is_flushed(const Remote *r); /* every push has been answered */
/* What a push was answered since the last call: OK, ERR_RETRY or ERR_STALE. */
Err remote_push_result(const Remote *r);
void remote_clear_push_result(Remote *r);
/* Forgets the pulls under way; their values are dropped when they arrive. */
void remote_abandon_pulls(Remote *r);

#endif
