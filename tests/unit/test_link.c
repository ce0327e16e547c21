/* The link delivers: everything, in order, aligned, to peers that come, go and return.
 * link: mg_proto */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "link_fixture.h"
#include "proto/network.h"

/* ---- the socket policy --------------------------------------------------------------------------------------------
 */

static int int_option(void *socket, int option) {
    int value = -12345;
    size_t size = sizeof value;
    assert_int_equal(zmq_getsockopt(socket, option, &value, &size), 0);
    return value;
}

static void every_socket_follows_the_policy(void **state) {
    (void)state;
    static const struct {
        int option, value;
    } wanted[] = {{ZMQ_LINGER, 1000},         {ZMQ_HANDSHAKE_IVL, 3000},
                  {ZMQ_RECONNECT_IVL, 100},   {ZMQ_RECONNECT_IVL_MAX, 5000},
                  {ZMQ_HEARTBEAT_IVL, 2000},  {ZMQ_HEARTBEAT_TIMEOUT, 10000},
                  {ZMQ_HEARTBEAT_TTL, 10000}, {ZMQ_TCP_KEEPALIVE, 1},
                  {ZMQ_BACKLOG, 1024},        {ZMQ_IPV6, 0},
                  {ZMQ_SNDHWM, 24},           {ZMQ_RCVHWM, 24},
                  {ZMQ_CONNECT_TIMEOUT, 5000}};
    Bench b;
    Side s = {.incarnation = 0x1122334455667788};
    LinkOptions options = side_options(&s, 12);
    bench_open(&b);
    for (int is_router = 0; is_router < 2; is_router++) {
        void *socket;
        int64_t max_bytes;
        uint8_t id[16];
        size_t size = sizeof max_bytes, id_bytes = sizeof id;
        assert_int_equal(network_socket(b.network, is_router, &options, &socket), OK);
        for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
            assert_int_equal(int_option(socket, wanted[i].option), wanted[i].value);
        assert_int_equal(zmq_getsockopt(socket, ZMQ_MAXMSGSIZE, &max_bytes, &size), 0);
        assert_int_equal(max_bytes, 2 << 20);
        assert_int_equal(zmq_getsockopt(socket, ZMQ_ROUTING_ID, id, &id_bytes), 0);
        assert_int_equal(id_bytes, 9);
        assert_memory_equal(id, "M\x88\x77\x66\x55\x44\x33\x22\x11", 9);
        assert_int_equal(int_option(socket, ZMQ_TYPE), is_router ? ZMQ_ROUTER : ZMQ_DEALER);
        if (!is_router)
            assert_int_equal(int_option(socket, ZMQ_IMMEDIATE), 1);
        network_socket_close(socket, 0);
    }
    bench_close(&b);
}

/* ---- delivery -----------------------------------------------------------------------------------------------------
 */

typedef struct Unaligned {
    Side side;
    int n_unaligned, n_wrong;
} Unaligned;

static void check_frames(void *ctx, Link *link, uint64_t peer, Message *m) {
    Unaligned *u = ctx;
    (void)link, (void)peer;
    size_t key_bytes, value_bytes;
    u->n_unaligned += (uintptr_t)m->frames[0].data % 8 != 0;
    const uint64_t *keys = message_bytes(m, 0, 1, &key_bytes);
    const float *values = message_bytes(m, 1, 1, &value_bytes);
    if ((uintptr_t)keys % 8 || (uintptr_t)values % 8 || value_bytes != key_bytes / 2)
        u->n_wrong++;
    for (size_t i = 0; i < key_bytes / 8; i++)
        u->n_wrong += keys[i] != m->sequence * 1000 + i || values[i] != (float)(m->sequence + i) / 8;
    u->side.n_received++;
}

static bool has_200(void *ctx) {
    return ((Side *)ctx)->n_received >= 200;
}

static void small_frames_arrive_unaligned_and_are_read_right(void **state) {
    (void)state;
    Bench b;
    Unaligned u = {.n_unaligned = 0};
    Side client = {0};
    bench_open(&b);
    LinkOptions options = side_options(&u.side, 400);
    options.receive = check_frames;
    options.ctx = &u;
    assert_int_equal(link_listen(&u.side.link, b.network, "tcp://127.0.0.1:0", &options), OK);
    side_dial(&client, &b, link_endpoint(u.side.link), 400);
    for (uint64_t n = 1; n <= 200; n++) {
        Message m;
        message_init(&m, MESSAGE_PUSH);
        m.sequence = n;
        uint64_t *keys = message_add_frame(&m, n * 8);
        float *values = message_add_frame(&m, n * 4);
        for (uint64_t i = 0; i < n; i++)
            keys[i] = n * 1000 + i, values[i] = (float)(n + i) / 8;
        assert_int_equal(link_send(client.link, 0, &m), OK);
    }
    bench_wait(&b, has_200, &u);
    assert_int_equal(u.n_wrong, 0);
    assert_true(u.n_unaligned > 0); /* else this case proved nothing */
    bench_close(&b);
}

static bool has_5000(void *ctx) {
    return ((Side *)ctx)->n_received >= 5000;
}

static void five_thousand_messages_pass_the_edge_triggered_descriptor(void **state) {
    (void)state;
    Bench b;
    Side server = {0}, client = {0};
    bench_open(&b);
    side_listen(&server, &b, 5000);
    side_dial(&client, &b, link_endpoint(server.link), 5000);
    for (uint64_t i = 1; i <= 5000; i++)
        assert_int_equal(side_send(&client, 0, i, 8), OK);
    bench_wait(&b, has_5000, &server);
    assert_true(server.is_in_order);
    assert_int_equal(server.last_peer, client.incarnation);
    assert_int_equal(link_stats(server.link).received_messages, 5000);
    bench_close(&b);
}

/* Each reply lets the next request go: both sides send inside their handlers, which eats edges. */
static void next_request(void *ctx, Link *link, uint64_t peer, Message *m) {
    Side *s = ctx;
    side_receive(s, link, peer, m);
    if (s->n_received < 5000)
        assert_int_equal(side_send(s, 0, m->sequence + 1, 400), OK);
}

static void five_thousand_round_trips_never_stall(void **state) {
    (void)state;
    Bench b;
    Side server = {.is_echo = true}, client = {0};
    bench_open(&b);
    side_listen(&server, &b, 8);
    LinkOptions options = side_options(&client, 8);
    options.receive = next_request;
    assert_int_equal(link_dial(&client.link, b.network, link_endpoint(server.link), &options), OK);
    assert_int_equal(side_send(&client, 0, 1, 400), OK);
    bench_wait(&b, has_5000, &client);
    assert_int_equal(client.last_peer, server.incarnation);
    bench_close(&b);
}

typedef struct Background {
    char endpoint[128];
    int n_received;
} Background;

static void stop_after_1000(void *ctx, Link *link, uint64_t peer, Message *m) {
    Side *s = ctx;
    next_request(ctx, link, peer, m);
    if (s->n_received == 1000)
        loop_stop((Loop *)(uintptr_t)s->sum);
}

/* No timer in this loop: it must stay because it was not stopped, and wake up from the socket alone. */
static void *run_client(void *ctx) {
    Background *background = ctx;
    Bench b;
    Side client = {0};
    bench_open(&b);
    client.sum = (uintptr_t)b.loop;
    LinkOptions options = side_options(&client, 8);
    options.receive = stop_after_1000;
    if (link_dial(&client.link, b.network, background->endpoint, &options) == OK &&
        side_send(&client, 0, 1, 100000) == OK)
        loop_run(b.loop);
    background->n_received = client.n_received;
    bench_close(&b);
    return NULL;
}

static bool has_1000(void *ctx) {
    return ((Side *)ctx)->n_received >= 1000;
}

static void two_loops_in_two_threads_talk_without_any_timer_s_help(void **state) {
    (void)state;
    Bench b;
    Side server = {.is_echo = true};
    Background background = {.n_received = 0};
    pthread_t thread;
    bench_open(&b);
    side_listen(&server, &b, 8);
    snprintf(background.endpoint, sizeof background.endpoint, "%s", link_endpoint(server.link));
    assert_int_equal(pthread_create(&thread, NULL, run_client, &background), 0);
    bench_wait(&b, has_1000, &server);
    network_close(&b.network, 5000); /* the last reply */
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(background.n_received, 1000);
    loop_close(&b.loop);
}

/* ---- peers come and go --------------------------------------------------------------------------------------------
 */

static void a_peer_that_vanished_is_heard_when_it_returns(void **state) {
    (void)state;
    Bench b;
    Side server = {0}, before = {0}, after = {0};
    bench_open(&b);
    side_listen(&server, &b, 8);
    side_dial(&before, &b, link_endpoint(server.link), 8);
    assert_int_equal(side_send(&before, 0, 1, 0), OK);
    bench_wait(&b, side_has_heard, &server);
    /* The old connection is still there, as after a loss without a FIN; the process dials again under its name. */
    server.n_received = 0;
    after.incarnation = before.incarnation;
    side_dial(&after, &b, link_endpoint(server.link), 8);
    assert_int_equal(side_send(&after, 0, 2, 0), OK);
    bench_wait(&b, side_has_heard, &server);
    assert_int_equal(side_send(&server, before.incarnation, 3, 0), OK);
    bench_wait(&b, side_has_heard, &after);
    assert_int_equal(before.n_received, 0);
    bench_close(&b);
}

static bool is_gone(void *ctx) {
    Side *server = ctx;
    return side_send(server, server->last_peer, 9, 0) == ERR_PEER;
}

static void a_peer_that_left_is_an_error_and_its_successor_another_peer(void **state) {
    (void)state;
    Bench b;
    Side server = {0}, first = {0}, second = {0};
    bench_open(&b);
    side_listen(&server, &b, 8);
    side_dial(&first, &b, link_endpoint(server.link), 8);
    assert_int_equal(side_send(&first, 0, 1, 0), OK);
    bench_wait(&b, side_has_heard, &server);
    link_close(&first.link);
    assert_null(first.link);
    bench_wait(&b, is_gone, &server);
    assert_non_null(strstr(err_message(), "is not connected"));
    assert_int_equal(server.n_faults, 0); /* who leaves is not at fault */
    server.n_received = 0;
    side_dial(&second, &b, link_endpoint(server.link), 8);
    assert_int_equal(side_send(&second, 0, 1, 0), OK);
    bench_wait(&b, side_has_heard, &server);
    assert_true(server.last_peer == second.incarnation);
    bench_close(&b);
}

static bool sends_until_heard(void *ctx) {
    Side **sides = ctx; /* server, client */
    if (link_stats(sides[1]->link).queued_messages == 0)
        assert_int_equal(side_send(sides[1], 0, 1, 0), OK);
    return side_has_heard(sides[0]);
}

static void a_dialled_link_finds_a_restarted_server(void **state) {
    (void)state;
    Bench b;
    Side first = {0}, second = {.is_echo = true}, client = {0};
    char endpoint[128];
    bench_open(&b);
    side_listen(&first, &b, 8);
    snprintf(endpoint, sizeof endpoint, "%s", link_endpoint(first.link));
    side_dial(&client, &b, endpoint, 8);
    assert_int_equal(side_send(&client, 0, 1, 0), OK);
    bench_wait(&b, side_has_heard, &first);
    link_close(&first.link);
    LinkOptions options = side_options(&second, 8);
    for (uint64_t end_ms = clock_ms() + DEADLINE_MS; link_listen(&second.link, b.network, endpoint, &options);)
        assert_true(clock_ms() < end_ms); /* ZeroMQ's thread closes the old port soon */
    Side *sides[] = {&second, &client};
    bench_wait(&b, sends_until_heard, sides);
    bench_wait(&b, side_has_heard, &client);
    assert_true(client.last_peer == second.incarnation);
    bench_close(&b);
}

/* An endpoint where nobody listens. A link that is closed again would not do: ZeroMQ's thread closes its port later. */
static void free_endpoint(char *endpoint, size_t size) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t address_bytes = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, address_bytes), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &address_bytes), 0);
    assert_int_equal(close(fd), 0);
    snprintf(endpoint, size, "tcp://127.0.0.1:%d", ntohs(address.sin_port));
}

static bool has_4(void *ctx) {
    return ((Side *)ctx)->n_received >= 4;
}

static void messages_wait_for_a_listener_in_the_window(void **state) {
    (void)state;
    Bench b;
    Side server = {0}, client = {0};
    char endpoint[64];
    bench_open(&b);
    free_endpoint(endpoint, sizeof endpoint);
    side_dial(&client, &b, endpoint, 4);
    for (uint64_t i = 1; i <= 4; i++)
        assert_int_equal(side_send(&client, 0, i, 100), OK);
    assert_int_equal(side_send(&client, 0, 5, 100), ERR_PEER);
    assert_int_equal(link_stats(client.link).queued_messages, 4);
    assert_int_equal(link_stats(client.link).queued_bytes, 400);
    LinkOptions options = side_options(&server, 4);
    assert_int_equal(link_listen(&server.link, b.network, endpoint, &options), OK);
    bench_wait(&b, has_4, &server);
    assert_true(server.is_in_order);
    assert_int_equal(link_stats(client.link).queued_messages, 0);
    assert_int_equal(client.n_faults, 0);
    bench_close(&b);
}

/* ---- closing ------------------------------------------------------------------------------------------------------
 */

static bool has_100(void *ctx) {
    return ((Side *)ctx)->n_received >= 100;
}

static void closing_the_network_delivers_what_was_sent(void **state) {
    (void)state;
    Bench b, other;
    Side server = {0}, client = {0};
    bench_open(&b);
    bench_open(&other);
    side_listen(&server, &b, 100);
    side_dial(&client, &other, link_endpoint(server.link), 100);
    for (uint64_t i = 1; i <= 100; i++) /* no turn of the client's loop: all of it waits in the link */
        assert_int_equal(side_send(&client, 0, i, 10000), OK);
    network_close(&other.network, DEADLINE_MS);
    loop_close(&other.loop);
    bench_wait(&b, has_100, &server);
    assert_true(server.is_in_order);
    bench_close(&b);
}

static void closing_waits_no_longer_than_its_linger(void **state) {
    (void)state;
    Bench b;
    Side client = {0};
    bench_open(&b);
    side_dial(&client, &b, "tcp://127.0.0.1:1", 4); /* nobody listens on port 1 */
    assert_int_equal(side_send(&client, 0, 1, 100), OK);
    uint64_t before_ms = clock_ms();
    network_close(&b.network, 100);
    assert_true(clock_ms() - before_ms < 5000); /* without a linger of its own ZeroMQ waits for ever */
    loop_close(&b.loop);
}

static void close_it(void *ctx, Link *link, uint64_t peer, Message *m) {
    Side *s = ctx;
    side_receive(ctx, link, peer, m);
    link_close(&s->link);
}

static void a_handler_may_close_its_link_and_keep_the_message(void **state) {
    (void)state;
    Bench b;
    Side server = {0}, client = {0};
    bench_open(&b);
    LinkOptions options = side_options(&server, 8);
    options.receive = close_it;
    assert_int_equal(link_listen(&server.link, b.network, "tcp://127.0.0.1:0", &options), OK);
    side_dial(&client, &b, link_endpoint(server.link), 8);
    for (uint64_t i = 1; i <= 8; i++)
        assert_int_equal(side_send(&client, 0, i, 20000), OK);
    bench_wait(&b, side_has_heard, &server);
    assert_int_equal(server.n_received, 1);
    assert_null(server.link);
    bench_close(&b);
}

/* ---- endpoints ----------------------------------------------------------------------------------------------------
 */

static void inproc_and_ipc_links_work_too(void **state) {
    (void)state;
    char ipc[64];
    snprintf(ipc, sizeof ipc, "ipc:///tmp/mangrove-test-%d", (int)getpid());
    const char *const endpoints[] = {"inproc://here", ipc};
    for (int i = 0; i < 2; i++) {
        Bench b;
        Side server = {.is_echo = true}, client = {0};
        bench_open(&b);
        LinkOptions options = side_options(&server, 8);
        assert_int_equal(link_listen(&server.link, b.network, endpoints[i], &options), OK);
        side_dial(&client, &b, endpoints[i], 8);
        assert_int_equal(side_send(&client, 0, 1, 100), OK);
        bench_wait(&b, side_has_heard, &client);
        bench_close(&b);
    }
}

static void an_endpoint_that_is_none_gets_its_sentence(void **state) {
    (void)state;
    static const struct {
        bool is_dialled;
        const char *endpoint, *sentence;
    } cases[] = {
        {false, "127.0.0.1:5", "it must begin with tcp://, ipc:// or inproc://"},
        {true, "udp://127.0.0.1:5", "it must begin with tcp://, ipc:// or inproc://"},
        {false, "pgm://eth0;239.1.1.1:5", "it must begin with tcp://, ipc:// or inproc://"},
        {false, "tcp://127.0.0.1", "after tcp:// an address, a colon and a port are expected"},
        {false, "tcp://:5", "after tcp:// an address, a colon and a port are expected"},
        {false, "tcp://127.0.0.1:65536", "the port must be a number from 0 to 65535 or *"},
        {false, "tcp://127.0.0.1:-1", "the port must be a number from 0 to 65535 or *"},
        {false, "tcp://127.0.0.1:", "the port must be a number from 0 to 65535 or *"},
        {false, "tcp://[::1]:5", "the address must be an IPv4 address or a host's name"},
        {true, "tcp://10.0.0.1;10.0.0.2:5", "the address must be an IPv4 address or a host's name"},
        {true, "tcp://127.0.0.1:0", "to be dialled it needs a host and a port"},
        {true, "tcp://*:5", "to be dialled it needs a host and a port"},
        {true, "tcp://no-such-host.invalid:5", "cannot resolve no-such-host.invalid"},
        {false, "tcp://192.0.2.1:0", "cannot listen on tcp://192.0.2.1:0: "}, /* an address for documents, nobody's */
        {false, "tcp://no-such-host.invalid:0", "this host has no such address or interface"},
        {false, "ipc:///nonexistent/socket", "cannot listen on ipc:///nonexistent/socket: "},
    };
    Bench b;
    Side s = {0};
    LinkOptions options = side_options(&s, 8);
    bench_open(&b);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Err err = cases[i].is_dialled ? link_dial(&s.link, b.network, cases[i].endpoint, &options)
                                      : link_listen(&s.link, b.network, cases[i].endpoint, &options);
        assert_int_equal(err, ERR_FAILED);
        if (!strstr(err_message(), cases[i].sentence) || !strstr(err_message(), cases[i].endpoint))
            fail_msg("%s: %s", cases[i].endpoint, err_message());
    }
    bench_close(&b);
}

static void an_address_in_use_is_named(void **state) {
    (void)state;
    Bench b;
    Side first = {0}, second = {0};
    char sentence[256];
    bench_open(&b);
    side_listen(&first, &b, 8);
    LinkOptions options = side_options(&second, 8);
    assert_int_equal(link_listen(&second.link, b.network, link_endpoint(first.link), &options), ERR_FAILED);
    snprintf(sentence, sizeof sentence, "cannot listen on %s: Address already in use", link_endpoint(first.link));
    assert_string_equal(err_message(), sentence);
    bench_close(&b);
}

static void a_host_s_name_can_be_listened_on(void **state) {
    (void)state;
    Bench b;
    Side s = {0};
    LinkOptions options = side_options(&s, 8);
    bench_open(&b);
    assert_int_equal(link_listen(&s.link, b.network, "tcp://localhost:*", &options), OK);
    assert_memory_equal(link_endpoint(s.link), "tcp://127.0.0.1:", 16);
    assert_int_not_equal(atoi(link_endpoint(s.link) + 16), 0);
    bench_close(&b);
}

static void private_endpoints_are_told_from_public_ones(void **state) {
    (void)state;
    static const char *const privates[] = {"tcp://127.0.0.1:0", "tcp://127.9.9.9:80", "tcp://localhost:*",
                                           "ipc:///tmp/x", "inproc://x"};
    static const char *const publics[] = {"tcp://*:5",
                                          "tcp://0.0.0.0:5",
                                          "tcp://10.0.0.1:5",
                                          "tcp://eth0:5",
                                          "tcp://127.0.0.1.example.org:5",
                                          "udp://127.0.0.1:5",
                                          ""};
    for (size_t i = 0; i < sizeof privates / sizeof *privates; i++)
        assert_true(link_is_private(privates[i]));
    for (size_t i = 0; i < sizeof publics / sizeof *publics; i++)
        assert_false(link_is_private(publics[i]));
}

static void the_local_address_is_the_one_that_reaches_the_endpoint(void **state) {
    (void)state;
    char address[64];
    assert_int_equal(link_local_address("tcp://127.0.0.1:5", address, sizeof address), OK);
    assert_string_equal(address, "tcp://127.0.0.1");
    assert_int_equal(link_local_address("inproc://x", address, sizeof address), ERR_FAILED);
    assert_int_equal(link_local_address("tcp://no-such-host.invalid:5", address, sizeof address), ERR_FAILED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_socket_follows_the_policy),
        cmocka_unit_test(small_frames_arrive_unaligned_and_are_read_right),
        cmocka_unit_test(five_thousand_messages_pass_the_edge_triggered_descriptor),
        cmocka_unit_test(five_thousand_round_trips_never_stall),
        cmocka_unit_test(two_loops_in_two_threads_talk_without_any_timer_s_help),
        cmocka_unit_test(a_peer_that_vanished_is_heard_when_it_returns),
        cmocka_unit_test(a_peer_that_left_is_an_error_and_its_successor_another_peer),
        cmocka_unit_test(a_dialled_link_finds_a_restarted_server),
        cmocka_unit_test(messages_wait_for_a_listener_in_the_window),
        cmocka_unit_test(closing_the_network_delivers_what_was_sent),
        cmocka_unit_test(closing_waits_no_longer_than_its_linger),
        cmocka_unit_test(a_handler_may_close_its_link_and_keep_the_message),
        cmocka_unit_test(inproc_and_ipc_links_work_too),
        cmocka_unit_test(an_endpoint_that_is_none_gets_its_sentence),
        cmocka_unit_test(an_address_in_use_is_named),
        cmocka_unit_test(a_host_s_name_can_be_listened_on),
        cmocka_unit_test(private_endpoints_are_told_from_public_ones),
        cmocka_unit_test(the_local_address_is_the_one_that_reaches_the_endpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
