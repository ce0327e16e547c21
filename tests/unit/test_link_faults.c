/* The link against those who do not read, who send too much, or who are no mangrove process at all.
 * link: mg_proto */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "link_fixture.h"

enum { MIB = 1 << 20 };

/* ---- who does not read --------------------------------------------------------------------------------------------
 */

enum { WINDOW = 4, WINDOW_BYTES = 2 * MIB };

typedef struct Blocked {
    Bench bench;
    Side server, healthy;
    Raw raw;
    uint64_t n_accepted;
} Blocked;

/* A server with a small window, a peer that has said hello and does not read, and one that does. */
static void blocked_open(Blocked *b) {
    *b = (Blocked){.healthy.is_echo = false};
    bench_open(&b->bench);
    LinkOptions options = side_options(&b->server, WINDOW);
    options.window_bytes = WINDOW_BYTES;
    assert_int_equal(link_listen(&b->server.link, b->bench.network, "tcp://127.0.0.1:0", &options), OK);
    raw_open(&b->raw, link_endpoint(b->server.link), 77);
    raw_send_header(&b->raw, MESSAGE_HELLO, false);
    bench_wait(&b->bench, side_has_heard, &b->server);
    b->server.n_received = 0;
    side_dial(&b->healthy, &b->bench, link_endpoint(b->server.link), WINDOW);
    assert_int_equal(side_send(&b->healthy, 0, 1, 0), OK);
    bench_wait(&b->bench, side_has_heard, &b->server);
}

static void blocked_close(Blocked *b) {
    raw_close(&b->raw);
    bench_close(&b->bench);
}

/* Sends 1 MiB messages until ZeroMQ takes no more and one waits in the link. The kernel's buffers grow for a while, so
 * that it does not wait for ever: call again. */
static bool fills_the_pipe(void *ctx) {
    Blocked *b = ctx;
    for (int i = 0; i < 4 && link_stats(b->server.link).queued_messages == 0; i++)
        assert_int_equal(side_send(&b->server, 77, ++b->n_accepted, MIB), OK);
    return link_stats(b->server.link).queued_messages > 0;
}

static long resident_bytes(void) {
    long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &pages, &resident), 2);
    fclose(f);
    return resident * sysconf(_SC_PAGESIZE);
}

/* Until the link has had enough of the peer. */
static bool fills_the_queue(void *ctx) {
    Blocked *b = ctx;
    while (b->server.n_faults == 0 && side_send(&b->server, 77, ++b->n_accepted, MIB) == OK) {
        assert_true(link_stats(b->server.link).queued_bytes <= WINDOW_BYTES);
        assert_true(b->n_accepted < 1000);
    }
    return b->server.n_faults > 0;
}

static void a_peer_that_never_reads_is_dropped_with_its_memory_bounded(void **state) {
    (void)state;
    Blocked b;
    blocked_open(&b);
    long before = resident_bytes();
    bench_wait(&b.bench, fills_the_pipe, &b);
    bench_wait(&b.bench, fills_the_queue, &b);
    /* 2 x WINDOW messages in ZeroMQ here, WINDOW_BYTES in the link, the kernel's buffers of the connection (6 MiB and
     * 4 MiB where they have grown to Linux's bounds), one message or two under way in either ZeroMQ */
    assert_in_range(b.n_accepted, 2 * WINDOW, 2 * WINDOW + 2 + 10 + 4 + 1);
    assert_true(resident_bytes() - before <= 40l * MIB);
    assert_int_equal(b.server.fault_peer, 77);
    assert_int_equal(b.server.n_faults, 1);
    assert_non_null(strstr(b.server.sentence, "does not read"));
    assert_int_equal(link_stats(b.server.link).dropped_peers, 1);
    assert_int_equal(link_stats(b.server.link).queued_bytes, 0);
    assert_int_equal(side_send(&b.server, 77, 1, 0), ERR_PEER);
    assert_non_null(strstr(err_message(), "has been dropped"));
    blocked_close(&b);
}

static bool has_500_while_blocked(void *ctx) {
    Blocked *b = ctx;
    return fills_the_pipe(b) && b->healthy.n_received >= 500;
}

static void ask_again(void *ctx, Link *link, uint64_t peer, Message *m) {
    side_receive(ctx, link, peer, m);
    assert_int_equal(side_send(ctx, 0, m->sequence + 1, 0), OK);
}

static void echo_to_the_healthy(void *ctx, Link *link, uint64_t peer, Message *m) {
    side_receive(ctx, link, peer, m);
    if (peer != 77)
        assert_int_equal(side_send(ctx, peer, m->sequence, 0), OK);
}

static void others_are_served_while_a_peer_is_blocked(void **state) {
    (void)state;
    Blocked b = {.n_accepted = 0};
    bench_open(&b.bench);
    LinkOptions options = side_options(&b.server, WINDOW);
    options.receive = echo_to_the_healthy;
    assert_int_equal(link_listen(&b.server.link, b.bench.network, "tcp://127.0.0.1:0", &options), OK);
    raw_open(&b.raw, link_endpoint(b.server.link), 77);
    raw_send_header(&b.raw, MESSAGE_HELLO, false);
    bench_wait(&b.bench, side_has_heard, &b.server);
    bench_wait(&b.bench, fills_the_pipe, &b);
    options = side_options(&b.healthy, WINDOW);
    options.receive = ask_again;
    assert_int_equal(link_dial(&b.healthy.link, b.bench.network, link_endpoint(b.server.link), &options), OK);
    assert_int_equal(side_send(&b.healthy, 0, 1, 0), OK);
    uint64_t before_ms = clock_ms();
    bench_wait(&b.bench, has_500_while_blocked, &b);
    assert_true(clock_ms() - before_ms < 5000); /* 10 ms each: 500 round trips that waited for the retry timer */
    assert_int_equal(b.server.n_faults, 0);
    blocked_close(&b);
}

static bool stays_blocked(void *ctx) {
    fills_the_pipe(ctx);
    return false;
}

static void a_blocked_peer_does_not_make_the_loop_spin(void **state) {
    (void)state;
    Blocked b;
    blocked_open(&b);
    bench_wait(&b.bench, fills_the_pipe, &b);
    clock_t before = clock();
    assert_false(bench_wait_for(&b.bench, 500, stays_blocked, &b));
    double cpu_s = (double)(clock() - before) / CLOCKS_PER_SEC;
    assert_true(cpu_s <
                0.25); /* of 0.5; a loop that spins uses all of it, this one a few hundredths for its 1 ms timer */
    blocked_close(&b);
}

typedef struct Reader {
    Blocked *blocked;
    LoopWake *wake;
    uint64_t n_wanted, n_read;
    bool is_in_order;
} Reader;

/* Reads PUSH messages of one frame whose bytes all are the low byte of its number. */
static void *read_all(void *ctx) {
    Reader *r = ctx;
    static char bytes[MIB];
    r->is_in_order = true;
    while (r->n_read < r->n_wanted) {
        if (zmq_recv(r->blocked->raw.socket, bytes, sizeof bytes, 0) < 0 ||
            zmq_recv(r->blocked->raw.socket, bytes, sizeof bytes, 0) != MIB)
            break;
        r->n_read++;
        r->is_in_order = r->is_in_order && bytes[0] == (char)r->n_read && bytes[MIB - 1] == (char)r->n_read;
    }
    loop_wake(r->wake);
    return NULL;
}

static void stop(void *ctx) {
    loop_stop(ctx);
}

/* No other timer runs in this loop than the link's own. */
static void a_blocked_peer_that_reads_again_gets_everything_in_order(void **state) {
    (void)state;
    Blocked b;
    Reader r = {.blocked = &b};
    pthread_t thread;
    blocked_open(&b);
    bench_wait(&b.bench, fills_the_pipe, &b);
    r.n_wanted = b.n_accepted;
    r.wake = loop_wake_open(b.bench.loop, stop, b.bench.loop);
    assert_int_equal(pthread_create(&thread, NULL, read_all, &r), 0);
    loop_run(b.bench.loop);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(r.n_read, r.n_wanted);
    assert_true(r.is_in_order);
    assert_int_equal(link_stats(b.server.link).queued_messages, 0);
    blocked_close(&b);
}

/* ---- who sends what is no message ---------------------------------------------------------------------------------
 */

typedef struct BadSender {
    uint64_t incarnation; /* 0: none, ZeroMQ gives the connection an id */
    void (*send)(Raw *r);
    const char *sentence;
} BadSender;

static void send_frames(Raw *r, int n, size_t size_bytes) {
    void *bytes = calloc(1, size_bytes);
    raw_send_header(r, MESSAGE_PUSH, true);
    for (int i = 0; i < n; i++)
        assert_int_equal(zmq_send(r->socket, bytes, size_bytes, i + 1 < n ? ZMQ_SNDMORE : 0), size_bytes);
    free(bytes);
}

static void send_too_many(Raw *r) {
    send_frames(r, MESSAGE_MAX_FRAMES + 1, 4);
}

static void send_too_large(Raw *r) {
    send_frames(r, 1, MESSAGE_FRAME_BYTES + 1);
}

static void send_too_much(Raw *r) {
    send_frames(r, MESSAGE_MAX_BYTES / MESSAGE_FRAME_BYTES + 1, MESSAGE_FRAME_BYTES);
}

static void send_garbage(Raw *r) {
    assert_int_equal(zmq_send(r->socket, "garbage", 7, 0), 7);
}

static void send_under_another_name(Raw *r) {
    r->incarnation++;
    raw_send_header(r, MESSAGE_HELLO, false);
    r->incarnation--;
}

static void send_a_long_map(Raw *r) {
    static uint8_t bytes[MESSAGE_HEADER_BYTES + 4097] = "MGRV\x01\x00\x01";
    bytes[16] = 5;
    assert_int_equal(zmq_send(r->socket, bytes, sizeof bytes, 0), sizeof bytes);
}

static const BadSender BAD_SENDERS[] = {
    {5, send_garbage, "the message's first frame has 7 bytes, its header needs 32"},
    {5, send_a_long_map, "HELLO: the map has 4097 bytes, the limit is 4096"},
    {5, send_under_another_name, "HELLO: the header's incarnation is not the connection's"},
    {5, send_too_many, "PUSH: over 256 frames"},
    {5, send_too_large, "PUSH: a frame has 1048577 bytes, the limit is 1048576"},
    {5, send_too_much, "PUSH: the frames have over 201326592 bytes"},
    {0, send_garbage, "somebody who is no mangrove process talks to tcp://127.0.0.1:"},
};

static void a_bad_message_is_drained_and_its_sender_dropped_and_named(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof BAD_SENDERS / sizeof *BAD_SENDERS; i++) {
        const BadSender *bad = &BAD_SENDERS[i];
        Bench b;
        Side server = {0}, good = {0};
        Raw r;
        bench_open(&b);
        side_listen(&server, &b, 8);
        raw_open(&r, link_endpoint(server.link), bad->incarnation);
        bad->send(&r);
        bench_wait(&b, side_has_fault, &server);
        assert_memory_equal(server.sentence, bad->sentence, strlen(bad->sentence));
        assert_int_equal(server.fault_peer, bad->incarnation);
        assert_int_equal(link_stats(server.link).bad_messages, 1);
        assert_int_equal(link_stats(server.link).dropped_peers, 1);
        r.incarnation = r.incarnation ? r.incarnation : 1;
        raw_send_header(&r, MESSAGE_HELLO, false); /* a good one, but from the dropped peer */
        raw_send_header(&r, MESSAGE_HELLO, false);
        side_dial(&good, &b, link_endpoint(server.link), 8);
        assert_int_equal(side_send(&good, 0, 1, 0), OK);
        bench_wait(&b, side_has_heard, &server);
        assert_true(server.last_peer == good.incarnation);
        assert_int_equal(server.n_received, 1);
        assert_int_equal(server.n_faults, 1);
        raw_close(&r);
        bench_close(&b);
    }
}

static void the_largest_message_passes(void **state) {
    (void)state;
    Bench b;
    Side server = {0};
    Raw r;
    bench_open(&b);
    side_listen(&server, &b, 8);
    raw_open(&r, link_endpoint(server.link), 5);
    send_frames(&r, MESSAGE_MAX_FRAMES, 1000);
    bench_wait(&b, side_has_heard, &server);
    assert_int_equal(server.n_bytes, MESSAGE_MAX_FRAMES * 1000);
    server.n_received = 0;
    send_frames(&r, MESSAGE_MAX_BYTES / MESSAGE_FRAME_BYTES, MESSAGE_FRAME_BYTES);
    bench_wait(&b, side_has_heard, &server);
    assert_int_equal(server.n_bytes, MESSAGE_MAX_FRAMES * 1000 + MESSAGE_MAX_BYTES);
    assert_int_equal(server.n_faults, 0);
    raw_close(&r);
    bench_close(&b);
}

static bool has_sent(void *ctx) {
    return link_stats(((Side *)ctx)->link).sent_messages > 0;
}

static void garbage_from_a_dialled_server_is_reported(void **state) {
    (void)state;
    Bench b;
    Side client = {0};
    char endpoint[128], id[32];
    size_t size = sizeof endpoint;
    void *zmq = zmq_ctx_new(), *router = zmq_socket(zmq, ZMQ_ROUTER);
    assert_int_equal(zmq_bind(router, "tcp://127.0.0.1:0"), 0);
    assert_int_equal(zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
    bench_open(&b);
    side_dial(&client, &b, endpoint, 8);
    assert_int_equal(side_send(&client, 0, 1, 0), OK);
    bench_wait(&b, has_sent, &client);
    int id_bytes = zmq_recv(router, id, sizeof id, 0);
    assert_int_equal(id_bytes, 9);
    assert_int_equal(zmq_send(router, id, (size_t)id_bytes, ZMQ_SNDMORE), id_bytes);
    assert_int_equal(zmq_send(router, "garbage", 7, 0), 7);
    bench_wait(&b, side_has_fault, &client);
    assert_int_equal(client.fault_peer, 0);
    assert_string_equal(client.sentence, "the message's first frame has 7 bytes, its header needs 32");
    int linger_ms = 0;
    zmq_setsockopt(router, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_close(router);
    zmq_ctx_term(zmq);
    bench_close(&b);
}

/* ---- who speaks ZMTP by hand --------------------------------------------------------------------------------------
 */

static const uint8_t GREETING[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};
static const uint8_t READY[] = "\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x06"
                               "DEALER"; /* and its 0: not sent */

static int tcp_dial(const char *endpoint) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)atoi(strrchr(endpoint, ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Writes until the other side cuts the connection; false if it takes everything. */
static bool is_cut_while_sending(int fd, size_t n_bytes) {
    static const uint8_t zeros[65536];
    for (size_t sent = 0; sent < n_bytes;) {
        struct pollfd ready = {.fd = fd, .events = POLLOUT};
        if (poll(&ready, 1, DEADLINE_MS) != 1)
            return false; /* not cut and not read: it does not look at us */
        ssize_t n = send(fd, zeros, sizeof zeros, MSG_NOSIGNAL);
        if (n < 0)
            return errno == ECONNRESET || errno == EPIPE;
        sent += (size_t)n;
    }
    return false;
}

static void eight_GiB_that_a_stranger_claims_are_not_allocated(void **state) {
    (void)state;
    static const uint8_t flags[] = {0x06, 0x02}; /* of a long command, before any handshake, and of a long message */
    for (size_t i = 0; i < sizeof flags; i++) {
        Bench b;
        Side server = {0};
        uint8_t frame[9] = {flags[i], 0, 0, 0, 2, 0, 0, 0, 0}; /* 8 GiB */
        bench_open(&b);
        side_listen(&server, &b, 8);
        long before = resident_bytes();
        int fd = tcp_dial(link_endpoint(server.link));
        assert_int_equal(send(fd, GREETING, sizeof GREETING, MSG_NOSIGNAL), sizeof GREETING);
        if (flags[i] == 0x02)
            assert_int_equal(send(fd, READY, sizeof READY - 1, MSG_NOSIGNAL), sizeof READY - 1);
        assert_int_equal(send(fd, frame, sizeof frame, MSG_NOSIGNAL), sizeof frame);
        assert_true(is_cut_while_sending(fd, 256u * MIB));
        assert_true(resident_bytes() - before <
                    16l * MIB); /* the limit of a frame is 2 MiB; the rest is room for noise */
        close(fd);
        bench_close(&b);
    }
}

static void a_stranger_who_says_nothing_is_cut(void **state) {
    (void)state;
    Bench b;
    Side server = {0};
    uint8_t bytes[256];
    bench_open(&b);
    side_listen(&server, &b, 8);
    int fd = tcp_dial(link_endpoint(server.link));
    uint64_t before_ms = clock_ms();
    struct timeval patience = {.tv_sec = 10};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    ssize_t n;
    while ((n = recv(fd, bytes, sizeof bytes, 0)) > 0)
        continue; /* its greeting */
    assert_true(n == 0 || errno == ECONNRESET);
    assert_in_range(clock_ms() - before_ms, 2000, 9000); /* 3 s, and a busy machine; ZeroMQ's own patience is 30 s */
    close(fd);
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_that_never_reads_is_dropped_with_its_memory_bounded),
        cmocka_unit_test(others_are_served_while_a_peer_is_blocked),
        cmocka_unit_test(a_blocked_peer_does_not_make_the_loop_spin),
        cmocka_unit_test(a_blocked_peer_that_reads_again_gets_everything_in_order),
        cmocka_unit_test(a_bad_message_is_drained_and_its_sender_dropped_and_named),
        cmocka_unit_test(the_largest_message_passes),
        cmocka_unit_test(garbage_from_a_dialled_server_is_reported),
        cmocka_unit_test(eight_GiB_that_a_stranger_claims_are_not_allocated),
        cmocka_unit_test(a_stranger_who_says_nothing_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
