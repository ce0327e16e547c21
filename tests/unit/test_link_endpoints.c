/* Endpoints: what may be one, the sentence that others get, which are private.
 * link: mg_proto */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "link_fixture.h"

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

static void others_are_told_what_they_can_dial(void **state) {
    (void)state;
    char name[256] = "", by_name[300];
    assert_int_equal(gethostname(name, sizeof name - 1), 0);
    snprintf(by_name, sizeof by_name, "tcp://%s:7", name);
    const struct {
        const char *bound, *asked, *towards, *told;
    } cases[] = {
        {"tcp://10.0.0.1:7", NULL, "tcp://127.0.0.1:5", "tcp://10.0.0.1:7"},
        {"tcp://0.0.0.0:7", NULL, "tcp://127.0.0.1:5", "tcp://127.0.0.1:7"},
        {"tcp://0.0.0.0:7", NULL, NULL, by_name},
        {"tcp://0.0.0.0:7", "tcp://gate.example.org", NULL, "tcp://gate.example.org:7"},
        {"tcp://10.0.0.1:7", "tcp://gate.example.org:80", NULL, "tcp://gate.example.org:80"},
        {"ipc:///tmp/x", NULL, NULL, "ipc:///tmp/x"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char told[512];
        assert_int_equal(link_advertised(cases[i].bound, cases[i].asked, cases[i].towards, told, sizeof told), OK);
        assert_string_equal(told, cases[i].told);
    }
}

static void a_public_endpoint_needs_to_be_allowed(void **state) {
    (void)state;
    assert_int_equal(link_check_private("tcp://10.0.0.1:7", "the address", false), ERR_USAGE);
    assert_non_null(strstr(err_message(), "the address tcp://10.0.0.1:7 can be reached"));
    assert_int_equal(link_check_private("tcp://10.0.0.1:7", "the address", true), OK);
    assert_int_equal(link_check_private("tcp://127.0.0.1:7", "the address", false), OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inproc_and_ipc_links_work_too),
        cmocka_unit_test(an_endpoint_that_is_none_gets_its_sentence),
        cmocka_unit_test(an_address_in_use_is_named),
        cmocka_unit_test(a_host_s_name_can_be_listened_on),
        cmocka_unit_test(private_endpoints_are_told_from_public_ones),
        cmocka_unit_test(others_are_told_what_they_can_dial),
        cmocka_unit_test(a_public_endpoint_needs_to_be_allowed),
        cmocka_unit_test(the_local_address_is_the_one_that_reaches_the_endpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
