/* Which end of a child is a failure. The children are this program, started with a word of what to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "deploy/supervisor.c" /* deploy is no library */

enum { WAIT_MS = 20000 };

/* ---- a child ------------------------------------------------------------------------------------------------ */

static int code_of_child;

static void on_term(int signal_number) {
    (void)signal_number;
    _exit(code_of_child);
}

/* "exits N": with that code at once; "waits N": at SIGTERM with that code; "waits 0": SIGTERM does what it does. */
static int be_child(char **argv) {
    code_of_child = atoi(argv[2]);
    if (!strcmp(argv[1], "exits"))
        return code_of_child;
    if (code_of_child)
        signal(SIGTERM, on_term);
    if (write(STDOUT_FILENO, "+", 1) != 1)
        return 1;
    for (;;)
        pause();
}

/* ---- the parent --------------------------------------------------------------------------------------------- */

static void start(Supervisor *s, const char *what, const char *code) {
    const char *argv[] = {"child", what, code, NULL};
    int fd;
    char byte;
    assert_true(supervisor_start(s, "child", NULL, argv, &fd) >= 0);
    assert_int_equal(read(fd, &byte, 1), !strcmp(what, "waits")); /* it is ready, or has ended */
    close(fd);
}

static void wait_for_all(Supervisor *s) {
    for (int ms = 0; supervisor_running(s) && ms < WAIT_MS; ms += 100)
        supervisor_wait(s, 100, -1);
    assert_int_equal(supervisor_running(s), 0);
}

/* The first to fail, of two that wait: one ends with 75 at SIGTERM, the other with the code given. */
static int failed_of_two(const char *code, void (*end)(Supervisor *s, int signal_number), int signal_number) {
    static Supervisor s;
    assert_int_equal(supervisor_open(&s), OK);
    start(&s, "waits", "75");
    start(&s, "waits", code);
    end(&s, signal_number);
    wait_for_all(&s);
    int failed = s.first_failed;
    supervisor_close(&s);
    return failed;
}

static void signal_all(Supervisor *s, int signal_number) {
    supervisor_signal(s, -1, signal_number);
}

static void who_ends_because_he_was_dismissed_has_not_failed(void **state) {
    (void)state;
    assert_int_equal(failed_of_two("75", supervisor_dismiss, SIGTERM), -1);
    assert_int_equal(failed_of_two("0", supervisor_dismiss, SIGTERM), -1);
    assert_int_equal(failed_of_two("75", supervisor_dismiss, SIGKILL), -1);
}

static void who_ends_otherwise_after_it_has_failed(void **state) {
    (void)state;
    assert_int_equal(failed_of_two("3", supervisor_dismiss, SIGTERM), 1);
    assert_true(failed_of_two("0", supervisor_dismiss, SIGABRT) >= 0);
}

static void a_signal_to_who_was_not_dismissed_makes_it_fail(void **state) {
    (void)state;
    assert_true(failed_of_two("75", signal_all, SIGTERM) >= 0);
    assert_true(failed_of_two("0", signal_all, SIGKILL) >= 0);
}

static void who_failed_before_stays_the_cause(void **state) {
    (void)state;
    static const char *const CODES[] = {"4", "75"};
    for (int i = 0; i < 2; i++) {
        static Supervisor s;
        assert_int_equal(supervisor_open(&s), OK);
        start(&s, "waits", "75");
        start(&s, "exits", CODES[i]);
        for (int ms = 0; s.first_failed < 0 && ms < WAIT_MS; ms += 100)
            supervisor_wait(&s, 100, -1);
        supervisor_dismiss(&s, SIGTERM);
        wait_for_all(&s);
        assert_int_equal(s.first_failed, 1);
        assert_int_equal(child_exit_code(&s.children[1]), atoi(CODES[i]));
        supervisor_close(&s);
    }
}

int main(int argc, char **argv) {
    if (argc == 3)
        return be_child(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_ends_because_he_was_dismissed_has_not_failed),
        cmocka_unit_test(who_ends_otherwise_after_it_has_failed),
        cmocka_unit_test(a_signal_to_who_was_not_dismissed_makes_it_fail),
        cmocka_unit_test(who_failed_before_stays_the_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
