/* ZeroMQ: the context, the one policy that every socket follows, and parts in and out without copying. */
#include "proto/network.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <zmq.h>

#include "common/log.h"
#include "proto/buffer.h"

enum { MAX_FRAME_BYTES = 2 << 20, LINGER_MS = 1000, ID_BYTES = 9, KEPT_BYTES = 64 << 20 };

typedef struct SocketOption {
    int name, value;
} SocketOption;

/* Left at its default, each of these has cost somebody a hang, a silent loss or the machine's memory. */
static const SocketOption POLICY[] = {
    {ZMQ_LINGER, LINGER_MS},        /* the default waits for ever for a dead peer */
    {ZMQ_HANDSHAKE_IVL, 3000},      /* cuts a stranger that says nothing */
    {ZMQ_CONNECT_TIMEOUT, 5000},    /* the kernel's is two minutes */
    {ZMQ_RECONNECT_IVL, 100},       /* and doubling, */
    {ZMQ_RECONNECT_IVL_MAX, 5000},  /* up to here */
    {ZMQ_HEARTBEAT_IVL, 2000},      /* finds half-open connections; ZeroMQ's thread answers: says nothing of the peer */
    {ZMQ_HEARTBEAT_TIMEOUT, 10000}, /* ten times what a frame of 1 MiB takes at 8 Mbit/s */
    {ZMQ_HEARTBEAT_TTL, 10000},     /* from 65.6 s on version 4.3.4 drops the peer at every ping */
    {ZMQ_TCP_KEEPALIVE, 1},
    {ZMQ_BACKLOG, 1024}, /* a cluster dials at once */
    {ZMQ_IPV6, 0},
};

/* A ROUTER without these drops without a word what its peer cannot take, and never hears again a peer that vanished
 * without a FIN and came back. */
static const SocketOption ROUTER_POLICY[] = {{ZMQ_ROUTER_MANDATORY, 1}, {ZMQ_ROUTER_HANDOVER, 1}};

/* With 1 a connection takes its pipe along when it ends, and with it what had arrived but was not read yet: of 1,500
 * peers that said a last word and closed, 11 were not heard; with 0 none of 1,050. What is sent before it stands waits
 * within the high-water mark. */
static const SocketOption DEALER_POLICY[] = {{ZMQ_IMMEDIATE, 0}};

static int set_all(void *socket, const SocketOption *options, size_t n) {
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = zmq_setsockopt(socket, options[i].name, &options[i].value, sizeof options[i].value);
    return rc;
}

static void write_id(uint8_t *id, uint64_t incarnation) {
    id[0] = 'M';
    for (int i = 0; i < 8; i++)
        id[1 + i] = (uint8_t)(incarnation >> 8 * i);
}

static int set_id(void *socket, uint64_t incarnation) {
    uint8_t id[ID_BYTES];
    write_id(id, incarnation);
    return zmq_setsockopt(socket, ZMQ_ROUTING_ID, id, sizeof id);
}

static int apply_policy(void *socket, bool is_router, const LinkOptions *options) {
    int64_t max_frame_bytes = MAX_FRAME_BYTES; /* else a stranger's 8 GiB are allocated before anybody is asked */
    int high_water = (int)(2 * options->window_messages);
    const SocketOption marks[] = {{ZMQ_SNDHWM, high_water}, {ZMQ_RCVHWM, high_water}};
    int rc = zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &max_frame_bytes, sizeof max_frame_bytes);
    if (rc == 0)
        rc = set_all(socket, POLICY, sizeof POLICY / sizeof *POLICY);
    if (rc == 0)
        rc = set_all(socket, marks, 2);
    if (rc == 0 && is_router)
        rc = set_all(socket, ROUTER_POLICY, sizeof ROUTER_POLICY / sizeof *ROUTER_POLICY);
    if (rc == 0 && !is_router)
        rc = set_all(socket, DEALER_POLICY, sizeof DEALER_POLICY / sizeof *DEALER_POLICY);
    return rc ? rc : set_id(socket, options->incarnation);
}

Err network_socket(Network *n, bool is_router, const LinkOptions *options, void **out) {
    assert(options->incarnation && options->window_messages && options->window_messages < 1 << 30);
    void *socket = zmq_socket(n->zmq, is_router ? ZMQ_ROUTER : ZMQ_DEALER);
    if (socket && apply_policy(socket, is_router, options) == 0) {
        *out = socket;
        return OK;
    }
    Err err = err_fail(ERR_FAILED, "cannot open a socket: %s", zmq_strerror(errno));
    if (socket)
        zmq_close(socket);
    return err;
}

static const char *reason(int error) {
    return error == ENODEV ? "this host has no such address or interface" : zmq_strerror(error);
}

Err network_bind(void *socket, const char *address, char *endpoint) {
    size_t size = ENDPOINT_BYTES;
    if (zmq_bind(socket, address) || zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size))
        return err_fail(ERR_FAILED, "cannot listen on %s: %s", endpoint, reason(errno));
    return OK;
}

Err network_connect(void *socket, const char *address, const char *endpoint) {
    if (zmq_connect(socket, address))
        return err_fail(ERR_FAILED, "cannot dial %s: %s", endpoint, reason(errno));
    return OK;
}

void network_socket_close(void *socket, int linger_ms) {
    if (linger_ms >= 0)
        zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_close(socket);
}

static int read_option(void *socket, int option) {
    int rc, value = 0;
    size_t size = sizeof value;
    do
        rc = zmq_getsockopt(socket, option, &value, &size);
    while (rc < 0 && errno == EINTR);
    assert(rc == 0); /* the socket is open and the option an int's */
    return value;
}

int network_descriptor(void *socket) {
    return read_option(socket, ZMQ_FD);
}

bool network_is_readable(void *socket) {
    return read_option(socket, ZMQ_EVENTS) & ZMQ_POLLIN;
}

/* Takes the part, also on error. */
static int send_part(void *socket, zmq_msg_t *part, bool has_more) {
    int rc, flags = ZMQ_DONTWAIT | (has_more ? ZMQ_SNDMORE : 0);
    do
        rc = zmq_msg_send(part, socket, flags);
    while (rc < 0 && errno == EINTR);
    int error = rc < 0 ? errno : 0;
    if (error)
        zmq_msg_close(part);
    return error;
}

int network_send_copy(void *socket, const void *data, size_t size_bytes, bool has_more) {
    zmq_msg_t part;
    if (zmq_msg_init_size(&part, size_bytes))
        log_die(ERR_MEMORY, "out of memory: a message of %zu bytes", size_bytes);
    memcpy(zmq_msg_data(&part), data, size_bytes);
    return send_part(socket, &part, has_more);
}

int network_send_id(void *socket, uint64_t peer) {
    uint8_t id[ID_BYTES];
    write_id(id, peer);
    return network_send_copy(socket, id, sizeof id, true);
}

bool network_read_id(const Frame *part, uint64_t *peer) {
    const uint8_t *id = part->data;
    *peer = 0;
    if (part->size_bytes != ID_BYTES || id[0] != 'M')
        return false;
    for (int i = 0; i < 8; i++)
        *peer |= (uint64_t)id[1 + i] << 8 * i;
    return *peer != 0;
}

static void release_sent(void *data, void *buffer) { /* on ZeroMQ's thread */
    (void)data;
    buffer_unref(buffer);
}

int network_send_frame(void *socket, const Frame *frame, bool has_more) {
    zmq_msg_t part;
    buffer_ref(frame->buffer);
    if (zmq_msg_init_data(&part, frame->data, frame->size_bytes, release_sent, frame->buffer))
        log_die(ERR_MEMORY, "out of memory: a message");
    return send_part(socket, &part, has_more);
}

static void close_received(void *data) {
    zmq_msg_close(data);
}

/* ZeroMQ's message lives in the buffer, and goes with it. */
bool network_receive(void *socket, Frame *part, bool *has_more) {
    int rc;
    Buffer *buffer = buffer_new(sizeof(zmq_msg_t));
    zmq_msg_t *message = buffer_data(buffer);
    zmq_msg_init(message);
    buffer_on_free(buffer, close_received);
    do
        rc = zmq_msg_recv(message, socket, ZMQ_DONTWAIT);
    while (rc < 0 && errno == EINTR);
    if (rc < 0) {
        buffer_unref(buffer);
        return false;
    }
    *has_more = zmq_msg_more(message);
    *part = (Frame){.data = zmq_msg_data(message), .size_bytes = zmq_msg_size(message), .buffer = buffer};
    return true;
}

/* ZeroMQ allocates each large part that comes in. Left alone, the C library gives the memory back to the system as soon
 * as the part is freed, and the next one begins with a fault and a cleared page for every 4 KiB. */
static void keep_memory(void) {
    mallopt(M_MMAP_THRESHOLD, 2 * MAX_FRAME_BYTES);
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
}

Err network_open(Network **out, Loop *loop) {
    void *zmq = zmq_ctx_new();
    if (!zmq)
        return err_fail(ERR_FAILED, "cannot open ZeroMQ: %s", zmq_strerror(errno));
    keep_memory();
    *out = must_calloc(1, sizeof **out);
    **out = (Network){.zmq = zmq, .loop = loop};
    return OK;
}

void network_close(Network **out, int linger_ms) {
    Network *n = *out;
    if (!n)
        return;
    uint64_t deadline_ms = clock_ms() + (uint64_t)linger_ms;
    while (n->links) {
        Link *link = n->links;
        link_close_by(&link, deadline_ms);
    }
    while (zmq_ctx_term(n->zmq) && errno == EINTR)
        continue;
    free(n);
    *out = NULL;
}

uint64_t network_new_incarnation(void) {
    uint64_t incarnation = 0;
    while (incarnation == 0)
        if (getrandom(&incarnation, sizeof incarnation, 0) != (ssize_t)sizeof incarnation)
            incarnation = 0;
    return incarnation;
}
