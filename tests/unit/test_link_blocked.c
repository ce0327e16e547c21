/* The link against peers that do not read.
 * link: mg_proto */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <uv.h>

#include <cmocka.h>

#include "link_fixture.h"

/* ---- who does not read ------------------------------------------------------------------------------------------ */

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

static void stop(void *ctx) {
    loop_stop(ctx);
}

typedef struct Turns {
    uv_prepare_t prepare;
    int n;
} Turns;

static void count_turn(uv_prepare_t *prepare) {
    ((Turns *)prepare->data)->n++;
}

/* POLLOUT stays set for the healthy peer, so a loop that waits for it spins; one without a timer may sleep for ever. */
static void a_blocked_peer_is_tried_every_10_ms_and_the_loop_sleeps_in_between(void **state) {
    (void)state;
    Blocked b;
    Turns turns = {.n = 0};
    blocked_open(&b);
    bench_wait(&b.bench, fills_the_pipe, &b);
    assert_int_equal(uv_prepare_init(loop_uv(b.bench.loop), &turns.prepare), 0);
    turns.prepare.data = &turns;
    assert_int_equal(uv_prepare_start(&turns.prepare, count_turn), 0);
    do { /* until the kernel's buffers have grown and it stays blocked for a second */
        fills_the_pipe(&b);
        turns.n = 0;
        LoopTimer *end = loop_timer(b.bench.loop, 1000, 0, stop, b.bench.loop);
        loop_run(b.bench.loop);
        loop_timer_close(&end);
    } while (link_stats(b.server.link).queued_messages == 0);
    assert_in_range(turns.n, 10,
                    400); /* 100, less what a busy machine skips; more by what ZeroMQ's thread has to say */
    uv_close((uv_handle_t *)&turns.prepare, NULL);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_peer_that_never_reads_is_dropped_with_its_memory_bounded),
        cmocka_unit_test(others_are_served_while_a_peer_is_blocked),
        cmocka_unit_test(a_blocked_peer_is_tried_every_10_ms_and_the_loop_sleeps_in_between),
        cmocka_unit_test(a_blocked_peer_that_reads_again_gets_everything_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
