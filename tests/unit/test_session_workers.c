/* A server and its workers: sync, credit, framing. */
/* link: mg_server */
#include <math.h>

#include "server/session/session_parts.h"
#include "tests/unit/session_fixture.h"

enum { WORKER = 1001, OTHER = 1002 };

static const uint64_t PROBE = (uint64_t)TOY_DENSE_SHARED << KEY_ROW_BITS;

/* ---- sync ----------------------------------------------------------------------------------------------------- */

static void sync_pulls_wait_for_their_order(void **state) {
    (void)state;
    Fixture *f = fixture_serve(1, 1, 4, 0);
    hello(f, WORKER);
    hello(f, OTHER);
    Message m;
    write_pull(&m, 1, 2, &PROBE, 1);
    from_worker(f, OTHER, &m);
    write_pull(&m, 1, 1, &PROBE, 1);
    from_worker(f, OTHER, &m);
    assert_int_equal(f->n_sent, 0);
    assert_int_equal(session_stats(f->session).n_parked, 2);
    assert_int_equal(push(f, WORKER, 1, 0, 0), STATUS_OK);
    assert_int_equal(f->n_sent, 2); /* PUSHED, and the pull of order 1 */
    assert_int_equal(f->sent[1].peer, OTHER);
    assert_int_equal(f->sent[1].m.values.status, STATUS_OK);
    assert_true(*(float *)f->sent[1].m.frames[0].data == -0.25F);
    assert_int_equal(session_stats(f->session).n_parked, 1);
    assert_int_equal(push(f, WORKER, 1, 1, 0), STATUS_OK);
    assert_int_equal(f->n_sent, 2);
    assert_true(*(float *)f->sent[1].m.frames[0].data == -0.5F);
    assert_int_equal(session_stats(f->session).parked_bytes, 0);
    fixture_close(f);
}

static void sync_holds_pushes_until_all_ranks_are_here(void **state) {
    (void)state;
    Fixture *f = fixture_serve(3, 1, 2, 0);
    float value = 7;
    hello(f, WORKER);
    assert_int_equal(push(f, WORKER, 1, 0, 2), STATUS_HELD);
    assert_int_equal(push(f, WORKER, 1, 0, 0), STATUS_HELD);
    assert_int_equal(push(f, WORKER, 1, 0, 2), STATUS_HELD); /* a second copy */
    assert_int_equal(f->session->undo_pending.n_rows, 2);    /* is not remembered twice: memory is bounded */
    assert_int_equal(pull(f, WORKER, 1, 0, &value), STATUS_OK);
    assert_true(value == 0);
    assert_int_equal(push(f, WORKER, 1, 0, 1), STATUS_OK);
    assert_int_equal(push(f, WORKER, 1, 0, 1), STATUS_APPLIED);
    assert_int_equal(pull(f, WORKER, 1, 1, &value), STATUS_OK);
    assert_true(value == -0.75F); /* three ranks, once each */
    fixture_close(f);
}

/* A worker died when its push had reached this server and not the next: whoever computes that rank again must see what
 * the other ranks saw. */
static void sync_gives_the_rows_as_they_were_before_the_last_step(void **state) {
    (void)state;
    Fixture *f = fixture_serve(2, 1, 4, 0);
    float value = 7;
    hello(f, WORKER);
    for (uint32_t step = 0; step < 3; step++) {
        push(f, WORKER, 1, step, 0);
        push(f, WORKER, 1, step, 1);
        assert_int_equal(pull(f, WORKER, 1, step, &value), STATUS_APPLIED);
        assert_true(value == -0.5F * (float)step);
        assert_int_equal(pull(f, WORKER, 1, step + 1, &value), STATUS_OK);
        assert_true(value == -0.5F * (float)(step + 1));
    }
    assert_int_equal(session_stats(f->session).n_undone, 3);
    value = 7;
    assert_int_equal(pull(f, WORKER, 1, 1, &value), STATUS_APPLIED); /* long past: without values */
    assert_true(value == 7);
    fixture_close(f);
}

static void sync_gives_a_row_that_the_last_step_made_its_initial_value(void **state) {
    (void)state;
    Fixture *f = fixture_serve(1, 1, 4, 0);
    const uint64_t keys[] = {key_of(TOY_A, 9), key_of(TOY_SHARED, 5), key_of(TOY_A, 4)};
    const float grads[3 * TOY_WIDTH] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    float before[3 * TOY_WIDTH];
    Message m;
    hello(f, WORKER);
    for (int i = 0; i < 2; i++) {
        write_pull(&m, 1, 0, keys, 3);
        from_worker(f, WORKER, &m);
        Message *r = only(f, WORKER, MESSAGE_VALUES);
        assert_int_equal(r->frames[0].size_bytes, sizeof before);
        if (i == 0)
            memcpy(before, r->frames[0].data, sizeof before);
        else
            assert_memory_equal(r->frames[0].data, before, sizeof before);
        write_push(&m, 1, 0, keys, 3, grads, 3 * TOY_WIDTH);
        from_worker(f, WORKER, &m);
    }
    fixture_close(f);
}

static void sync_does_not_remember_a_push_that_was_refused(void **state) {
    (void)state;
    Fixture *f = fixture_serve(2, 1, 4, 0);
    float value = 7, nan[SCHEMA_DENSE_WIDTH] = {NAN};
    Message m;
    hello(f, WORKER);
    write_push(&m, 1, 0, &PROBE, 1, nan, SCHEMA_DENSE_WIDTH);
    from_worker(f, WORKER, &m);
    only(f, WORKER, MESSAGE_REFUSE);
    hello(f, WORKER);
    push(f, WORKER, 1, 0, 0);
    push(f, WORKER, 1, 0, 1);
    assert_int_equal(pull(f, WORKER, 1, 0, &value), STATUS_APPLIED);
    assert_true(value == 0);
    fixture_close(f);
}

/* ---- credit --------------------------------------------------------------------------------------------------- */

static void a_worker_whose_pulls_wait_for_ever_is_dropped_at_the_end_of_its_credit(void **state) {
    (void)state;
    Fixture *f = fixture_serve(1, 1, 100, 0);
    uint64_t credit = hello(f, WORKER);
    static uint64_t keys[10000];
    for (uint32_t i = 0; i < 10000; i++)
        keys[i] = key_of(TOY_A, i);
    uint64_t cost = 10000 * (8 + 4 * TOY_WIDTH), n = 0;
    assert_true(credit >= 2 * cost && credit < SESSION_CREDIT_REQUESTS * cost);
    do {
        Message m;
        write_pull(&m, 1, 50, keys, 10000);
        from_worker(f, WORKER, &m);
        n++;
        assert_true(session_stats(f->session).parked_bytes <= credit);
    } while (f->n_sent == 0 && n < 100);
    assert_int_equal(n, credit / cost + 1);
    assert_non_null(strstr(only(f, WORKER, MESSAGE_REFUSE)->refuse.text, "exceeds the credit"));
    assert_int_equal(session_stats(f->session).n_parked, 0);
    assert_int_equal(session_stats(f->session).parked_bytes, 0);
    Message m;
    write_pull(&m, 1, 0, keys, 1); /* and is not heard any more */
    from_worker(f, WORKER, &m);
    assert_int_equal(f->n_sent, 0);
    assert_int_equal(hello(f, WORKER), credit); /* but for a HELLO, which starts anew */
    fixture_close(f);
}

static void credit_is_counted_in_requests_too(void **state) {
    (void)state;
    Fixture *f = fixture_serve(1, 1, 100, 0);
    hello(f, WORKER);
    for (int i = 0; i <= SESSION_CREDIT_REQUESTS; i++) {
        Message m;
        assert_int_equal(f->n_sent, i == 0);
        write_pull(&m, 1, 50, NULL, 0);
        from_worker(f, WORKER, &m);
    }
    only(f, WORKER, MESSAGE_REFUSE);
    fixture_close(f);
}

static void every_reply_returns_the_credit(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 4, 0);
    float value;
    hello(f, WORKER);
    for (int i = 0; i < 3 * SESSION_CREDIT_REQUESTS; i++) {
        assert_int_equal(pull(f, WORKER, 1, 0, &value), i ? STATUS_APPLIED : STATUS_OK);
        assert_int_equal(pull(f, WORKER, 2, 0, &value), STATUS_RETRY);
        assert_int_equal(push(f, WORKER, 1, 0, 0), i ? STATUS_APPLIED : STATUS_OK);
        assert_int_equal(push(f, WORKER, 2, 0, 0), STATUS_RETRY);
    }
    fixture_close(f);
}

static void a_new_hello_voids_what_waited(void **state) {
    (void)state;
    Fixture *f = fixture_serve(1, 1, 4, 0);
    hello(f, WORKER);
    hello(f, OTHER);
    Message m;
    for (uint64_t peer = WORKER; peer <= OTHER; peer++) {
        write_pull(&m, 1, 1, NULL, 0);
        from_worker(f, peer, &m);
    }
    hello(f, WORKER);
    assert_int_equal(session_stats(f->session).n_parked, 1);
    push(f, WORKER, 1, 0, 0);
    assert_int_equal(f->n_sent, 2);
    assert_int_equal(f->sent[1].peer, OTHER);
    write_pull(&m, 1, 2, NULL, 0);
    from_worker(f, OTHER, &m);
    session_on_fault(f->session, OTHER); /* as does the link's end */
    assert_int_equal(session_stats(f->session).n_parked, 0);
    push(f, WORKER, 1, 1, 0);
    only(f, WORKER, MESSAGE_PUSHED);
    fixture_close(f);
}

static void credit_covers_the_largest_planned_steps_within_its_bound(void **state) {
    (void)state;
    static Schema schema;
    Config c;
    toy_tables(&schema);
    config_defaults(&c);
    c.model.seq_len = 5;
    c.train.batch = 10;
    c.train.negatives = 9;
    c.train.prefetch = 1;
    c.eval.batch = 1;
    c.cluster.credit_mb = 1;
    uint64_t ids = 10 * (2 * 5 + 10), row = 8 + 4 * TOY_WIDTH, wide = 8 + 4 * SCHEMA_DENSE_WIDTH;
    uint64_t step = 2 * (2 * ids * row + wide + 2 * wide); /* item.A and item.shared; probe; two rows of sums */
    assert_int_equal(session_plan_step(&c, &schema), step);
    assert_int_equal(session_plan_credit(&c, &schema), 3 * step);
    c.eval.batch = 100; /* its pulls are larger now */
    assert_int_equal(session_plan_step(&c, &schema), 2 * 100 * 20 * row + 3 * wide);
    c.eval.batch = 1 << 16;
    assert_int_equal(session_plan_credit(&c, &schema), 1 << 20);
}

/* ---- framing -------------------------------------------------------------------------------------------------- */

static void values_are_cut_between_rows_and_keys_anywhere(void **state) {
    (void)state;
    enum { N = 180000, IN_FRAME = MESSAGE_FRAME_BYTES / (4 * TOY_WIDTH) };
    Fixture *f = fixture_open(0);
    f->config.eval.batch = 65536; /* credit for it */
    Message m;
    write_welcome(f, &m);
    from_scheduler(f, &m);
    write_view(&m, 1, 1);
    from_scheduler(f, &m);
    open_epoch(f, 1, 2, 0);
    hello(f, WORKER);
    uint64_t *keys = must_alloc(N * sizeof *keys);
    float *grads = must_calloc(N * TOY_WIDTH, sizeof *grads);
    for (uint32_t i = 0; i < N; i++)
        keys[i] = key_of(TOY_A, (uint64_t)i * 7 % TOY_ITEMS); /* unique: 7 does not divide TOY_ITEMS */
    grads[(N - 1) * TOY_WIDTH] = 1;
    float last[2] = {0};
    for (int i = 0; i < 2; i++) {
        write_pull(&m, 1, 0, keys, N);
        assert_int_equal(m.n_frames, 2);
        from_worker(f, WORKER, &m);
        Message *r = only(f, WORKER, MESSAGE_VALUES);
        assert_int_equal(r->values.n_values, N * TOY_WIDTH);
        assert_int_equal(r->n_frames, (N + IN_FRAME - 1) / IN_FRAME);
        for (int j = 0; j < r->n_frames - 1; j++)
            assert_int_equal(r->frames[j].size_bytes, IN_FRAME * TOY_WIDTH * 4);
        last[i] = ((float *)r->frames[r->n_frames - 1].data)[(N - 1) % IN_FRAME * TOY_WIDTH];
        write_push(&m, 1, 0, keys, N, grads, N * TOY_WIDTH);
        from_worker(f, WORKER, &m);
        assert_int_equal(only(f, WORKER, MESSAGE_PUSHED)->pushed.status, i ? STATUS_APPLIED : STATUS_OK);
    }
    assert_true(last[1] == last[0] - 0.25F);
    free(keys);
    free(grads);
    fixture_close(f);
}

static void unaligned_frames_are_read_all_the_same(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 2, 0);
    hello(f, WORKER);
    Message m;
    float grads[SCHEMA_DENSE_WIDTH] = {1}, value;
    write_push(&m, 1, 0, NULL, 0, NULL, 0);
    m.push.n_keys = 1;
    const void *parts[] = {&PROBE, grads};
    const size_t sizes[] = {sizeof PROBE, sizeof grads};
    for (int i = 0; i < 2; i++) {
        char *frame = message_add_frame(&m, sizes[i] + 3);
        memcpy(frame + 3, parts[i], sizes[i]);
        m.frames[i].data = frame + 3;
        m.frames[i].size_bytes = sizes[i];
    }
    from_worker(f, WORKER, &m);
    assert_int_equal(only(f, WORKER, MESSAGE_PUSHED)->pushed.status, STATUS_OK);
    pull(f, WORKER, 1, 1, &value);
    assert_true(value == -0.25F);
    fixture_close(f);
}

/* ---- coming and going ------------------------------------------------------------------------------------------- */

static void a_worker_that_is_early_is_welcomed_after_the_view(void **state) {
    (void)state;
    Fixture *f = fixture_open(0);
    Message m;
    write_hello(&m);
    from_worker(f, WORKER, &m);
    assert_int_equal(f->n_sent, 0);
    write_welcome(f, &m);
    from_scheduler(f, &m);
    write_view(&m, 1, 1);
    from_scheduler(f, &m);
    assert_int_equal(f->n_sent, 2);
    assert_int_equal(f->sent[1].peer, WORKER);
    assert_int_equal(f->sent[1].m.type, MESSAGE_WELCOME);
    assert_true(f->sent[1].m.welcome.credit_bytes > 0);
    fixture_close(f);
}

static void the_table_of_workers_forgets_the_most_silent(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 4, 0);
    float value;
    for (uint64_t i = 0; i < SESSION_MAX_PEERS; i++, f->now_ms++)
        hello(f, WORKER + i);
    assert_int_equal(pull(f, WORKER, 1, 0, &value), STATUS_OK); /* so that the second is the most silent */
    hello(f, WORKER + SESSION_MAX_PEERS);
    assert_int_equal(pull(f, WORKER, 1, 0, &value), STATUS_OK);
    Message m;
    write_pull(&m, 1, 0, NULL, 0);
    from_worker(f, WORKER + 1, &m);
    assert_int_equal(f->n_sent, 0);
    fixture_close(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sync_pulls_wait_for_their_order),
        cmocka_unit_test(sync_holds_pushes_until_all_ranks_are_here),
        cmocka_unit_test(sync_gives_the_rows_as_they_were_before_the_last_step),
        cmocka_unit_test(sync_gives_a_row_that_the_last_step_made_its_initial_value),
        cmocka_unit_test(sync_does_not_remember_a_push_that_was_refused),
        cmocka_unit_test(a_worker_whose_pulls_wait_for_ever_is_dropped_at_the_end_of_its_credit),
        cmocka_unit_test(credit_is_counted_in_requests_too),
        cmocka_unit_test(every_reply_returns_the_credit),
        cmocka_unit_test(a_new_hello_voids_what_waited),
        cmocka_unit_test(credit_covers_the_largest_planned_steps_within_its_bound),
        cmocka_unit_test(values_are_cut_between_rows_and_keys_anywhere),
        cmocka_unit_test(unaligned_frames_are_read_all_the_same),
        cmocka_unit_test(a_worker_that_is_early_is_welcomed_after_the_view),
        cmocka_unit_test(the_table_of_workers_forgets_the_most_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
