/* Whatever a worker or a scheduler may send that it should not: each gets its sentence, and nothing changes. */
/* link: mg_server */
#include <math.h>

#include "server/session/session_parts.h"
#include "tests/unit/session_fixture.h"

enum { WORKER = 1001 };

/* ---- workers are refused ---------------------------------------------------------------------------------------- */

/* A push or pull of n keys with values, of which one thing is then spoilt. */
typedef struct Spoilt {
    const char *sentence;
    MessageType type;
    uint64_t keys[2];
    int n_keys, n_values;
    int field; /* index among the message's u64 fields; -1: none */
    uint64_t number;
    float grad;
} Spoilt;

#define FIELD(type, name) (int)(offsetof(Message##type, name) / sizeof(uint64_t))
#define KEY(table, row)   ((uint64_t)(table) << KEY_ROW_BITS | (row))

static const Spoilt SPOILT[] = {
    {"row 9 of table A twice", MESSAGE_PUSH, {KEY(TOY_A, 9), KEY(TOY_A, 9)}, 2, 6, -1, 0, 1},
    {"are not finite", MESSAGE_PUSH, {KEY(TOY_A, 9)}, 1, 3, -1, 0, NAN},
    {"are not finite", MESSAGE_PUSH, {KEY(TOY_A, 9)}, 1, 3, -1, 0, -INFINITY},
    {"names table 5, there are 5", MESSAGE_PUSH, {KEY(5, 0)}, 1, 3, -1, 0, 1},
    {"names table 255, there are 5", MESSAGE_PULL, {KEY(255, 0)}, 1, 0, -1, 0, 1},
    {"names row 200000 of table A", MESSAGE_PULL, {KEY(TOY_A, TOY_ITEMS)}, 1, 0, -1, 0, 1},
    {"a PUSH of 3 values carries 1 frames of values with 8 bytes", MESSAGE_PUSH, {KEY(TOY_A, 9)}, 1, 2, -1, 0, 1},
    {"a PUSH of 3 values carries 0 frames", MESSAGE_PUSH, {KEY(TOY_A, 9)}, 1, 0, -1, 0, 1},
    {"a PUSH of 0 values carries 1 frames", MESSAGE_PUSH, {0}, 0, 1, -1, 0, 1},
    {"changes table B, which its steps do not reach", MESSAGE_PUSH, {KEY(TOY_B, 1)}, 1, 3, -1, 0, 1},
    {"PUSH of 2 keys, but its 1 key frames hold 8 bytes",
     MESSAGE_PUSH,
     {KEY(TOY_A, 9)},
     1,
     3,
     FIELD(PUSH, n_keys),
     2,
     1},
    {"PULL of 0 keys with 1 frames instead of 0", MESSAGE_PULL, {KEY(TOY_A, 9)}, 1, 0, FIELD(PULL, n_keys), 0, 1},
    {"exceeds the credit", MESSAGE_PULL, {KEY(TOY_A, 9)}, 1, 0, FIELD(PULL, n_keys), UINT64_MAX, 1},
    {"exceeds the credit", MESSAGE_PULL, {KEY(TOY_A, 9)}, 1, 0, FIELD(PULL, n_keys), UINT64_MAX / 8 + 2, 1},
    {"PUSH of 18446744073709551615 keys; a message holds", MESSAGE_PUSH, {0}, 0, 0, FIELD(PUSH, n_keys), UINT64_MAX, 1},
    {"there is no such step", MESSAGE_PUSH, {0}, 0, 0, FIELD(PUSH, domain), 2, 1},
    {"there is no such step", MESSAGE_PUSH, {0}, 0, 0, FIELD(PUSH, step), 4, 1},
    {"there is no such step", MESSAGE_PUSH, {0}, 0, 0, FIELD(PUSH, rank), 1, 1},
    {"there is no such step", MESSAGE_PUSH, {0}, 0, 0, FIELD(PUSH, epoch), UINT64_MAX, 1},
    {"a group of 1 steps from step 0: dense.push is 1", MESSAGE_PUSH, {0}, 0, 0, FIELD(PUSH, group), 1, 1},
    {"there is no such step", MESSAGE_PULL, {0}, 0, 0, FIELD(PULL, domain), UINT64_MAX, 1},
    {"there is no such step", MESSAGE_PULL, {0}, 0, 0, FIELD(PULL, split), SPLIT_VALID, 1},
    {"there is no such step", MESSAGE_PULL, {0}, 0, 0, FIELD(PULL, pass), 1, 1},
    {"there is no such step", MESSAGE_PULL, {0}, 0, 0, FIELD(PULL, rank), 1, 1},
    {"domain 0 has 4 steps", MESSAGE_PULL, {0}, 0, 0, FIELD(PULL, step), 4, 1},
};

static void a_malformed_request_is_refused_with_its_sentence_and_changes_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof SPOILT / sizeof *SPOILT; i++) {
        const Spoilt *c = &SPOILT[i];
        Fixture *f = fixture_serve(0, 1, 4, 0);
        const float grads[6] = {c->grad, 1, 1, 1, 1, 1};
        Message m;
        hello(f, WORKER);
        if (c->type == MESSAGE_PUSH)
            write_push(&m, 1, 0, c->keys, (uint32_t)c->n_keys, grads, (size_t)c->n_values);
        else
            write_pull(&m, 1, 0, c->keys, (uint32_t)c->n_keys);
        if (c->field >= 0)
            ((uint64_t *)&m.push)[c->field] = c->number;
        from_worker(f, WORKER, &m);
        const MessageREFUSE *r = &only(f, WORKER, MESSAGE_REFUSE)->refuse;
        if (!strstr(r->text, c->sentence))
            fail_msg("case %zu: \"%s\" does not say \"%s\"", i, r->text, c->sentence);
        assert_int_equal(r->code, -ERR_PROTOCOL);
        assert_int_equal(session_stats(f->session).n_refused, 1);
        assert_int_equal(store_stats(session_store(f->session)).n_rows, 0);
        assert_int_equal(store_applied_count(session_store(f->session)), 0);
        assert_int_equal(f->n_finished, 0);
        fixture_close(f);
    }
}

static void a_row_of_another_server_is_refused(void **state) {
    (void)state;
    for (int is_push = 0; is_push < 2; is_push++) {
        Fixture *f = fixture_serve(0, 2, 4, 0);
        uint64_t row = 0, key;
        float grads[TOY_WIDTH] = {1};
        Message m;
        while (key_slot(key = key_of(TOY_A, row)) % 2 == RANK)
            row++;
        hello(f, WORKER);
        if (is_push)
            write_push(&m, 1, 0, &key, 1, grads, TOY_WIDTH);
        else
            write_pull(&m, 1, 0, &key, 1);
        from_worker(f, WORKER, &m);
        assert_non_null(strstr(only(f, WORKER, MESSAGE_REFUSE)->refuse.text, "which is server 1's"));
        assert_int_equal(store_stats(session_store(f->session)).n_rows, 0);
        fixture_close(f);
    }
}

static void strangers_are_told_why_or_not_heard(void **state) {
    (void)state;
    Fixture *f = fixture_serve(0, 1, 4, 0);
    Message m;
    write_pull(&m, 1, 0, NULL, 0); /* no HELLO before it */
    from_worker(f, WORKER, &m);
    assert_int_equal(f->n_sent, 0);
    write_hello(&m);
    m.hello.role = ROLE_CONTROL;
    from_worker(f, WORKER, &m);
    assert_non_null(strstr(only(f, WORKER, MESSAGE_REFUSE)->refuse.text, "only workers connect to a server"));
    write_hello(&m);
    strcpy(m.hello.version, "0.0.9");
    from_worker(f, WORKER, &m);
    assert_non_null(strstr(only(f, WORKER, MESSAGE_REFUSE)->refuse.text, "the worker is mangrove 0.0.9"));
    write_hello(&m);
    forget_sent(f);
    session_on_worker(f->session, WORKER, &m, f->now_ms); /* job 0 */
    assert_non_null(strstr(only(f, WORKER, MESSAGE_REFUSE)->refuse.text, "belongs to job 0, the server to job 7"));
    hello(f, WORKER);
    message_init(&m, MESSAGE_LEASE_ASK);
    from_worker(f, WORKER, &m);
    assert_non_null(strstr(only(f, WORKER, MESSAGE_REFUSE)->refuse.text, "sent LEASE_ASK, which a server does not"));
    fixture_close(f);
}

/* ---- a scheduler that errs ends the server, which says why ------------------------------------------------------ */

typedef enum Wrong {
    WRONG_VERSION,
    WRONG_FINGERPRINT,
    WRONG_CONFIG,
    WRONG_TIMES,
    WRONG_SLOTS_SIZE,
    WRONG_SLOT,
    WRONG_RANK,
    WRONG_MANIFEST,
    WRONG_MAP,
    WRONG_EPOCH,
    WRONG_STEPS,
    WRONG_RESUME,
    WRONG_TYPE,
    WRONG_INCARNATION,
    WRONG_REFUSED,
    N_WRONG
} Wrong;

static const struct {
    Err code;
    const char *sentence;
} WRONGS[N_WRONG] = {
    [WRONG_VERSION] = {ERR_PROTOCOL, "the scheduler is mangrove 0.0.9"},
    [WRONG_FINGERPRINT] = {ERR_PROTOCOL, "has fingerprint"},
    [WRONG_CONFIG] = {ERR_CONFIG, "the scheduler's configuration:1"},
    [WRONG_TIMES] = {ERR_PROTOCOL, "impossible numbers"},
    [WRONG_SLOTS_SIZE] = {ERR_PROTOCOL, "a VIEW of 3 frames"},
    [WRONG_SLOT] = {ERR_PROTOCOL, "gives slot 5 to server 9 of 1"},
    [WRONG_RANK] = {ERR_PROTOCOL, "0 servers came to server 0"},
    [WRONG_MANIFEST] = {ERR_DATA, "the data manifest"},
    [WRONG_MAP] = {ERR_PROTOCOL, "slots cannot move"},
    [WRONG_EPOCH] = {ERR_PROTOCOL, "opens epoch 4294967296"},
    [WRONG_STEPS] = {ERR_PROTOCOL, "a domain has at most 8388608"},
    [WRONG_RESUME] = {ERR_PROTOCOL, "resumes cut 8"},
    [WRONG_TYPE] = {ERR_PROTOCOL, "sent LEASE, which a server does not take"},
    [WRONG_INCARNATION] = {ERR_PEER, "the scheduler was started again"},
    [WRONG_REFUSED] = {ERR_CONFIG, "the scheduler refused this server: one too many"},
};

static void spoil_welcome(Fixture *f, Message *m, Wrong wrong) {
    write_welcome(f, m);
    if (wrong == WRONG_VERSION)
        strcpy(m->welcome.version, "0.0.9");
    else if (wrong == WRONG_FINGERPRINT)
        m->welcome.config++;
    else if (wrong == WRONG_CONFIG)
        memcpy(m->frames[0].data, "zzz:", 4);
    else if (wrong == WRONG_TIMES)
        m->welcome.heartbeat_ms = 0;
}

static void spoil_view(Message *m, Wrong wrong) {
    write_view(m, 1, 1);
    if (wrong == WRONG_SLOTS_SIZE)
        m->frames[0].size_bytes -= 2;
    else if (wrong == WRONG_SLOT)
        ((uint16_t *)m->frames[0].data)[5] = 9;
    else if (wrong == WRONG_RANK)
        m->view.n_servers = 0;
    else if (wrong == WRONG_MANIFEST)
        m->frames[2].size_bytes -= 1;
}

static void spoil_later(Message *m, Wrong wrong) {
    static const MessageType TYPES[N_WRONG] = {
        [WRONG_EPOCH] = MESSAGE_EPOCH_OPEN, [WRONG_STEPS] = MESSAGE_EPOCH_OPEN,      [WRONG_RESUME] = MESSAGE_RESUME,
        [WRONG_TYPE] = MESSAGE_LEASE,       [WRONG_INCARNATION] = MESSAGE_HEARTBEAT, [WRONG_REFUSED] = MESSAGE_REFUSE};
    if (wrong == WRONG_MAP) {
        write_view(m, 2, 1);
        return;
    }
    message_init(m, TYPES[wrong]);
    if (wrong == WRONG_EPOCH)
        m->epoch_open = (MessageEPOCH_OPEN){.epoch = 1ull << 32, .steps_a = 1};
    else if (wrong == WRONG_STEPS)
        m->epoch_open = (MessageEPOCH_OPEN){.epoch = 2, .steps_a = SESSION_MAX_STEPS + 1};
    else if (wrong == WRONG_RESUME)
        m->resume = (MessageRESUME){.cut = 8, .map = 1};
    else if (wrong == WRONG_REFUSED)
        m->refuse = (MessageREFUSE){.code = (uint64_t)-ERR_CONFIG, .text = "one too many"};
}

static void a_scheduler_that_errs_ends_the_server_with_a_sentence(void **state) {
    (void)state;
    for (Wrong wrong = 0; wrong < N_WRONG; wrong++) {
        Fixture *f = fixture_open(0);
        Message m;
        spoil_welcome(f, &m, wrong);
        from_scheduler(f, &m);
        spoil_view(&m, wrong);
        from_scheduler(f, &m);
        if (!f->n_finished) {
            assert_int_equal(f->sent[0].m.type, MESSAGE_READY);
            spoil_later(&m, wrong);
            m.job = JOB;
            m.incarnation = SCHEDULER_INCARNATION + (wrong == WRONG_INCARNATION);
            session_on_scheduler(f->session, &m, f->now_ms);
            message_free(&m);
        }
        assert_int_equal(f->n_finished, 1);
        assert_int_equal(f->code, WRONGS[wrong].code);
        if (!strstr(f->sentence, WRONGS[wrong].sentence))
            fail_msg("case %d: \"%s\" does not say \"%s\"", wrong, f->sentence, WRONGS[wrong].sentence);
        fixture_close(f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_malformed_request_is_refused_with_its_sentence_and_changes_nothing),
        cmocka_unit_test(a_row_of_another_server_is_refused),
        cmocka_unit_test(strangers_are_told_why_or_not_heard),
        cmocka_unit_test(a_scheduler_that_errs_ends_the_server_with_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
