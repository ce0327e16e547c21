/* Named random streams: the published Philox vectors, and distributions. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/arena.h"
#include "common/rng.h"

static void philox_gives_the_published_numbers(void **state) {
    (void)state;
    Rng zero = {{0}, {0}, {0}, 0}; /* kat_vectors of Random123: philox4x32 10, all zero, then all ones */
    assert_int_equal(rng_u32(&zero), 0x6627e8d5);
    assert_int_equal(rng_u32(&zero), 0xe169c58d);
    assert_int_equal(rng_u32(&zero), 0xbc57ac4c);
    assert_int_equal(rng_u32(&zero), 0x9b00dbd8);
    Rng ones = {{~0u, ~0u}, {~0u, ~0u, ~0u, ~0u}, {0}, 0};
    assert_int_equal(rng_u32(&ones), 0x408f276d);
}

static void streams_have_names(void **state) {
    (void)state;
    Rng a = rng_stream(1, RNG_TEST, 2, 3), b = rng_stream(1, RNG_TEST, 2, 3), c = rng_stream(1, RNG_TEST, 2, 4);
    uint64_t first = rng_u64(&a);
    assert_true(first == rng_u64(&b));
    assert_false(first == rng_u64(&c));
}

static void draws_below_n_are_uniform(void **state) {
    (void)state;
    enum { N = 70000 };
    int count[7] = {0};
    Rng r = rng_stream(9, RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++)
        count[rng_below(&r, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_true(fabs(count[i] - N / 7.0) < 6 * sqrt(N / 7.0)); /* six deviations */
}

static void truncated_normals_stay_within_two_deviations(void **state) {
    (void)state;
    enum { N = 20000 };
    double sum = 0, squares = 0;
    Rng r = rng_stream(9, RNG_TEST, 0, 1);
    for (int i = 0; i < N; i++) {
        double x = rng_truncated_normal(&r);
        assert_true(fabs(x) <= 2);
        sum += x;
        squares += x * x;
    }
    assert_true(fabs(sum / N) < 6 * 0.88 / sqrt(N));
    assert_true(fabs(squares / N - 0.7737) < 0.03); /* variance of the cut normal: 1 - 4 phi(2)/(2 Phi(2) - 1) */
}

static void a_shuffle_is_a_permutation(void **state) {
    (void)state;
    uint32_t items[100], sum = 0;
    for (uint32_t i = 0; i < 100; i++)
        items[i] = i;
    Rng r = rng_stream(3, RNG_TEST, 0, 0);
    rng_shuffle(&r, items, 100);
    uint8_t seen[100] = {0};
    for (uint32_t i = 0; i < 100; i++)
        sum += !seen[items[i]]++;
    assert_int_equal(sum, 100);
}

static void an_arena_keeps_what_it_gave_and_settles_in_one_block(void **state) {
    (void)state;
    Arena a;
    arena_init(&a, 100);
    for (int round = 0; round < 3; round++) {
        char *pieces[50];
        for (int i = 0; i < 50; i++) {
            pieces[i] = arena_alloc(&a, 77);
            assert_int_equal((uintptr_t)pieces[i] % ARENA_ALIGN, 0);
            memset(pieces[i], i, 77);
        }
        for (int i = 0; i < 50; i++)
            assert_true(pieces[i][0] == i && pieces[i][76] == i);
        assert_int_equal(a.used_bytes, 50 * 128);
        arena_reset(&a);
    }
    assert_int_equal(a.peak_bytes, 50 * 128);
    arena_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_numbers),
        cmocka_unit_test(streams_have_names),
        cmocka_unit_test(draws_below_n_are_uniform),
        cmocka_unit_test(truncated_normals_stay_within_two_deviations),
        cmocka_unit_test(a_shuffle_is_a_permutation),
        cmocka_unit_test(an_arena_keeps_what_it_gave_and_settles_in_one_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
