/* Names of work: step numbers, ranges, orders and bitmaps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/work.h"

static const ChunkCounts COUNTS[] = {
    {{{250, 30, 10}, {90, 0, 5}}},
    {{{0, 0, 0}, {0, 0, 0}}}, /* an empty chunk has no number of its own */
    {{{100, 1, 1}, {101, 7, 0}}},
};

static Geometry geometry(uint32_t ranks, uint32_t batch) {
    Geometry g;
    assert_int_equal(geometry_init(&g, COUNTS, 3, ranks, batch, 10), OK);
    return g;
}

static void steps_are_numbered_chunk_by_chunk(void **state) {
    (void)state;
    Geometry g = geometry(1, 100);
    assert_int_equal(geometry_steps(&g, DOMAIN_A, SPLIT_TRAIN), 3 + 1);
    assert_int_equal(geometry_steps(&g, DOMAIN_B, SPLIT_TRAIN), 1 + 2);
    assert_int_equal(geometry_steps(&g, DOMAIN_A, SPLIT_VALID), 3 + 1);
    uint32_t chunk, first, count;
    geometry_step_range(&g, DOMAIN_A, SPLIT_TRAIN, 2, &chunk, &first, &count);
    assert_true(chunk == 0 && first == 166 && count == 84); /* of 250: 83, 83, 84 */
    geometry_step_range(&g, DOMAIN_A, SPLIT_TRAIN, 3, &chunk, &first, &count);
    assert_true(chunk == 2 && first == 0 && count == 100);
    geometry_step_range(&g, DOMAIN_B, SPLIT_TRAIN, 2, &chunk, &first, &count);
    assert_true(chunk == 2 && first == 50 && count == 51); /* not 100 and 1 */
    geometry_free(&g);
}

static void ranks_make_larger_steps(void **state) {
    (void)state;
    Geometry g = geometry(4, 50);
    assert_int_equal(g.step_size, 200);
    assert_int_equal(geometry_steps(&g, DOMAIN_A, SPLIT_TRAIN), 2 + 1);
    geometry_free(&g);
}

/* 42 steps in five parts, none, 10 steps in one part. */
static const ChunkCounts LARGE[] = {{{{2500}, {1700}}}, {{{0}}}, {{{950}, {0}}}};
enum { N_PARTS = 6, PART_STEPS = 10, N_A = 25 + 10, N_B = 17 };

static void an_epoch_visits_every_step_of_every_part_once(void **state) {
    (void)state;
    Geometry g;
    Part parts[N_PARTS];
    StepName steps[PART_STEPS];
    uint8_t seen[N_DOMAINS][8] = {{0}};
    assert_int_equal(geometry_init(&g, LARGE, 3, 1, 100, 10), OK);
    assert_int_equal(geometry_part_size(&g), PART_STEPS);
    assert_int_equal(geometry_chunk_parts(&g, 0), 5);
    assert_int_equal(geometry_parts(&g), N_PARTS);
    geometry_part_order(&g, 5, 2, parts);
    for (int i = 0; i < N_PARTS; i++) {
        uint32_t n = geometry_part_steps(&g, 5, 2, parts[i], steps);
        assert_int_equal(n, parts[i].chunk == 0 && parts[i].index == 4 ? 2 : PART_STEPS); /* the last one is short */
        for (uint32_t k = 0; k < n; k++) {
            assert_false(bitmap_get(seen[steps[k].domain], steps[k].step));
            bitmap_set(seen[steps[k].domain], steps[k].step);
        }
    }
    assert_int_equal(bitmap_count(seen[DOMAIN_A], 64), N_A);
    assert_int_equal(bitmap_count(seen[DOMAIN_B], 64), N_B);
    geometry_free(&g);
}

static void the_order_of_an_epoch_is_that_of_its_parts(void **state) {
    (void)state;
    Geometry g;
    Part parts[N_PARTS], want_parts[N_PARTS];
    StepName all[N_A + N_B], want[PART_STEPS], *at = all;
    assert_int_equal(geometry_init(&g, LARGE, 3, 1, 100, 10), OK);
    geometry_part_order(&g, 5, 2, want_parts);
    geometry_epoch_order(&g, 5, 2, parts, all);
    for (int i = 0; i < N_PARTS; i++) {
        assert_int_equal(parts[i].chunk, want_parts[i].chunk);
        assert_int_equal(parts[i].index, want_parts[i].index);
        uint32_t n = geometry_part_steps(&g, 5, 2, parts[i], want);
        assert_int_equal(n, geometry_part_length(&g, parts[i]));
        for (uint32_t k = 0; k < n; k++, at++)
            assert_true(at->domain == want[k].domain && at->step == want[k].step);
    }
    assert_ptr_equal(at, all + N_A + N_B);
    geometry_free(&g);
}

static void an_order_is_a_function_of_seed_and_epoch(void **state) {
    (void)state;
    Geometry g;
    Part first[N_PARTS], again[N_PARTS], next[N_PARTS];
    StepName a[PART_STEPS], b[PART_STEPS];
    assert_int_equal(geometry_init(&g, LARGE, 3, 1, 100, 10), OK);
    geometry_part_order(&g, 5, 2, first);
    geometry_part_order(&g, 5, 2, again);
    geometry_part_order(&g, 5, 4, next);
    assert_memory_equal(first, again, sizeof first);
    assert_memory_not_equal(first, next, sizeof first);
    uint32_t n_same = 0;
    geometry_part_steps(&g, 5, 2, (Part){0, 1}, a);
    geometry_part_steps(&g, 5, 3, (Part){0, 1}, b);
    for (int i = 0; i < PART_STEPS; i++)
        n_same += a[i].domain == b[i].domain;
    assert_true(n_same < PART_STEPS);
    geometry_free(&g);
}

static void a_large_step_is_a_part_of_its_own(void **state) {
    (void)state;
    Geometry g = geometry(4, 500);
    assert_int_equal(geometry_part_size(&g), 1);
    assert_int_equal(geometry_chunk_parts(&g, 0), 2); /* a step of each domain */
    geometry_free(&g);
}

static void a_set_without_training_is_refused(void **state) {
    (void)state;
    Geometry g;
    assert_int_equal(geometry_init(&g, COUNTS + 1, 1, 1, 100, 10), ERR_DATA);
    assert_string_equal(err_message(), "the data set has no training instance");
}

static void bitmaps_count_their_bits(void **state) {
    (void)state;
    uint8_t bits[2] = {0};
    for (uint32_t i = 0; i < 11; i++) {
        assert_false(bitmap_get(bits, i));
        assert_false(bitmap_is_full(bits, 11));
        bitmap_set(bits, i);
        assert_int_equal(bitmap_count(bits, 11), i + 1);
    }
    assert_true(bitmap_is_full(bits, 11));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_numbered_chunk_by_chunk),
        cmocka_unit_test(ranks_make_larger_steps),
        cmocka_unit_test(an_epoch_visits_every_step_of_every_part_once),
        cmocka_unit_test(the_order_of_an_epoch_is_that_of_its_parts),
        cmocka_unit_test(an_order_is_a_function_of_seed_and_epoch),
        cmocka_unit_test(a_large_step_is_a_part_of_its_own),
        cmocka_unit_test(a_set_without_training_is_refused),
        cmocka_unit_test(bitmaps_count_their_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
