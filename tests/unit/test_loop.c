/* The event loop: timers, signals, wakes, work, and that closing leaves nothing.
 * link: mg_proto */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/loop.h"

enum { DEADLINE_MS = 10000 };

typedef struct Fixture {
    Loop *loop;
    int n_calls, n_wanted;
    bool is_late;
    LoopTimer *timer;
    LoopWake *wake;
    pthread_t loop_thread, work_thread;
} Fixture;

static void give_up(void *ctx) {
    Fixture *f = ctx;
    f->is_late = true;
    loop_stop(f->loop);
}

static void count(void *ctx) {
    Fixture *f = ctx;
    if (++f->n_calls >= f->n_wanted)
        loop_stop(f->loop);
}

static void open_loop(Fixture *f, int n_wanted) {
    *f = (Fixture){.n_wanted = n_wanted, .loop_thread = pthread_self()};
    assert_int_equal(loop_open(&f->loop), OK);
    loop_timer(f->loop, DEADLINE_MS, 0, give_up, f);
}

static void run_to_the_end(Fixture *f) {
    loop_run(f->loop);
    assert_false(f->is_late);
    assert_int_equal(f->n_calls, f->n_wanted);
    loop_close(&f->loop);
    assert_null(f->loop);
}

static void a_timer_repeats_or_fires_once(void **state) {
    (void)state;
    Fixture f, other = {.n_wanted = 100};
    open_loop(&f, 5);
    other.loop = f.loop;
    uint64_t before = clock_ms();
    loop_timer(f.loop, 1, 0, count, &other);
    loop_timer(f.loop, 2, 2, count, &f);
    run_to_the_end(&f);
    assert_int_equal(other.n_calls, 1);
    assert_true(clock_ms() - before >= 9); /* 5 x 2 ms, less one for the rounding of the loop's clock */
}

static void close_own_timer(void *ctx) {
    Fixture *f = ctx;
    f->n_calls++;
    loop_timer_close(&f->timer);
    assert_null(f->timer);
    loop_timer_close(&f->timer);
}

static void a_timer_may_close_itself_and_is_silent_afterwards(void **state) {
    (void)state;
    Fixture f, clock = {.n_wanted = 20};
    open_loop(&f, 1);
    clock.loop = f.loop;
    f.timer = loop_timer(f.loop, 0, 1, close_own_timer, &f);
    loop_timer(f.loop, 1, 1, count, &clock);
    run_to_the_end(&f);
}

static void the_loop_s_clock_is_the_clock(void **state) {
    (void)state;
    Fixture f;
    open_loop(&f, 1);
    loop_timer(f.loop, 5, 0, count, &f);
    loop_run(f.loop);
    uint64_t loop_ms = loop_now_ms(f.loop), now_ms = clock_ms();
    assert_true(loop_ms <= now_ms + 4); /* the loop may use the kernel's coarse clock: a tick is 4 ms at 250 Hz */
    assert_true(now_ms - loop_ms < DEADLINE_MS);
    loop_close(&f.loop);
}

static void a_stop_before_the_run_ends_it_at_once(void **state) {
    (void)state;
    Fixture f;
    open_loop(&f, 0);
    loop_stop(f.loop);
    run_to_the_end(&f);
}

static void a_signal_becomes_a_call(void **state) {
    (void)state;
    Fixture f;
    open_loop(&f, 1);
    loop_on_signal(f.loop, SIGUSR1, count, &f);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    run_to_the_end(&f);
}

static void on_wake(void *ctx) {
    Fixture *f = ctx;
    assert_true(pthread_equal(pthread_self(), f->loop_thread));
    count(f);
}

static void *wake_it(void *ctx) {
    Fixture *f = ctx;
    loop_wake(f->wake);
    return NULL;
}

static void a_wake_from_another_thread_calls_on_the_loop_s(void **state) {
    (void)state;
    Fixture f;
    pthread_t thread;
    open_loop(&f, 1);
    f.wake = loop_wake_open(f.loop, on_wake, &f);
    assert_int_equal(pthread_create(&thread, NULL, wake_it, &f), 0);
    loop_run(f.loop);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_false(f.is_late);
    assert_int_equal(f.n_calls, 1);
    loop_close(&f.loop);
}

static void work(void *ctx) {
    Fixture *f = ctx;
    f->work_thread = pthread_self();
}

static void work_runs_on_a_pool_thread_and_its_end_on_the_loop_s(void **state) {
    (void)state;
    Fixture f;
    open_loop(&f, 1);
    loop_work(f.loop, work, on_wake, &f);
    run_to_the_end(&f);
    assert_false(pthread_equal(f.work_thread, f.loop_thread));
}

static void slow_work(void *ctx) {
    uint64_t end_ms = clock_ms() + 30;
    while (clock_ms() < end_ms)
        continue;
    work(ctx);
}

static void open_a_timer(void *ctx) {
    Fixture *f = ctx;
    f->n_calls++;
    loop_timer(f->loop, 1000, 1000, count, f);
}

static void closing_waits_for_work_and_frees_all_that_is_left(void **state) {
    (void)state;
    Fixture f;
    open_loop(&f, 1);
    loop_on_signal(f.loop, SIGUSR2, count, &f);
    loop_wake_open(f.loop, count, &f);
    loop_timer(f.loop, 1, 1, count, &f);
    loop_work(f.loop, slow_work, open_a_timer, &f);
    loop_close(&f.loop); /* a handle that is left would fail its assertion, memory that is left the leak check */
    assert_int_equal(f.n_calls, 1);
    loop_close(&f.loop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timer_repeats_or_fires_once),
        cmocka_unit_test(a_timer_may_close_itself_and_is_silent_afterwards),
        cmocka_unit_test(the_loop_s_clock_is_the_clock),
        cmocka_unit_test(a_stop_before_the_run_ends_it_at_once),
        cmocka_unit_test(a_signal_becomes_a_call),
        cmocka_unit_test(a_wake_from_another_thread_calls_on_the_loop_s),
        cmocka_unit_test(work_runs_on_a_pool_thread_and_its_end_on_the_loop_s),
        cmocka_unit_test(closing_waits_for_work_and_frees_all_that_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
