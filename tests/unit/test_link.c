/* The link delivers: everything, in order, aligned, under one socket policy.
 * link: mg_proto */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "link_fixture.h"
#include "proto/network.h"

/* ---- the socket policy ------------------------------------------------------------------------------------------ */

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
            assert_int_equal(int_option(socket, ZMQ_IMMEDIATE), 0);
        network_socket_close(socket, 0);
    }
    bench_close(&b);
}

/* ---- delivery --------------------------------------------------------------------------------------------------- */

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

static void five_thousand_messages_pass_the_edge_triggered_descriptor(void **state) {
    (void)state;
    Bench b;
    Side server = {.n_wanted = 5000}, client = {0};
    bench_open(&b);
    server.loop = b.loop;
    side_listen(&server, &b, 5000);
    side_dial(&client, &b, link_endpoint(server.link), 5000);
    for (uint64_t i = 1; i <= 5000; i++)
        assert_int_equal(side_send(&client, 0, i, 8), OK);
    bench_run(&b);
    assert_int_equal(server.n_received, 5000);
    assert_true(server.is_in_order);
    assert_int_equal(server.last_peer, client.incarnation);
    assert_int_equal(link_stats(server.link).received_messages, 5000);
    bench_close(&b);
}

/* Each reply lets the next request go: both sides send inside their handlers, which eats edges. */
static void next_request(void *ctx, Link *link, uint64_t peer, Message *m) {
    Side *s = ctx;
    side_receive(s, link, peer, m);
    if (s->n_received < s->n_wanted)
        assert_int_equal(side_send(s, 0, m->sequence + 1, 400), OK);
}

static void five_thousand_round_trips_never_stall(void **state) {
    (void)state;
    Bench b;
    Side server = {.is_echo = true}, client = {.n_wanted = 5000};
    bench_open(&b);
    client.loop = b.loop;
    side_listen(&server, &b, 8);
    LinkOptions options = side_options(&client, 8);
    options.receive = next_request;
    assert_int_equal(link_dial(&client.link, b.network, link_endpoint(server.link), &options), OK);
    assert_int_equal(side_send(&client, 0, 1, 400), OK);
    bench_run(&b);
    assert_int_equal(client.n_received, 5000);
    assert_int_equal(client.last_peer, server.incarnation);
    bench_close(&b);
}

enum { FLOOD = 2000, WORK_US = 100 };

typedef struct Flood {
    Side server;
    int n_ticks;
} Flood;

static void work_a_little(void *ctx, Link *link, uint64_t peer, Message *m) {
    Flood *f = ctx;
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do
        clock_gettime(CLOCK_MONOTONIC, &now);
    while ((now.tv_sec - start.tv_sec) * 1000000 + (now.tv_nsec - start.tv_nsec) / 1000 < WORK_US);
    side_receive(&f->server, link, peer, m);
}

static void tick(void *ctx) {
    ((Flood *)ctx)->n_ticks++;
}

static bool is_flooded(void *ctx) {
    return ((Flood *)ctx)->server.n_received == FLOOD;
}

static void a_flood_leaves_the_loop_to_others_every_few_milliseconds(void **state) {
    (void)state;
    Bench b;
    Flood f = {.n_ticks = 0};
    Side client = {0};
    bench_open(&b);
    LinkOptions options = side_options(&f.server, FLOOD);
    options.receive = work_a_little;
    options.ctx = &f;
    assert_int_equal(link_listen(&f.server.link, b.network, "tcp://127.0.0.1:0", &options), OK);
    side_dial(&client, &b, link_endpoint(f.server.link), FLOOD);
    for (uint64_t i = 1; i <= FLOOD; i++)
        assert_int_equal(side_send(&client, 0, i, 8), OK);
    loop_timer(b.loop, 1, 1, tick, &f);
    bench_wait(&b, is_flooded, &f);
    assert_true(f.n_ticks >= FLOOD * WORK_US / 1000 / 10); /* 200 ms of work in turns of at most 10 ms */
    bench_close(&b);
}

typedef struct Background {
    char endpoint[128];
    int n_received;
} Background;

/* No timer in this loop: it must stay because it was not stopped, and wake up from the socket alone. */
static void *run_client(void *ctx) {
    Background *background = ctx;
    Bench b;
    Side client = {.n_wanted = 1000};
    bench_open(&b);
    client.loop = b.loop;
    LinkOptions options = side_options(&client, 8);
    options.receive = next_request;
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_socket_follows_the_policy),
        cmocka_unit_test(small_frames_arrive_unaligned_and_are_read_right),
        cmocka_unit_test(five_thousand_messages_pass_the_edge_triggered_descriptor),
        cmocka_unit_test(five_thousand_round_trips_never_stall),
        cmocka_unit_test(a_flood_leaves_the_loop_to_others_every_few_milliseconds),
        cmocka_unit_test(two_loops_in_two_threads_talk_without_any_timer_s_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
