/* link: mg_store_f32 */
/* A cut of the touched chunks holds what a full one at the same moment differs in from the base, and little else. */
#include "tests/unit/cut_fixture.h"

static Dump full_cut(Fixture *f, bool is_base) {
    StoreCut *cut = store_cut_begin(f->store, false, SIZE_MAX);
    Dump d = dump_cut(f, cut);
    store_cut_end(&cut, is_base);
    return d;
}

/* ---- overlay: rows of `over` take the place of those of `base` -------------------------------------------------- */

static void put_rows(const Fixture *f, Store *into, const Dump *d) {
    for (size_t at = 0; at < d->used;) {
        uint64_t key;
        real row[MAX_ROW];
        memcpy(&key, d->bytes + at, sizeof key);
        size_t row_bytes = store_row_reals(f->store, key_table(key)) * sizeof(real);
        memcpy(row, d->bytes + at + sizeof key, row_bytes);
        store_put(into, key, row);
        at += sizeof key + row_bytes;
    }
}

static void assert_overlay(const Fixture *f, const Dump *base, const Dump *over, const Dump *want) {
    const OptimizerConfig adam = {.kind = OPTIMIZER_ADAM, .lr = 1};
    Store *store;
    assert_int_equal(store_open(&store, &f->schema, &adam, SEED, 1), OK);
    put_rows(f, store, base);
    put_rows(f, store, over);
    Dump got = dump_store(f, store);
    assert_same_dump(&got, want);
    free(got.bytes);
    store_close(&store);
}

/* ---- the cases -------------------------------------------------------------------------------------------------- */

/* n pushes before the cut, more after its beginning, read, compared. */
static uint32_t check_increment(Fixture *f, const Dump *base, int n) {
    push_steps(f, n);
    Dump want = dump_store(f, f->store);
    StoreCut *cut = store_cut_begin(f->store, true, SIZE_MAX);
    push_steps(f, 5);
    Dump over = dump_cut(f, cut);
    assert_int_equal(store_cut_stats(cut).copied_bytes, 0);
    store_cut_end(&cut, false);
    assert_overlay(f, base, &over, &want);
    uint32_t n_rows = over.n_rows;
    free(over.bytes);
    free(want.bytes);
    return n_rows;
}

static void touched_rows_over_the_base_are_the_store(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, 1);
    push_steps(&f, 400);
    Dump base = full_cut(&f, true);
    uint32_t n_rows = check_increment(&f, &base, 3);
    assert_in_range(n_rows, 1, base.n_rows / 2);
    assert_true(check_increment(&f, &base, 3) > n_rows); /* differential: those before come again */
    check_increment(&f, &base, 100);
    free(base.bytes);
    base = full_cut(&f, true);
    assert_in_range(check_increment(&f, &base, 0), 0, 0); /* a new base: nothing has been touched since */
    check_increment(&f, &base, 1);
    free(base.bytes);
    fixture_close(&f);
}

static void what_is_pushed_while_the_base_is_read_comes_with_the_next(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, 1);
    push_steps(&f, 200);
    StoreCut *cut = store_cut_begin(f.store, false, SIZE_MAX);
    push_steps(&f, 20);
    Dump base = dump_cut(&f, cut);
    push_steps(&f, 20); /* read, but not ended */
    store_cut_end(&cut, true);
    check_increment(&f, &base, 0);
    free(base.bytes);
    fixture_close(&f);
}

static void a_full_cut_that_fails_loses_no_mark(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, 1);
    push_steps(&f, 200);
    Dump base = full_cut(&f, true);
    push_steps(&f, 20);
    StoreCut *cut = store_cut_begin(f.store, false, SIZE_MAX);
    push_steps(&f, 20);
    store_cut_end(&cut, false); /* nothing was read */
    Dump failed = full_cut(&f, false);
    free(failed.bytes);
    check_increment(&f, &base, 1);
    free(base.bytes);
    fixture_close(&f);
}

static void without_a_base_everything_is_touched(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, 1);
    push_steps(&f, 50);
    Dump want = dump_store(&f, f.store), base = {0};
    StoreCut *cut = store_cut_begin(f.store, true, SIZE_MAX);
    Dump got = dump_cut(&f, cut);
    store_cut_end(&cut, false);
    assert_same_dump(&got, &want);
    check_increment(&f, &base, 10);
    free(got.bytes);
    free(want.bytes);
    fixture_close(&f);
}

/* Only what the cut holds is copied: a bound that would not do for a full one does here. */
static void untouched_chunks_are_not_copied(void **state) {
    (void)state;
    Fixture f;
    fixture_open(&f, 1);
    push_steps(&f, 400);
    Dump base = full_cut(&f, true);
    StoreCut *cut = store_cut_begin(f.store, true, SIZE_MAX);
    push_steps(&f, 20);
    assert_int_equal(store_cut_stats(cut).max_copied_bytes, 0);
    Dump got = dump_cut(&f, cut);
    assert_int_equal(got.n_rows, 0);
    store_cut_end(&cut, false);
    free(base.bytes);
    free(got.bytes);
    fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(touched_rows_over_the_base_are_the_store),
        cmocka_unit_test(what_is_pushed_while_the_base_is_read_comes_with_the_next),
        cmocka_unit_test(a_full_cut_that_fails_loses_no_mark),
        cmocka_unit_test(without_a_base_everything_is_touched),
        cmocka_unit_test(untouched_chunks_are_not_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
