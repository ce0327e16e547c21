/* Peers of the link come, go and return; what was sent before the end arrives.
 * link: mg_proto */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "link_fixture.h"

/* ---- peers come and go ------------------------------------------------------------------------------------------ */

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

enum { N_WAITING = 2 * 4 + 4 }; /* window 4: twice that in ZeroMQ, and the window in the link */

static bool has_all_waiting(void *ctx) {
    return ((Side *)ctx)->n_received >= N_WAITING;
}

static void messages_wait_for_a_listener_up_to_their_bound(void **state) {
    (void)state;
    Bench b;
    Side server = {0}, client = {0};
    char endpoint[64];
    bench_open(&b);
    free_endpoint(endpoint, sizeof endpoint);
    side_dial(&client, &b, endpoint, 4);
    for (uint64_t i = 1; i <= N_WAITING; i++)
        assert_int_equal(side_send(&client, 0, i, 100), OK);
    assert_int_equal(side_send(&client, 0, N_WAITING + 1, 100), ERR_PEER);
    assert_int_equal(link_stats(client.link).queued_messages, 4);
    assert_int_equal(link_stats(client.link).queued_bytes, 400);
    LinkOptions options = side_options(&server, 4);
    assert_int_equal(link_listen(&server.link, b.network, endpoint, &options), OK);
    bench_wait(&b, has_all_waiting, &server);
    assert_true(server.is_in_order);
    assert_int_equal(link_stats(client.link).queued_messages, 0);
    assert_int_equal(client.n_faults, 0);
    bench_close(&b);
}

/* ---- closing ---------------------------------------------------------------------------------------------------- */

static bool has_100(void *ctx) {
    return ((Side *)ctx)->n_received >= 100;
}

static void closing_the_network_delivers_what_was_sent(void **state) {
    (void)state;
    Bench b, other;
    Side server = {0}, client = {0};
    bench_open(&b);
    bench_open(&other);
    side_listen(&server, &b, 34);
    side_dial(&client, &other, link_endpoint(server.link), 34);
    for (uint64_t i = 1; i <= 100; i++) /* no turn of the client's loop: 32 of it wait in the link */
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

static void a_handler_may_close_its_link(void **state) {
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_that_vanished_is_heard_when_it_returns),
        cmocka_unit_test(a_peer_that_left_is_an_error_and_its_successor_another_peer),
        cmocka_unit_test(a_dialled_link_finds_a_restarted_server),
        cmocka_unit_test(messages_wait_for_a_listener_up_to_their_bound),
        cmocka_unit_test(closing_the_network_delivers_what_was_sent),
        cmocka_unit_test(closing_waits_no_longer_than_its_linger),
        cmocka_unit_test(a_handler_may_close_its_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
