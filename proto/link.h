/* The link: ZeroMQ under the event loop, with one socket policy. ROUTER binds, DEALER connects; everything else about
 * ZeroMQ stays inside link.c.
 *
 * A peer is known by its incarnation, the random number of its process start, which is its ZeroMQ routing id too; so a
 * restarted process is another peer. Not thread-safe: one thread, the loop's. */
#ifndef MANGROVE_PROTO_LINK_H
#define MANGROVE_PROTO_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "proto/loop.h"
#include "proto/message.h"

typedef struct Network Network; /* the process's one ZeroMQ context, and its buffer pool */
typedef struct Link Link;

/* The message is the link's: a handler that keeps it moves it out (message_move). peer: the sender's incarnation;
 * for a dialled link the one that the other side wrote into its header. */
typedef void (*LinkReceive)(void *ctx, Link *link, uint64_t peer, Message *m);
/* The peer sent what cannot be decoded, or could not be sent to although its credit said so: it has been dropped. */
typedef void (*LinkFault)(void *ctx, Link *link, uint64_t peer, const char *sentence);

typedef struct LinkStats {
    uint64_t sent_messages, received_messages, sent_bytes, received_bytes, bad_messages, dropped_peers;
    uint64_t queued_bytes; /* accepted by link_send, not yet by ZeroMQ */
} LinkStats;

typedef struct LinkOptions {
    uint64_t incarnation;     /* of this process */
    uint32_t window_messages; /* credit of one peer in messages; the socket's HWM is twice that */
    LinkReceive receive;
    LinkFault fault;
    void *ctx;
} LinkOptions;

Err network_open(Network **out, Loop *loop) MUST_CHECK;
/* Closes what is left, waiting at most linger_ms for what was sent. */
void network_close(Network **n, int linger_ms);
uint64_t network_new_incarnation(void); /* random, not 0 */

/* endpoint: tcp://address:port (port 0 or * = any), ipc:// or inproc://. ERR_FAILED names the endpoint and the reason. */
Err link_listen(Link **out, Network *n, const char *endpoint, const LinkOptions *options) MUST_CHECK;
Err link_dial(Link **out, Network *n, const char *endpoint, const LinkOptions *options) MUST_CHECK;
void link_close(Link **link);
/* The bound endpoint with its real port. */
const char *link_endpoint(const Link *link);
/* Address of this host from which the dialled endpoint is reached, as tcp://address (no port); for --advertise. */
Err link_local_address(const char *endpoint, char *out, size_t size) MUST_CHECK;
/* True if the endpoint is loopback, ipc or inproc: nobody from outside can reach it. */
bool link_is_private(const char *endpoint);

/* Takes the message, also on error. peer is ignored by a dialled link. ERR_PEER: no such peer, or its queue is full. */
Err link_send(Link *link, uint64_t peer, Message *m) MUST_CHECK;
LinkStats link_stats(const Link *link);

#endif
