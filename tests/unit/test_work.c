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
    assert_true(chunk == 0 && first == 200 && count == 50); /* the remainder stays in its chunk */
    geometry_step_range(&g, DOMAIN_A, SPLIT_TRAIN, 3, &chunk, &first, &count);
    assert_true(chunk == 2 && first == 0 && count == 100);
    geometry_step_range(&g, DOMAIN_B, SPLIT_TRAIN, 2, &chunk, &first, &count);
    assert_true(chunk == 2 && first == 100 && count == 1);
    geometry_free(&g);
}

static void ranks_make_larger_steps(void **state) {
    (void)state;
    Geometry g = geometry(4, 50);
    assert_int_equal(g.step_size, 200);
    assert_int_equal(geometry_steps(&g, DOMAIN_A, SPLIT_TRAIN), 2 + 1);
    geometry_free(&g);
}

static void an_epoch_visits_every_chunk_and_step_once(void **state) {
    (void)state;
    Geometry g = geometry(1, 7);
    uint32_t order[3], seen = 0;
    geometry_chunk_order(&g, 5, 2, order);
    for (int i = 0; i < 3; i++)
        seen |= 1u << order[i];
    assert_int_equal(seen, 7);
    uint8_t domains[64];
    uint32_t n = geometry_interleave(&g, 5, 2, 0, domains), n_b = 0;
    for (uint32_t i = 0; i < n; i++)
        n_b += domains[i] == DOMAIN_B;
    assert_int_equal(n, 36 + 13); /* ceil(250/7) + ceil(90/7) */
    assert_int_equal(n_b, 13);
    uint8_t again[64], other[64];
    geometry_interleave(&g, 5, 2, 0, again);
    geometry_interleave(&g, 5, 3, 0, other);
    assert_memory_equal(domains, again, n);
    assert_memory_not_equal(domains, other, n);
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
        cmocka_unit_test(an_epoch_visits_every_chunk_and_step_once),
        cmocka_unit_test(a_set_without_training_is_refused),
        cmocka_unit_test(bitmaps_count_their_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
