/* The policy of leases, by itself. */
/* link: mg_server */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/scheduler/lease.h"

enum { TERM_MS = 1000 };

static LeaseBook book_of(uint32_t n_pieces) {
    LeaseBook b;
    lease_book_init(&b, TERM_MS);
    for (uint32_t i = 0; i < n_pieces; i++)
        lease_book_add(&b, (Piece){.kind = LEASE_PART, .chunk = i});
    return b;
}

static uint64_t grant(LeaseBook *b, uint64_t worker, uint64_t now_ms) {
    Lease *lease = lease_open(b, worker, now_ms);
    lease_take(b, lease, lease_next_todo(b));
    return lease->id;
}

static void pieces_are_handed_out_in_order_and_once(void **state) {
    (void)state;
    LeaseBook b = book_of(100);
    for (uint32_t i = 0; i < 100; i++) {
        Piece *piece = lease_next_todo(&b);
        assert_int_equal(piece->chunk, i);
        grant(&b, i + 1, 0);
        assert_int_equal(piece->state, PIECE_LEASED);
    }
    assert_null(lease_next_todo(&b));
    assert_int_equal(b.n_of[PIECE_LEASED], 100);
    lease_book_free(&b);
}

static void a_piece_given_back_is_handed_out_again(void **state) {
    (void)state;
    LeaseBook b = book_of(2);
    uint64_t first = grant(&b, 1, 0);
    grant(&b, 2, 0);
    lease_end(&b, first, false);
    assert_null(lease_of(&b, 1));
    assert_int_equal(lease_next_todo(&b)->chunk, 0);
    assert_false(lease_book_is_done(&b));
    lease_book_free(&b);
}

static void a_book_is_done_when_all_pieces_are(void **state) {
    (void)state;
    LeaseBook b = book_of(2);
    uint64_t first = grant(&b, 1, 0), second = grant(&b, 2, 0);
    lease_end(&b, first, true);
    assert_false(lease_book_is_done(&b));
    lease_end(&b, second, true);
    assert_true(lease_book_is_done(&b));
    assert_int_equal(b.n_leases, 0);
    lease_book_free(&b);
}

static void an_end_that_comes_late_changes_nothing(void **state) {
    (void)state;
    LeaseBook b = book_of(1);
    uint64_t first = grant(&b, 1, 0);
    lease_end(&b, first, false); /* taken back */
    uint64_t second = grant(&b, 2, 0);
    lease_end(&b, first, true); /* the first worker, late */
    assert_int_equal(b.n_of[PIECE_LEASED], 1);
    assert_int_equal(lease_of(&b, 2)->id, second);
    lease_book_free(&b);
}

static void a_lease_expires_after_a_term_without_progress(void **state) {
    (void)state;
    LeaseBook b = book_of(1);
    uint64_t id = grant(&b, 1, 500);
    assert_null(lease_expired(&b, 500 + TERM_MS - 1));
    assert_int_equal(lease_expired(&b, 500 + TERM_MS)->id, id);
    lease_book_free(&b);
}

static void progress_starts_the_term_anew_and_silence_does_not(void **state) {
    (void)state;
    LeaseBook b = book_of(1);
    uint64_t id = grant(&b, 1, 0);
    lease_progress(&b, id, 3, 900);
    assert_null(lease_expired(&b, 900 + TERM_MS - 1));
    lease_progress(&b, id, 3, 1800); /* the same number: nothing was done */
    assert_non_null(lease_expired(&b, 900 + TERM_MS));
    lease_progress(&b, id + 1, 9, 1800); /* no such lease */
    lease_book_free(&b);
}

static void numbers_are_never_used_twice(void **state) {
    (void)state;
    LeaseBook b = book_of(1);
    uint64_t first = grant(&b, 1, 0);
    lease_book_clear(&b);
    assert_int_equal(b.n_pieces, 0);
    assert_null(lease_find(&b, first));
    lease_book_add(&b, (Piece){.kind = LEASE_PART});
    assert_true(grant(&b, 1, 0) > first);
    lease_book_free(&b);
}

static void a_lease_of_several_ranks_ends_as_one(void **state) {
    (void)state;
    LeaseBook b = book_of(3);
    const Lease *lease = lease_open(&b, 1, 0);
    lease_take(&b, lease, &b.pieces[0]);
    lease_take(&b, lease, &b.pieces[2]);
    lease_end(&b, lease->id, true);
    assert_int_equal(b.n_of[PIECE_DONE], 2);
    assert_int_equal(b.pieces[1].state, PIECE_TODO);
    lease_book_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_handed_out_in_order_and_once),
        cmocka_unit_test(a_piece_given_back_is_handed_out_again),
        cmocka_unit_test(a_book_is_done_when_all_pieces_are),
        cmocka_unit_test(an_end_that_comes_late_changes_nothing),
        cmocka_unit_test(a_lease_expires_after_a_term_without_progress),
        cmocka_unit_test(progress_starts_the_term_anew_and_silence_does_not),
        cmocka_unit_test(numbers_are_never_used_twice),
        cmocka_unit_test(a_lease_of_several_ranks_ends_as_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
