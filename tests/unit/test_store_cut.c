/* link: mg_store_f32 */
/* A cut is the store at one moment, whatever is pushed meanwhile and whichever thread reads it. */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "server/store/copies.h"
#include "tests/unit/cut_fixture.h"

#ifdef MANGROVE_SANITIZED
enum { CUTS = 3 };
#else
enum { CUTS = 12 };
#endif

/* ---- the reader's thread ---------------------------------------------------------------------------------------- */

typedef struct Reader {
    pthread_t thread;
    const Fixture *f;
    StoreCut *cut;
    Dump dump;
    atomic_bool is_over;
} Reader;

static void *read_cut(void *ctx) {
    Reader *r = ctx;
    r->dump = dump_cut(r->f, r->cut);
    atomic_store(&r->is_over, true);
    return NULL;
}

/* Pushes from the moment at which the thread starts until it has read everything; returns their number. */
static int read_during_pushes(Fixture *f, StoreCut *cut, Dump *out) {
    Reader r = {.f = f, .cut = cut};
    int n = 0;
    assert_int_equal(pthread_create(&r.thread, NULL, read_cut, &r), 0);
    for (; !atomic_load(&r.is_over) || n == 0; n++)
        push_steps(f, 1);
    assert_int_equal(pthread_join(r.thread, NULL), 0);
    *out = r.dump;
    return n;
}

/* ---- equal to the beginning ------------------------------------------------------------------------------------- */

static void a_cut_is_the_store_at_its_beginning(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, 1);
    push_steps(&f, 100);
    Dump want = dump_store(&f, f.store);
    StoreCut *cut = store_cut_begin(f.store, false, SIZE_MAX);
    push_steps(&f, 100); /* changes rows of the cut, adds rows to its sub-tables and begins new ones */
    store_open_epoch(f.store, 2, (uint32_t[]){STEPS, STEPS});
    f.step = 0;
    push_steps(&f, 10);
    real row[MAX_ROW] = {0};
    store_put(f.store, key_of(f.shared, 17), row);
    assert_true(store_stats(f.store).n_rows > want.n_rows);
    Dump got = dump_cut(&f, cut);
    assert_same_dump(&got, &want);
    assert_int_equal(store_cut_stats(cut).copied_bytes, 0); /* all given back */
    assert_true(store_cut_stats(cut).max_copied_bytes > 0);
    store_cut_end(&cut, true);
    assert_null(cut);
    free(got.bytes);
    free(want.bytes);
    fixture_close(&f);
}

static void cut_while_pushing(uint32_t n_ranks) {
    Fixture f;
    fixture_open(&f, n_ranks);
    push_steps(&f, 20);
    for (int i = 0; i < CUTS; i++) {
        Dump got, want = dump_store(&f, f.store);
        StoreCut *cut = store_cut_begin(f.store, false, SIZE_MAX);
        push_steps(&f, i); /* none, or some that the reader finds done */
        read_during_pushes(&f, cut, &got);
        assert_same_dump(&got, &want);
        assert_int_equal(store_cut_stats(cut).copied_bytes, 0);
        push_steps(&f, 1);
        store_cut_end(&cut, i % 2);
        free(got.bytes);
        free(want.bytes);
    }
    fixture_close(&f);
}

static void a_cut_is_read_while_pushes_of_both_domains_go_on(void **state) {
    (void)state;
    cut_while_pushing(1);
}

static void a_cut_is_read_while_sync_steps_go_on(void **state) {
    (void)state;
    cut_while_pushing(2);
}

static void pushes_do_the_same_with_and_without_a_cut(void **state) {
    (void)state;
    Fixture with, without;
    fixture_open(&with, 1);
    fixture_open(&without, 1);
    push_steps(&with, 50);
    StoreCut *cut = store_cut_begin(with.store, false, SIZE_MAX);
    Dump got;
    int n = read_during_pushes(&with, cut, &got);
    store_cut_end(&cut, false);
    push_steps(&without, 50 + n);
    Dump want = dump_store(&without, without.store);
    assert_no_row_changed(&with, &want);
    free(got.bytes);
    free(want.bytes);
    fixture_close(&with);
    fixture_close(&without);
}

static void an_empty_store_has_an_empty_cut(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, 1);
    StoreCut *cut = store_cut_begin(f.store, false, 0);
    push_steps(&f, 3);
    Dump got = dump_cut(&f, cut);
    assert_int_equal(got.n_rows, 0);
    store_cut_end(&cut, true);
    fixture_close(&f);
}

/* ---- the bound -------------------------------------------------------------------------------------------------- */

enum { BOUND = 1 << 20 };

static void a_push_without_room_changes_nothing_and_is_done_later(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, 1);
    push_steps(&f, 200);
    StoreCut *cut = store_cut_begin(f.store, false, BOUND);
    Rng before;
    PushResult result;
    for (before = f.rng; (result = push_rank(&f, 0)) == PUSH_APPLIED; before = f.rng)
        f.step++;
    assert_int_equal(result, PUSH_WAIT);
    assert_in_range(store_cut_stats(cut).max_copied_bytes, BOUND / 2, BOUND);
    Dump at_wait = dump_store(&f, f.store);
    StoreStats stats = store_stats(f.store);
    f.rng = before;
    assert_int_equal(push_rank(&f, 0), PUSH_WAIT); /* the same push */
    const Work work = {.epoch = 1, .domain = f.step % N_DOMAINS, .step = f.step / N_DOMAINS};
    assert_false(store_is_applied(f.store, &work));
    assert_memory_equal(stats.t, store_stats(f.store).t, sizeof stats.t);
    assert_no_row_changed(&f, &at_wait);
    Dump got = dump_cut(&f, cut);
    f.rng = before;
    assert_int_equal(push_rank(&f, 0), PUSH_APPLIED);
    store_cut_end(&cut, true);
    free(at_wait.bytes);
    free(got.bytes);
    fixture_close(&f);
}

/* The last push of a step changes the rows of all its ranks: it waits before it is held. */
static void a_sync_step_waits_whole(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, 2);
    push_steps(&f, 200);
    StoreCut *cut = store_cut_begin(f.store, false, BOUND);
    PushResult result;
    Rng before;
    for (;; f.step++) {
        assert_int_equal(push_rank(&f, 0), PUSH_HELD);
        before = f.rng;
        if ((result = push_rank(&f, 1)) != PUSH_APPLIED)
            break;
    }
    assert_int_equal(result, PUSH_WAIT);
    uint64_t held_bytes = store_stats(f.store).held_bytes;
    Dump got = dump_cut(&f, cut);
    assert_int_equal(push_rank(&f, 0), PUSH_HELD); /* is here already */
    assert_int_equal(store_stats(f.store).held_bytes, held_bytes);
    f.rng = before;
    assert_int_equal(push_rank(&f, 1), PUSH_APPLIED);
    assert_int_equal(store_stats(f.store).held_bytes, 0);
    store_cut_end(&cut, false);
    free(got.bytes);
    fixture_close(&f);
}

static void a_push_alone_is_not_refused(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, 1);
    push_steps(&f, 50);
    StoreCut *cut = store_cut_begin(f.store, false, 1);
    assert_int_equal(push_rank(&f, 0), PUSH_APPLIED);
    f.step++;
    assert_int_equal(push_rank(&f, 0), PUSH_WAIT);
    store_cut_end(&cut, false); /* nobody has read it */
    assert_int_equal(push_rank(&f, 0), PUSH_APPLIED);
    fixture_close(&f);
}

#ifndef MANGROVE_SANITIZED /* a sanitizer needs memory of its own */
/* What is not there yet when the limit falls: addresses, or memory behind them. */
static void copies_without_memory_are_none(void **state) {
    (void)state;
    static const int LIMITS[] = {RLIMIT_AS, RLIMIT_DATA};
    for (size_t i = 0; i < sizeof LIMITS / sizeof *LIMITS; i++) {
        CopyBudget budget = {.max_bytes = BOUND};
        Copies c = {0};
        struct rlimit before;
        assert_int_equal(getrlimit(LIMITS[i], &before), 0);
        const struct rlimit none = {.rlim_cur = 1, .rlim_max = before.rlim_max};
        assert_int_equal(setrlimit(LIMITS[i], &none), 0);
        copies_begin(&c, &budget, 64, 1000, 1000);
        uint32_t copy = copies_take(&c, i == 0);
        assert_int_equal(setrlimit(LIMITS[i], &before), 0);
        assert_int_equal(copy, 0);
        assert_int_equal(budget.used_bytes, 0);
        assert_int_equal(copies_take(&c, true), i); /* addresses once, memory again and again */
        copies_free(&c);
    }
}

static void a_push_without_memory_for_copies_waits_for_the_reader(void **state) {
    (void)state;
    Fixture f;
    struct rlimit before;
    fixture_open(&f, 1);
    push_steps(&f, 50);
    mallopt(M_MMAP_THRESHOLD, 1 << 25);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    free(must_alloc(1 << 24)); /* malloc keeps it: what is not copies has memory */
    Rng rng = f.rng;
    assert_int_equal(getrlimit(RLIMIT_DATA, &before), 0);
    const struct rlimit none = {.rlim_cur = 1, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_DATA, &none), 0);
    StoreCut *cut = store_cut_begin(f.store, false, BOUND);
    PushResult result = push_rank(&f, 0);
    assert_int_equal(setrlimit(RLIMIT_DATA, &before), 0);
    assert_int_equal(result, PUSH_WAIT);
    Dump got = dump_cut(&f, cut);
    f.rng = rng;
    assert_int_equal(push_rank(&f, 0), PUSH_APPLIED);
    store_cut_end(&cut, false);
    free(got.bytes);
    fixture_close(&f);
}
#endif

static void pushes_that_wait_get_on_with_the_reader(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, 1);
    push_steps(&f, 200);
    Dump want = dump_store(&f, f.store);
    StoreCut *cut = store_cut_begin(f.store, false, BOUND);
    Reader r = {.f = &f, .cut = cut};
    uint32_t first = f.step;
    assert_int_equal(pthread_create(&r.thread, NULL, read_cut, &r), 0);
    while (f.step < first + 200)
        f.step += push_rank(&f, 0) == PUSH_APPLIED;
    assert_int_equal(pthread_join(r.thread, NULL), 0);
    assert_same_dump(&r.dump, &want);
    assert_true(store_cut_stats(cut).max_copied_bytes <= BOUND);
    store_cut_end(&cut, true);
    free(r.dump.bytes);
    free(want.bytes);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_is_the_store_at_its_beginning),
        cmocka_unit_test(a_cut_is_read_while_pushes_of_both_domains_go_on),
        cmocka_unit_test(a_cut_is_read_while_sync_steps_go_on),
        cmocka_unit_test(pushes_do_the_same_with_and_without_a_cut),
        cmocka_unit_test(an_empty_store_has_an_empty_cut),
        cmocka_unit_test(a_push_without_room_changes_nothing_and_is_done_later),
        cmocka_unit_test(a_sync_step_waits_whole),
        cmocka_unit_test(a_push_alone_is_not_refused),
#ifndef MANGROVE_SANITIZED
        cmocka_unit_test(copies_without_memory_are_none),
        cmocka_unit_test(a_push_without_memory_for_copies_waits_for_the_reader),
#endif
        cmocka_unit_test(pushes_that_wait_get_on_with_the_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
