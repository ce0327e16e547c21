/* ZeroMQ sockets as the link uses them: opened under one policy, parts sent and received as frames. Beside link.c only
 * a test of the policy includes this. */
#ifndef MANGROVE_PROTO_NETWORK_H
#define MANGROVE_PROTO_NETWORK_H

#include "proto/link.h"

enum { ENDPOINT_BYTES = 512 };

struct Network {
    void *zmq; /* context */
    Loop *loop;
    Link *links;
};

/* A ROUTER or DEALER. ERR_FAILED. */
Err network_socket(Network *n, bool is_router, const LinkOptions *options, void **socket) MUST_CHECK;
/* A ROUTER binds, a DEALER connects to the address. endpoint (ENDPOINT_BYTES): how the address is named in a sentence;
 * out, of a ROUTER: the address with the port that it got. ERR_FAILED names endpoint and reason. */
Err network_bind(void *socket, const char *address, char *endpoint) MUST_CHECK;
Err network_connect(void *socket, const char *address, const char *endpoint) MUST_CHECK;
/* linger_ms: of what was sent; -1: the policy's second. */
void network_socket_close(void *socket, int linger_ms);

/* The descriptor to poll. Edge-triggered, and any call on the socket may eat the edge. */
int network_descriptor(void *socket);
/* Reads ZMQ_EVENTS: lets ZeroMQ learn what its thread did; true if there is something to receive. */
bool network_is_readable(void *socket);

/* One part of a message. Never wait. 0 or errno; EAGAIN: no room now. */
int network_send_id(void *socket, uint64_t peer); /* a ROUTER's first part: to whom */
int network_send_copy(void *socket, const void *data, size_t size_bytes, bool has_more);
int network_send_frame(void *socket, const Frame *frame, bool has_more); /* takes a reference of its own */
/* False: nothing is there. The frame's buffer is ZeroMQ's memory; the caller releases it. */
bool network_receive(void *socket, Frame *part, bool *has_more);

bool network_read_id(const Frame *part, uint64_t *peer); /* false: not the id of a mangrove process */

/* Sends what waits in the link, until the deadline; then link_close with what is left of the time as the linger. */
void link_close_by(Link **link, uint64_t deadline_ms);

/* Only tcp, ipc and inproc are spoken. ERR_FAILED says what is wrong with the endpoint. out (ENDPOINT_BYTES): the
 * endpoint as ZeroMQ takes it; to bind, a host's name must be its address there. */
Err link_address_to_bind(const char *endpoint, char *out) MUST_CHECK;
Err link_address_to_dial(const char *endpoint, char *out) MUST_CHECK;

#endif
