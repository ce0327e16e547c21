/* A channel: the data connection to one server as its worker sees it — greeting, credit, requests that wait for credit,
 * requests that wait for their reply. No I/O.
 *
 *   GREETING --WELCOME--> OPEN */
#ifndef MANGROVE_WORKER_CHANNEL_H
#define MANGROVE_WORKER_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "proto/message.h"

enum {
    CHANNEL_QUEUE = 8,        /* unsent requests: 2 pulls, 2 pushes, and pulls that were abandoned unsent */
    CHANNEL_OUTSTANDING = 64, /* no more of a server's credit in requests is used */
    CHANNEL_NOBODY = -1,
};

typedef enum ChannelState {
    CHANNEL_GREETING, /* says HELLO each second until WELCOME */
    CHANNEL_OPEN,     /* the server has granted credit */
} ChannelState;

typedef struct Request {
    uint64_t sequence, cost_bytes, sent_ms;
    int pull; /* index of the pull that waits for it; CHANNEL_NOBODY for pushes and abandoned pulls */
    bool is_push;
    bool may_wait; /* at the server, for other workers */
} Request;

typedef struct QueuedRequest {
    Message message;
    Request request;
} QueuedRequest;

typedef struct Channel {
    ChannelState state;
    uint64_t credit_bytes, used_bytes;
    uint32_t credit_requests, n_outstanding;
    Request outstanding[CHANNEL_OUTSTANDING];
    QueuedRequest queue[CHANNEL_QUEUE]; /* a ring */
    uint32_t head, n_queued;
    bool has_greeted;
    uint64_t opened_ms, hello_ms, heard_ms;
} Channel;

typedef struct ChannelLimits {
    uint64_t silent_ms;  /* a server that owes an answer and says nothing for so long is gone */
    uint64_t request_ms; /* nothing that somebody waits for takes longer, whatever else the server says */
} ChannelLimits;

void channel_init(Channel *c, uint64_t now_ms);
void channel_free(Channel *c);

bool channel_greets(Channel *c, uint64_t now_ms); /* true: a HELLO is due, and now counts as said */
Err channel_welcome(Channel *c, const MessageWELCOME *welcome) MUST_CHECK;

/* The place of a new request; its frames and fields, and then its cost, are the caller's to fill. */
QueuedRequest *channel_add(Channel *c, MessageType type, uint64_t sequence);
/* The head of the queue if the credit covers it. *is_taken false: not now. ERR_CONFIG: no credit ever will. */
Err channel_take(Channel *c, Message *out, bool *is_taken, uint64_t now_ms) MUST_CHECK;
/* Takes the answered request off, whose credit returns. False: the server answers what it was not asked. */
bool channel_settle(Channel *c, uint64_t sequence, bool is_push, Request *out);
/* Nobody waits for pulls any more; those unsent will not be sent. */
void channel_abandon_pulls(Channel *c);
/* ERR_PEER with a sentence where the server is over its time. */
Err channel_check(const Channel *c, const ChannelLimits *limits, uint64_t now_ms) MUST_CHECK;

uint64_t channel_frame_bytes(const Message *m);

#endif
