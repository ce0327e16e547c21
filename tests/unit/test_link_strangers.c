/* The link against those who send too much, or who are no mangrove process at all.
 * link: mg_proto */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "link_fixture.h"
#include "proto/quarantine.h"

/* ---- who sends what is no message ------------------------------------------------------------------------------- */

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

static void send_garbage_and_more(Raw *r) {
    assert_int_equal(zmq_send(r->socket, "garbage", 7, ZMQ_SNDMORE), 7);
    send_frames(r, MESSAGE_MAX_FRAMES + 10, 4);
}

static void send_under_another_name(Raw *r) {
    r->incarnation++;
    raw_send_header(r, MESSAGE_HELLO, false);
    r->incarnation--;
}

static void send_a_long_map(Raw *r) {
    static uint8_t bytes[MESSAGE_HEADER_BYTES + 4097] = "MGRV\x02\x00\x01";
    bytes[16] = 5;
    assert_int_equal(zmq_send(r->socket, bytes, sizeof bytes, 0), sizeof bytes);
}

static const BadSender BAD_SENDERS[] = {
    {5, send_garbage, "the message's first frame has 7 bytes, its header needs 32"},
    {5, send_garbage_and_more, "the message's first frame has 7 bytes, its header needs 32"},
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

/* ---- who speaks ZMTP by hand ------------------------------------------------------------------------------------ */

static const uint8_t GREETING[64] = {0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0, 'N', 'U', 'L', 'L'};
static const uint8_t READY[] = "\x04\x1c\x05READY\x0bSocket-Type\x00\x00\x00\x06"
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
        assert_true(resident_bytes() - before < 16l * MIB); /* 2 MiB of a frame, and room for noise */
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

/* ---- who was dropped -------------------------------------------------------------------------------------------- */

static void the_quarantine_reports_each_peer_once_and_forgets_the_oldest(void **state) {
    (void)state;
    static Quarantine q;
    const QuarantineEntry *entry;
    assert_false(quarantine_has(&q, 0));
    assert_true(quarantine_add(&q, 0, "no name"));
    assert_false(quarantine_add(&q, 0, "no name, again"));
    assert_false(quarantine_has(&q, 0));
    for (uint64_t peer = 1; peer <= QUARANTINE_PEERS + 2; peer++)
        assert_true(quarantine_add(&q, peer, "a reason"));
    assert_false(quarantine_has(&q, 2));
    assert_true(quarantine_has(&q, 3));
    for (uint64_t peer = 3; (entry = quarantine_next_news(&q)); peer++) {
        assert_int_equal(entry->peer, peer);
        assert_string_equal(entry->sentence, "a reason");
    }
    assert_false(quarantine_news(&q));
    assert_false(quarantine_add(&q, 5, "again"));
    assert_false(quarantine_news(&q));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_message_is_drained_and_its_sender_dropped_and_named),
        cmocka_unit_test(the_largest_message_passes),
        cmocka_unit_test(garbage_from_a_dialled_server_is_reported),
        cmocka_unit_test(eight_GiB_that_a_stranger_claims_are_not_allocated),
        cmocka_unit_test(a_stranger_who_says_nothing_is_cut),
        cmocka_unit_test(the_quarantine_reports_each_peer_once_and_forgets_the_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
