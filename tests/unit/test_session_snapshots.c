/* A server and snapshots: what it does while it writes one, and how it begins with one. */
/* link: mg_server */
#include "tests/unit/session_fixture.h"

enum { WORKER = 1001, OTHER_WORKER = 1002, N_KEYS = 40000 };

/* ---- writing -------------------------------------------------------------------------------------------------- */

static void pushes_and_pulls_go_on_while_the_files_are_written(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 9, 3);
    float value = 0;
    Message m;
    hello(f, WORKER);
    push(f, WORKER, 1, 2, 0);
    write_mark(f, &m, 1, 0);
    assert_true(mark(f, &m));
    assert_int_equal(push(f, WORKER, 1, 3, 0), STATUS_OK);
    assert_int_equal(pull(f, WORKER, 1, 4, &value), STATUS_OK);
    assert_true(value == -0.5F); /* both pushes */
    assert_int_equal(open_epoch(f, 2, 9, 3), 1);
    forget_sent(f);
    session_on_written(f->session, OK, "[]", f->now_ms);
    const Message *written = only(f, PEER_SCHEDULER, MESSAGE_WRITTEN);
    assert_int_equal(written->written.cut, 1);
    assert_int_equal(written->written.is_ok, 1);
    assert_memory_equal(written->frames[0].data, "[]", 2);
    fixture_close(f);
}

/* Adds 1 to rows [0, N_KEYS) of a table; false: no answer has come. */
static bool push_rows(Fixture *f, uint64_t peer, int table, uint32_t step) {
    static uint64_t keys[N_KEYS];
    static float grads[N_KEYS * TOY_WIDTH];
    Message m;
    for (uint32_t i = 0; i < N_KEYS; i++)
        keys[i] = key_of(table, i);
    for (size_t i = 0; i < N_KEYS * TOY_WIDTH; i++)
        grads[i] = 1;
    write_push(&m, 1, step, keys, N_KEYS, grads, N_KEYS * TOY_WIDTH);
    from_worker(f, peer, &m);
    if (f->n_sent)
        assert_int_equal(only(f, peer, MESSAGE_PUSHED)->pushed.status, STATUS_OK);
    return f->n_sent == 1;
}

/* Both tables have rows, and a cut may copy a megabyte: the rows of one table fit in, those of two do not. */
static Fixture *fixture_with_little_room(void) {
    Fixture *f = fixture_open(0);
    Message m;
    f->config.snapshot.copy_mb = 1;
    f->config.train.batch = 2000; /* so that the credit is enough */
    write_welcome(f, &m);
    from_scheduler(f, &m);
    write_view(&m, 1, 1);
    from_scheduler(f, &m);
    open_epoch(f, 1, 9, 3);
    hello(f, WORKER);
    hello(f, OTHER_WORKER);
    assert_true(push_rows(f, WORKER, TOY_A, 0) && push_rows(f, WORKER, TOY_SHARED, 1));
    return f;
}

static void begin_cut(Fixture *f) {
    Message m;
    write_mark(f, &m, 1, 0);
    assert_true(mark(f, &m));
}

static void pushes_without_room_for_old_rows_wait_and_are_tried_again(void **state) {
    (void)state;
    Fixture *f = fixture_with_little_room();
    begin_cut(f);
    assert_true(push_rows(f, WORKER, TOY_A, 2)); /* alone it is never refused */
    assert_false(session_has_waiting_pushes(f->session));
    assert_false(push_rows(f, WORKER, TOY_SHARED, 3));
    assert_true(session_has_waiting_pushes(f->session));
    session_on_retry(f->session, f->now_ms);
    assert_int_equal(f->n_sent, 0);
    assert_int_equal(session_stats(f->session).n_parked, 1);
    assert_int_equal(session_stats(f->session).n_waits, 2);
    session_on_written(f->session, OK, "[]", f->now_ms);
    assert_int_equal(f->n_sent, 2);
    assert_int_equal(f->sent[0].m.type, MESSAGE_WRITTEN);
    assert_int_equal(f->sent[1].m.pushed.status, STATUS_OK);
    assert_false(session_has_waiting_pushes(f->session));
    fixture_close(f);
}

/* One budget for all: where the first has no room, trying the others is work for nothing. */
static void the_first_push_that_still_waits_ends_a_retry(void **state) {
    (void)state;
    Fixture *f = fixture_with_little_room();
    begin_cut(f);
    assert_true(push_rows(f, WORKER, TOY_A, 2));
    assert_false(push_rows(f, WORKER, TOY_SHARED, 3));
    assert_false(push_rows(f, OTHER_WORKER, TOY_SHARED, 4));
    for (int i = 0; i < 2; i++)
        session_on_retry(f->session, f->now_ms);
    assert_int_equal(session_stats(f->session).n_parked, 2);
    assert_int_equal(session_stats(f->session).n_waits, 4); /* each once, and the first twice more */
    session_on_written(f->session, OK, "[]", f->now_ms);
    assert_int_equal(f->n_sent, 3);
    assert_int_equal(f->sent[1].peer, WORKER);
    assert_int_equal(f->sent[2].peer, OTHER_WORKER);
    assert_int_equal(session_stats(f->session).n_parked, 0);
    fixture_close(f);
}

typedef struct Replies {
    struct {
        MessageType type;
        uint64_t sequence, status;
        float value; /* the first that was pulled */
    } at[8];
    int n;
} Replies;

/* Of what was sent last, what went to the worker. */
static void add_replies(const Fixture *f, Replies *r) {
    for (int i = 0; i < f->n_sent; i++) {
        const Message *m = &f->sent[i].m;
        if (f->sent[i].peer != WORKER)
            continue;
        assert_in_range(r->n, 0, 7);
        r->at[r->n].type = m->type;
        r->at[r->n].sequence = m->sequence;
        r->at[r->n].status = m->type == MESSAGE_VALUES ? m->values.status : m->pushed.status;
        if (m->n_frames)
            memcpy(&r->at[r->n].value, m->frames[0].data, sizeof r->at[r->n].value);
        r->n++;
    }
}

/* Two steps of an asynchronous worker that does not wait for PUSHED, and the pull of a third, all of one row. */
static void two_steps(Fixture *f, Replies *r) {
    const uint64_t key = key_of(TOY_SHARED, 7);
    const float grads[TOY_WIDTH] = {3};
    Message m;
    push_rows(f, WORKER, TOY_SHARED, 3);
    add_replies(f, r);
    for (uint32_t step = 4; step < 6; step++) {
        write_pull(&m, 1, step, &key, 1);
        from_worker(f, WORKER, &m);
        add_replies(f, r);
        if (step == 5)
            break;
        write_push(&m, 1, step, &key, 1, grads, TOY_WIDTH);
        from_worker(f, WORKER, &m);
        add_replies(f, r);
    }
}

static void a_push_that_waits_is_not_overtaken_by_its_worker(void **state) {
    (void)state;
    Replies replies[2] = {0};
    for (int has_cut = 0; has_cut < 2; has_cut++) {
        Replies *r = &replies[has_cut];
        Fixture *f = fixture_with_little_room();
        if (has_cut)
            begin_cut(f);
        assert_true(push_rows(f, WORKER, TOY_A, 2));
        two_steps(f, r);
        assert_int_equal(r->n, has_cut ? 0 : 4);
        assert_int_equal(session_stats(f->session).n_parked, has_cut ? 4 : 0);
        if (has_cut) {
            session_on_written(f->session, OK, "[]", f->now_ms);
            add_replies(f, r);
        }
        assert_int_equal(session_stats(f->session).n_parked, 0);
        fixture_close(f);
    }
    assert_true(replies[0].at[1].value != replies[0].at[3].value); /* each pull sees the push before it */
    assert_memory_equal(&replies[1], &replies[0], sizeof *replies);
}

static void what_waits_behind_a_push_holds_up_nobody_else_and_dies_with_its_connection(void **state) {
    (void)state;
    const uint64_t key = key_of(TOY_SHARED, 7);
    Fixture *f = fixture_with_little_room();
    Replies r = {0};
    float value = 0;
    Message m;
    begin_cut(f);
    assert_true(push_rows(f, WORKER, TOY_A, 2));
    two_steps(f, &r);
    assert_int_equal(pull(f, OTHER_WORKER, 1, 6, &value), STATUS_OK);
    write_pull(&m, 1, 0, &key, 1);
    m.pull.pass = 1;
    m.pull.split = SPLIT_VALID;
    from_worker(f, WORKER, &m); /* no training: it names its own moment */
    assert_int_equal(only(f, WORKER, MESSAGE_VALUES)->values.status, STATUS_RETRY);
    hello(f, WORKER);
    assert_int_equal(session_stats(f->session).n_parked, 0);
    assert_int_equal(pull(f, WORKER, 1, 4, &value), STATUS_OK);
    fixture_close(f);
}

static void a_mark_that_is_repeated_is_answered_again_and_written_once(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 9, 3);
    Message m;
    hello(f, WORKER);
    push(f, WORKER, 1, 2, 0);
    for (int i = 0; i < 2; i++) {
        write_mark(f, &m, 1, 0);
        assert_true(mark(f, &m));
        assert_int_equal(f->n_sent, 1);
    }
    assert_int_equal(f->n_writes, 1);
    session_on_written(f->session, OK, "[]", f->now_ms);
    push(f, WORKER, 1, 3, 0);
    write_mark(f, &m, 1, 0); /* its bits are others by now: it is the old cut all the same */
    assert_true(mark(f, &m));
    assert_int_equal(f->n_sent, 2);
    assert_int_equal(f->sent[1].m.type, MESSAGE_WRITTEN);
    assert_memory_equal(f->sent[1].m.frames[0].data, "[]", 2);
    write_mark(f, &m, 2, 0);
    ((uint8_t *)m.frames[0].data)[0] = 0;
    assert_false(mark(f, &m));
    write_mark(f, &m, 2, 0); /* was refused: no repetition makes it right */
    assert_false(mark(f, &m));
    assert_int_equal(f->n_writes, 1);
    fixture_close(f);
}

static void an_incremental_cut_goes_on_from_the_last_full_one_that_was_written(void **state) {
    (void)state;
    static const struct {
        uint64_t cut, base;
        bool is_taken;
        Err result;
    } STEPS[] = {
        {1, 9, false, OK},                                          /* there is none yet */
        {2, 0, true, ERR_IO}, {3, 2, false, OK},                    /* nor now */
        {4, 0, true, OK},     {5, 4, true, OK},  {6, 5, false, OK}, /* 5 is not full */
        {7, 4, true, ERR_IO}, {8, 4, true, OK},  {9, 0, true, OK},  {10, 4, false, OK}, {11, 9, true, OK},
    };
    Fixture *f = fixture_serve(0, 1, 9, 3);
    hello(f, WORKER);
    push(f, WORKER, 1, 2, 0);
    for (size_t i = 0; i < sizeof STEPS / sizeof *STEPS; i++) {
        Message m;
        write_mark(f, &m, STEPS[i].cut, STEPS[i].base);
        assert_int_equal(mark(f, &m), STEPS[i].is_taken);
        if (!STEPS[i].is_taken)
            continue;
        bool is_ok = STEPS[i].result == OK;
        session_on_written(f->session, is_ok ? OK : err_fail(ERR_IO, "the disk is full"), is_ok ? "[]" : NULL,
                           f->now_ms);
    }
    fixture_close(f);
}

static void a_run_that_ends_while_files_are_written_leaves_nothing(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 9, 3);
    Message m;
    hello(f, WORKER);
    push(f, WORKER, 1, 2, 0);
    write_mark(f, &m, 1, 0);
    assert_true(mark(f, &m));
    session_on_stop(f->session);
    forget_sent(f);
    session_on_written(f->session, OK, "[]", f->now_ms);
    assert_int_equal(f->n_sent, 0);
    fixture_close(f);
}

/* ---- beginning ------------------------------------------------------------------------------------------------ */

/* A session that has been told to load; the VIEW's answer is still out. */
static Fixture *fixture_loading(Restore restore, uint64_t sequence) {
    Fixture *f = fixture_open(0);
    Message m;
    write_welcome(f, &m);
    from_scheduler(f, &m);
    write_view(&m, 1, 2);
    m.view.restore = restore;
    strcpy(m.view.snapshot, "/runs/one/snapshots/epoch-0003");
    m.sequence = sequence;
    from_scheduler(f, &m);
    return f;
}

/* What a load gives: a store in the middle of epoch 3. */
static Store *loaded_store(const Fixture *f) {
    Store *store;
    assert_int_equal(store_open(&store, f->load->schema, f->load->optimizer, 7, f->load->n_ranks), OK);
    const uint8_t a[] = {5, 0}, b[] = {0};
    store_restore(store, 3, (const uint32_t[]){9, 3}, (const uint8_t *const[]){a, b}, (const uint64_t[]){20, 6});
    return store;
}

static void rows_are_loaded_before_it_is_ready(void **state) {
    (void)state;
    Fixture *f = fixture_loading(RESTORE_RESUME, 1);
    assert_int_equal(f->n_loads, 1);
    assert_int_equal(f->n_sent, 0);
    assert_string_equal(f->load->dir, "/runs/one/snapshots/epoch-0003");
    assert_int_equal(f->load->how.restore, RESTORE_RESUME);
    assert_int_equal(f->load->how.rank, RANK);
    assert_int_equal(f->load->how.slot_map[1], 1);
    Message m;
    write_hello(&m);
    from_worker(f, WORKER, &m); /* a worker that is quicker waits */
    assert_int_equal(f->n_sent, 0);
    write_view(&m, 1, 2);
    m.sequence = 2;
    from_scheduler(f, &m); /* a copy */
    session_on_tick(f->session, f->now_ms += HEARTBEAT_MS);
    assert_int_equal(only(f, PEER_SCHEDULER, MESSAGE_HEARTBEAT)->heartbeat.n_rows, 0); /* alive all the while */
    forget_sent(f);
    session_on_loaded(f->session, OK, loaded_store(f), f->now_ms);
    assert_int_equal(f->n_loads, 1);
    assert_int_equal(f->n_sent, 2);
    assert_int_equal(f->sent[0].m.type, MESSAGE_READY);
    assert_int_equal(f->sent[0].m.ready.map, 1);
    assert_int_equal(f->sent[0].m.sequence, 2);
    assert_int_equal(f->sent[1].m.type, MESSAGE_WELCOME);
    message_init(&m, MESSAGE_REPORT_ASK);
    from_scheduler(f, &m);
    const Message *report = only(f, PEER_SCHEDULER, MESSAGE_REPORT);
    assert_int_equal(report->report.epoch, 3);
    assert_int_equal(report->report.t_a, 20);
    assert_int_equal(((const uint8_t *)report->frames[0].data)[0], 5);
    assert_int_equal(open_epoch(f, 4, 9, 3), 3); /* its bits are not full */
    fixture_close(f);
}

static void rows_that_cannot_be_loaded_end_the_server_with_their_sentence(void **state) {
    (void)state;
    Fixture *f = fixture_loading(RESTORE_INIT, 1);
    session_on_loaded(f->session, err_fail(ERR_CORRUPT, "server-0.A.safetensors: block 3 of 9"), NULL, f->now_ms);
    const MessageBYE *bye = &only(f, PEER_SCHEDULER, MESSAGE_BYE)->bye;
    assert_int_equal(bye->code, -ERR_CORRUPT);
    assert_string_equal(bye->text, "server-0.A.safetensors: block 3 of 9");
    assert_int_equal(f->code, ERR_CORRUPT);
    fixture_close(f);
}

static void a_run_that_ends_while_rows_are_loaded_frees_them(void **state) {
    (void)state;
    Fixture *f = fixture_loading(RESTORE_RESUME, 1);
    session_on_stop(f->session);
    forget_sent(f);
    session_on_loaded(f->session, OK, loaded_store(f), f->now_ms);
    assert_int_equal(f->n_sent, 0);
    assert_null(session_store(f->session));
    fixture_close(f);
}

static void a_view_with_another_way_to_restore_is_refused(void **state) {
    (void)state;
    Fixture *f = fixture_loading((Restore)(RESTORE_INIT_MOMENTS + 1), 1);
    assert_int_equal(f->code, ERR_PROTOCOL);
    assert_int_equal(f->n_loads, 0);
    fixture_close(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pushes_and_pulls_go_on_while_the_files_are_written),
        cmocka_unit_test(pushes_without_room_for_old_rows_wait_and_are_tried_again),
        cmocka_unit_test(the_first_push_that_still_waits_ends_a_retry),
        cmocka_unit_test(a_push_that_waits_is_not_overtaken_by_its_worker),
        cmocka_unit_test(what_waits_behind_a_push_holds_up_nobody_else_and_dies_with_its_connection),
        cmocka_unit_test(a_mark_that_is_repeated_is_answered_again_and_written_once),
        cmocka_unit_test(an_incremental_cut_goes_on_from_the_last_full_one_that_was_written),
        cmocka_unit_test(a_run_that_ends_while_files_are_written_leaves_nothing),
        cmocka_unit_test(rows_are_loaded_before_it_is_ready),
        cmocka_unit_test(rows_that_cannot_be_loaded_end_the_server_with_their_sentence),
        cmocka_unit_test(a_run_that_ends_while_rows_are_loaded_frees_them),
        cmocka_unit_test(a_view_with_another_way_to_restore_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
