/* Frames of messages come in one aligned piece; their buffers return to the pool they came from.
 * link: mg_proto */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/buffer.h"
#include "proto/message.h"

/* ---- frames ----------------------------------------------------------------------------------------------------- */

static void long_bytes_travel_in_frames_of_1_MiB_and_come_back_in_one_piece(void **state) {
    (void)state;
    enum { BYTES = 2 * MESSAGE_FRAME_BYTES + 12345 };
    uint8_t *bytes = test_malloc(BYTES);
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 24);
    Message m, moved;
    size_t size;
    message_init(&m, MESSAGE_PUSH);
    message_add_bytes(&m, "before", 6);
    message_add_bytes(&m, bytes, BYTES);
    message_add_bytes(&m, NULL, 0);
    assert_int_equal(m.n_frames, 5);
    assert_int_equal(m.frames[1].size_bytes, MESSAGE_FRAME_BYTES);
    assert_int_equal(m.frames[3].size_bytes, 12345);
    assert_int_equal(m.frames[4].size_bytes, 0);
    assert_int_equal(message_frame_bytes(&m), BYTES + 6);
    const void *whole = message_bytes(&m, 1, 3, &size);
    assert_int_equal(size, BYTES);
    assert_memory_equal(whole, bytes, BYTES);
    message_move(&moved, &m);
    assert_int_equal(m.n_frames, 0);
    assert_memory_equal(whole, bytes, BYTES); /* the copy has moved along */
    message_free(&m);
    message_free(&moved);
    test_free(bytes);
}

static void an_aligned_frame_is_not_copied_and_an_unaligned_one_is_once(void **state) {
    (void)state;
    Message m;
    size_t size;
    message_init(&m, MESSAGE_PULL);
    uint8_t *data = message_add_frame(&m, 32);
    for (uint8_t i = 0; i < 32; i++)
        data[i] = i;
    assert_int_equal((uintptr_t)data % BUFFER_ALIGNMENT, 0);
    assert_ptr_equal(message_bytes(&m, 0, 1, &size), data);
    m.frames[0].data = data + 4; /* as ZeroMQ packs small frames */
    m.frames[0].size_bytes = 24;
    const uint8_t *copy = message_bytes(&m, 0, 1, &size);
    assert_int_equal((uintptr_t)copy % 8, 0);
    assert_int_equal(size, 24);
    assert_int_equal(copy[0], 4);
    assert_int_equal(copy[23], 27);
    assert_ptr_equal(message_bytes(&m, 0, 1, &size), copy);
    assert_null(message_bytes(&m, 1, 0, &size));
    assert_int_equal(size, 0);
    message_free(&m);
}

/* ---- buffers ---------------------------------------------------------------------------------------------------- */

static void *release(void *buffer) {
    buffer_unref(buffer);
    return NULL;
}

static void in_another_thread(void *(*call)(void *), void *argument, void **result) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, call, argument), 0);
    assert_int_equal(pthread_join(thread, result), 0);
}

static void a_buffer_freed_by_another_thread_returns_to_its_pool(void **state) {
    (void)state;
    Buffer *b = buffer_new(100000);
    buffer_ref(b);
    buffer_unref(b);
    in_another_thread(release, b, NULL);
    assert_ptr_equal(buffer_new(100000), b);
    buffer_unref(b);
}

static void *make_in_thread(void *unused) {
    (void)unused;
    Buffer *first = buffer_new(5000), *second = buffer_new(5000);
    memset(buffer_data(second), 7, 5000);
    buffer_unref(first);
    return second;
}

static void a_buffer_outlives_the_thread_that_made_it(void **state) {
    (void)state;
    void *b = NULL;
    in_another_thread(make_in_thread, NULL, &b);
    assert_int_equal(((uint8_t *)buffer_data(b))[4999], 7);
    buffer_unref(b);
}

enum { N_RACED = 20000 };
typedef struct Race {
    _Atomic(Buffer *) slots[16];
} Race;

static void *free_all(void *p) {
    Race *race = p;
    for (int n = 0, i = 0; n < N_RACED; i++) {
        Buffer *b = __atomic_exchange_n((Buffer **)&race->slots[i % 16], NULL, __ATOMIC_ACQUIRE);
        n += b != NULL;
        buffer_unref(b);
    }
    return NULL;
}

static void two_threads_may_return_buffers_at_once(void **state) {
    (void)state;
    Race race = {0};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, free_all, &race), 0);
    for (int n = 0, i = 0; n < N_RACED; i++) {
        Buffer *none = NULL, *b = buffer_new(64), *own = buffer_new(64);
        assert_ptr_not_equal(b, own);
        bool is_given = __atomic_compare_exchange_n((Buffer **)&race.slots[i % 16], &none, b, false, __ATOMIC_RELEASE,
                                                    __ATOMIC_RELAXED);
        n += is_given;
        buffer_unref(own);
        if (!is_given)
            buffer_unref(b);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void a_pool_keeps_no_more_than_its_bound(void **state) {
    (void)state;
    enum { N = 100 };
    Buffer *all[N];
    for (int i = 0; i < N; i++)
        all[i] = buffer_new(1 << 20);
    for (int i = 0; i < N; i++)
        buffer_unref(all[i]);
    assert_in_range(buffer_pool_bytes(), BUFFER_POOL_BYTES / 2, BUFFER_POOL_BYTES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_bytes_travel_in_frames_of_1_MiB_and_come_back_in_one_piece),
        cmocka_unit_test(an_aligned_frame_is_not_copied_and_an_unaligned_one_is_once),
        cmocka_unit_test(a_buffer_freed_by_another_thread_returns_to_its_pool),
        cmocka_unit_test(a_buffer_outlives_the_thread_that_made_it),
        cmocka_unit_test(two_threads_may_return_buffers_at_once),
        cmocka_unit_test(a_pool_keeps_no_more_than_its_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
