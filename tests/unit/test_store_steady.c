/* link: mg_store_f32 */
/* Once its rows are there, a stream of pulls and pushes allocates nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/store/store.h"

static int n_allocations; /* of the whole process */

/* Under a sanitizer malloc is the sanitizer's: nothing is counted, and the test says so. */
#ifdef MANGROVE_SANITIZED
enum { IS_COUNTING = 0 };
#else
enum { IS_COUNTING = 1 };
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *p, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes) {
    n_allocations++;
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes) {
    n_allocations++;
    return __libc_calloc(n, bytes);
}

void *realloc(void *p, size_t bytes) {
    n_allocations++;
    return __libc_realloc(p, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    n_allocations++;
    return __libc_memalign(alignment, bytes);
}
#endif

enum { KEYS = 300, WIDTH = 8, STEPS = 60, WARM_UP = 3 };

/* Ranks push overlapping ranges of the keys. */
static void train_step(Store *store, uint32_t step, uint32_t ranks, const uint64_t *keys) {
    static float values[KEYS * WIDTH];
    for (uint32_t r = 0; r < ranks; r++) {
        const Work work = {.epoch = 1, .domain = DOMAIN_A, .step = step, .rank = (uint16_t)r};
        PushResult result;
        store_pull(store, keys, KEYS, values);
        assert_int_equal(store_push(store, &work, keys + 100 * r, 200, values, &result), OK);
        assert_int_equal(result, r + 1 < ranks ? PUSH_HELD : PUSH_APPLIED);
    }
}

static void count_steady_state(uint32_t ranks) {
    const OptimizerConfig adam = {.kind = OPTIMIZER_ADAM, .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    static Schema schema;
    static uint64_t keys[KEYS];
    Store *store;
    memset(&schema, 0, sizeof schema);
    schema_add_sparse(&schema, "item.shared", REACHED_BY_BOTH, 100000, WIDTH, 0.01);
    schema_finish(&schema);
    for (uint32_t i = 0; i < KEYS; i++)
        keys[i] = key_of(0, i * 311);
    assert_int_equal(store_open(&store, &schema, &adam, 1, ranks), OK);
    store_open_epoch(store, 1, (uint32_t[]){STEPS, 0});
    n_allocations = 0;
    for (uint32_t step = 0; step < WARM_UP; step++)
        train_step(store, step, ranks, keys);
    assert_true(n_allocations > 0); /* it does count */
    n_allocations = 0;
    for (uint32_t step = WARM_UP; step < STEPS; step++)
        train_step(store, step, ranks, keys);
    assert_int_equal(n_allocations, 0);
    store_close(&store);
}

static void steady_pushes_allocate_nothing(void **state) {
    (void)state;
    if (!IS_COUNTING) {
        print_message("allocations belong to the sanitizer\n");
        skip();
    }
    count_steady_state(1);
    count_steady_state(2);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(steady_pushes_allocate_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
