/* The link: ZeroMQ under the event loop, with one socket policy. ROUTER binds, DEALER connects; everything else about
 * ZeroMQ stays inside link.c and network.c.
 *
 * A peer is known by its incarnation, the random number of its process start, which is its ZeroMQ routing id too; so a
 * restarted process is another peer. Nothing here promises delivery: what must arrive is asked for again. ZeroMQ hands
 * a message over when all its frames are there: who can reach the port can make it hold an endless one, and no option
 * of ZeroMQ bounds that. So a port is for peers that are trusted, by its address or by keys. Not thread-safe: one
 * thread, the loop's. */
#ifndef MANGROVE_PROTO_LINK_H
#define MANGROVE_PROTO_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "proto/loop.h"
#include "proto/message.h"

typedef struct Network Network; /* the process's one ZeroMQ context */
typedef struct Link Link;

/* The message is the link's: a handler that keeps it moves it out (message_move). peer: the sender's incarnation;
 * for a dialled link the one that the other side wrote into its header. A handler may send, and may close the link. */
typedef void (*LinkReceive)(void *ctx, Link *link, uint64_t peer, Message *m);
/* The peer sent what is no message, or did not read although its credit said so. It has been dropped: nothing is sent
 * to it or heard from it any more; only another incarnation is. peer 0: it did not even say who it is; reported once.
 * Called from the loop, never from within link_send. */
typedef void (*LinkFault)(void *ctx, Link *link, uint64_t peer, const char *sentence);

typedef struct LinkStats {
    uint64_t sent_messages, received_messages, sent_bytes, received_bytes, bad_messages, dropped_peers;
    uint64_t queued_messages, queued_bytes; /* accepted by link_send, not yet by ZeroMQ */
} LinkStats;

typedef struct LinkOptions {
    uint64_t incarnation;     /* of this process; written into every header */
    uint32_t window_messages; /* credit of one peer in messages. ZeroMQ holds twice that for it in either direction,
                                 then this link as many as the window again, and then the peer is dropped */
    uint64_t window_bytes;    /* and no more bytes than this, unless it is one message; 0: MESSAGE_MAX_BYTES */
    LinkReceive receive;
    LinkFault fault;
    void *ctx;
} LinkOptions;

Err network_open(Network **out, Loop *loop) MUST_CHECK;
/* Closes what is left, waiting at most linger_ms for what was sent. */
void network_close(Network **n, int linger_ms);
uint64_t network_new_incarnation(void); /* random, not 0 */

/* endpoint: tcp://address:port (port 0 or * = any), ipc:// or inproc://. ERR_FAILED names the endpoint and the reason.
 */
Err link_listen(Link **out, Network *n, const char *endpoint, const LinkOptions *options) MUST_CHECK;
/* Nobody need listen yet: messages wait, as many as for a peer that does not read. ERR_FAILED where the host's name is
 * unknown. */
Err link_dial(Link **out, Network *n, const char *endpoint, const LinkOptions *options) MUST_CHECK;
void link_close(Link **link);
/* The bound endpoint with its real port; of a dialled link the endpoint as given. */
const char *link_endpoint(const Link *link);
/* Address of this host from which the dialled endpoint is reached, as tcp://address (no port); for --advertise. */
Err link_local_address(const char *endpoint, char *out, size_t size) MUST_CHECK;
/* True if the endpoint is loopback, ipc or inproc: nobody from outside can reach it. */
bool link_is_private(const char *endpoint);
/* ERR_USAGE where it is not private and that is not allowed; what ("the address") begins the sentence. */
Err link_check_private(const char *endpoint, const char *what, bool is_allowed) MUST_CHECK;
/* What others are told of a bound endpoint: asked, if not NULL, with the bound port where it has none; else the
 * endpoint itself, and instead of a wildcard, which nobody can dial, this host's address towards another endpoint, or
 * its name where that is NULL. */
Err link_advertised(const char *bound, const char *asked, const char *towards, char *out, size_t size) MUST_CHECK;

/* Takes the message, also on error; m->incarnation is set here. peer is ignored by a dialled link. ERR_PEER: no such
 * peer; it was dropped, now or before; or nobody takes from a dialled link, and its window is full. */
Err link_send(Link *link, uint64_t peer, Message *m) MUST_CHECK;
LinkStats link_stats(const Link *link);

#endif
