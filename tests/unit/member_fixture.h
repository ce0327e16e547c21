/* A worker's talk with the scheduler, whom the test plays. */
#ifndef MANGROVE_TESTS_MEMBER_FIXTURE_H
#define MANGROVE_TESTS_MEMBER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/options.h"
#include "tests/unit/toy_data.h"
#include "worker/member.h"

enum { MAX_SENT = 64 };

typedef struct Fixture {
    char manifest[TOY_MANIFEST_BYTES];
    DataInfo info;
    Config config;
    Member *member;
    Message sent[MAX_SENT];
    int n_sent;
    uint64_t now_ms;
    int n_viewed, n_revoked;
    Assignment work; /* the last that was given */
    bool is_finished;
    Err code, welcome_result;
    char sentence[MESSAGE_TEXT];
} Fixture;

static inline void on_send(void *ctx, Message *m) {
    Fixture *f = ctx;
    assert_true(f->n_sent < MAX_SENT);
    message_move(&f->sent[f->n_sent++], m);
}

static inline Err on_welcomed(void *ctx, const Config *config, const Geometry *geometry, const WorkerIdentity *who) {
    Fixture *f = ctx;
    assert_int_equal(config->train.batch, f->config.train.batch);
    assert_int_equal(geometry->n_chunks, 4);
    assert_int_equal(who->id, 9);
    assert_int_equal(who->rank, 1);
    assert_int_equal(who->job, 77);
    return f->welcome_result ? err_fail(f->welcome_result, "no such model") : OK;
}

static inline Err on_viewed(void *ctx, const ClusterView *view) {
    Fixture *f = ctx;
    f->n_viewed++;
    assert_int_equal(view->n_servers, 2);
    assert_string_equal(view->endpoints[0], "tcp://one:1");
    assert_string_equal(view->endpoints[1], "tcp://two:2");
    assert_int_equal(view->slots[1], 1);
    return OK;
}

static inline void on_work(void *ctx, Assignment *a) {
    Fixture *f = ctx;
    assignment_free(&f->work);
    f->work = *a;
    *a = (Assignment){0};
}

static inline void on_revoke(void *ctx, uint64_t lease) {
    Fixture *f = ctx;
    assert_int_equal(lease, f->work.lease);
    f->n_revoked++;
}

static inline MemberStats on_stats(void *ctx) {
    (void)ctx;
    return (MemberStats){.n_steps = 3, .n_instances = 60, .sent_bytes = 1000};
}

static inline void on_finished(void *ctx, Err code, const char *sentence) {
    Fixture *f = ctx;
    assert_false(f->is_finished);
    f->is_finished = true;
    f->code = code;
    strncpy(f->sentence, sentence, sizeof f->sentence - 1);
}

static inline int open_fixture(void **state) {
    static const uint32_t N[N_DOMAINS][N_SPLITS] = {{100, 20, 20}, {60, 10, 10}};
    Fixture *f = calloc(1, sizeof *f);
    size_t size = toy_manifest(f->manifest, 4, N);
    assert_int_equal(datainfo_parse(&f->info, f->manifest, size), OK);
    config_defaults(&f->config);
    f->config.train.batch = 20;
    f->now_ms = 1000;
    MemberEnv env = {.ctx = f,
                     .send = on_send,
                     .welcomed = on_welcomed,
                     .viewed = on_viewed,
                     .work = on_work,
                     .revoke = on_revoke,
                     .stats = on_stats,
                     .finished = on_finished};
    member_open(&f->member, &f->info, f->manifest, "tcp://host:7000", &env, f->now_ms);
    *state = f;
    return 0;
}

static inline int close_fixture(void **state) {
    Fixture *f = *state;
    member_close(&f->member);
    for (int i = 0; i < f->n_sent; i++)
        message_free(&f->sent[i]);
    assignment_free(&f->work);
    datainfo_free(&f->info);
    free(f);
    return 0;
}

/* ---- the script --------------------------------------------------------------------------------------------- */

static inline const Message *last(const Fixture *f) {
    assert_true(f->n_sent > 0);
    return &f->sent[f->n_sent - 1];
}

static inline void receive(Fixture *f, Message *m) {
    member_on_message(f->member, m, f->now_ms);
    message_free(m);
}

static inline void welcome_with(Fixture *f, uint64_t fingerprint) {
    Message m;
    char *text = config_text(&f->config);
    message_init(&m, MESSAGE_WELCOME);
    m.job = 77;
    m.welcome.id = 9;
    m.welcome.rank = 1;
    m.welcome.config = fingerprint;
    message_add_bytes(&m, text, strlen(text));
    free(text);
    receive(f, &m);
}

static inline void welcome(Fixture *f) {
    welcome_with(f, config_fingerprint(&f->config));
}

static inline void view_with(Fixture *f, uint64_t map, const char *endpoints, uint16_t slot) {
    uint16_t slots[N_SLOTS] = {0, slot};
    Message m;
    message_init(&m, MESSAGE_VIEW);
    m.view.map = map;
    m.view.n_servers = 2;
    message_add_bytes(&m, slots, sizeof slots);
    message_add_bytes(&m, endpoints, strlen(endpoints));
    receive(f, &m);
}

static inline void view(Fixture *f) {
    view_with(f, 1, "tcp://one:1\ntcp://two:2\n", 1);
}

static inline void lease(Fixture *f, uint64_t number, uint64_t chunk) {
    Message m;
    message_init(&m, MESSAGE_LEASE);
    m.lease.lease = number;
    m.lease.kind = LEASE_PART;
    m.lease.epoch = 1;
    m.lease.chunk = chunk;
    receive(f, &m);
}

static inline void revoke(Fixture *f, uint64_t number) {
    Message m;
    message_init(&m, MESSAGE_LEASE_REVOKE);
    m.lease_revoke.lease = number;
    receive(f, &m);
}

static inline void wait_ms(Fixture *f, uint64_t ms) {
    for (uint64_t end = f->now_ms + ms; f->now_ms < end;) {
        f->now_ms += 100;
        member_on_tick(f->member, f->now_ms);
    }
}

static inline void go_to_work(Fixture *f) {
    welcome(f);
    view(f);
    member_on_connected(f->member);
    lease(f, 5, 2);
    assert_int_equal(f->work.lease, 5);
}

static inline void expect_bye(const Fixture *f, Err code, const char *words) {
    assert_int_equal(last(f)->type, MESSAGE_BYE);
    assert_int_equal(last(f)->bye.code, -code);
    assert_true(f->is_finished);
    assert_int_equal(f->code, code);
    if (!strstr(f->sentence, words))
        fail_msg("\"%s\" does not say \"%s\"", f->sentence, words);
}

/* A test with a Fixture as its state. */
#define MEMBER_TEST(f) cmocka_unit_test_setup_teardown(f, open_fixture, close_fixture)

#endif
