/* The world around a scheduler under test: a clock that the test moves, effects that are counted, and what is sent lies
 * in a list until the test takes it. Four chunks of A 20 and B 10 training instances; batches of 5. */
#ifndef MANGROVE_TESTS_SCHEDULER_WORLD_H
#define MANGROVE_TESTS_SCHEDULER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/log.h"
#include "common/options.h"
#include "server/scheduler/scheduler.h"
#include "tests/unit/toy_data.h"

enum {
    N_CHUNKS = 4,
    BATCH = 5,
    EVAL_BATCH = 3,
    STEPS_A = 16, /* 4 of each chunk */
    STEPS_B = 8,  /* 2 of each chunk */
    MAX_SENT = 4096,
    MAX_RESULTS = 64,
    SERVER = 100, /* peers: SERVER + rank, WORKER + i */
    WORKER = 200,
    CONTROL = 300,
};
static const uint32_t COUNTS[N_DOMAINS][N_SPLITS] = {{20, 5, 4}, {10, 4, 2}};

typedef struct Sent {
    uint64_t peer;
    Message m;
} Sent;

typedef struct FakeServer {
    uint32_t epoch;
    uint64_t t[N_DOMAINS];
    uint8_t bits[N_DOMAINS][4];
    bool refuses_mark, fails_to_write, is_mute; /* is_mute: answers nothing */
    bool holds_write;                           /* says MARKED, the test says WRITTEN */
} FakeServer;

typedef struct World {
    Config config;
    Scheduler *s;
    uint64_t now_ms;
    Sent *sent; /* (MAX_SENT) */
    int n_sent;
    FakeServer servers[4];
    int n_workers;
    bool holds_commit; /* the test answers */
    Err commit_result;
    int n_commits, n_results, n_finished;
    uint64_t committed_cut;
    SnapshotFacts facts; /* of the last commit; without what it points to, but for: */
    uint32_t n_committed_bits;
    char base_dir[MESSAGE_TEXT]; /* "": full */
    SchedulerStart start;        /* restore RESTORE_NONE: from nothing */
    char committed_dir[MESSAGE_TEXT], result_dir[MESSAGE_TEXT], sentence[MESSAGE_TEXT];
    SchedulerProgress progress;
    EpochResult results[MAX_RESULTS];
    Err code;
    double wauc[N_DOMAINS]; /* what validation yields; < 0: what the scores say */
} World;

/* ---- effects ---------------------------------------------------------------------------------------------------- */

static inline void on_send(void *ctx, uint64_t peer, Message *m) {
    World *w = ctx;
    assert_true(w->n_sent < MAX_SENT);
    w->sent[w->n_sent].peer = peer;
    message_move(&w->sent[w->n_sent++].m, m);
}

static inline Err on_schema(void *ctx, const Config *config, const DataInfo *data, Schema *out) {
    (void)ctx, (void)config, (void)data;
    toy_tables(out);
    return OK;
}

static inline void on_commit(void *ctx, const SnapshotFacts *facts) {
    World *w = ctx;
    w->n_commits++;
    w->committed_cut = facts->cut;
    w->facts = *facts;
    w->n_committed_bits = bitmap_count(facts->bitmaps[DOMAIN_A], facts->n_steps[DOMAIN_A]) +
                          bitmap_count(facts->bitmaps[DOMAIN_B], facts->n_steps[DOMAIN_B]);
    snprintf(w->base_dir, sizeof w->base_dir, "%s", facts->base_dir ? facts->base_dir : "");
    snprintf(w->committed_dir, sizeof w->committed_dir, "%s", facts->dir);
    for (uint32_t i = 0; i < facts->n_servers; i++)
        assert_non_null(facts->files[i]);
    if (!w->holds_commit)
        scheduler_on_committed(w->s, w->commit_result, w->now_ms);
}

static inline void on_rank(void *ctx, const RankJob *job) {
    World *w = ctx;
    RankingMetrics m;
    ranking_metrics(job->scores, job->users, job->n, job->n_candidates, w->config.eval.ks, w->config.eval.n_ks, &m);
    if (job->split == SPLIT_VALID && w->wauc[job->domain] >= 0)
        m.wauc = w->wauc[job->domain];
    scheduler_on_ranked(w->s, job, &m, w->now_ms);
}

static inline void on_epoch_done(void *ctx, const EpochResult *result, const char *dir) {
    World *w = ctx;
    assert_true(w->n_results < MAX_RESULTS);
    w->results[w->n_results++] = *result;
    snprintf(w->result_dir, sizeof w->result_dir, "%s", dir ? dir : "");
}

static inline void on_progress(void *ctx, const SchedulerProgress *p) {
    ((World *)ctx)->progress = *p;
}

static inline void on_finished(void *ctx, Err code, const char *sentence) {
    World *w = ctx;
    w->n_finished++;
    w->code = code;
    snprintf(w->sentence, sizeof w->sentence, "%s", sentence);
}

/* ---- the world -------------------------------------------------------------------------------------------------- */

static inline World *world_new(int n_servers, int n_workers) {
    World *w = must_calloc(1, sizeof *w);
    assert_int_equal(log_open("test", LOG_ERROR, NULL), OK);
    w->sent = must_calloc(MAX_SENT, sizeof *w->sent);
    config_defaults(&w->config);
    snprintf(w->config.run_dir, sizeof w->config.run_dir, "/run");
    w->config.train.batch = BATCH;
    w->config.eval.batch = EVAL_BATCH;
    w->config.cluster.servers = n_servers;
    w->config.cluster.workers = n_workers;
    w->config.cluster.lease_s = 20;
    w->wauc[DOMAIN_A] = w->wauc[DOMAIN_B] = -1;
    w->now_ms = 1000;
    return w;
}

/* The configuration is as the test wants it. */
static inline void world_open(World *w) {
    SchedulerEnv env = {w, {w, on_send}, on_schema, on_commit, on_rank, on_epoch_done, on_progress, on_finished};
    char *text = config_text(&w->config);
    assert_int_equal(scheduler_open(&w->s, &w->config, text, 77, &env, w->start.restore ? &w->start : NULL, w->now_ms),
                     OK);
    free(text);
}

static inline void world_free(World *w) {
    for (int i = 0; i < w->n_sent; i++)
        message_free(&w->sent[i].m);
    scheduler_close(&w->s);
    free(w->sent);
    free(w);
}

/* The first message of this type to this peer (0: anybody) leaves the list; false if there is none. */
static inline bool take(World *w, MessageType type, uint64_t peer, Message *out) {
    for (int i = 0; i < w->n_sent; i++) {
        if (w->sent[i].m.type != type || (peer && w->sent[i].peer != peer))
            continue;
        message_move(out, &w->sent[i].m);
        w->n_sent--;
        for (int j = i; j < w->n_sent; j++) {
            w->sent[j].peer = w->sent[j + 1].peer;
            message_move(&w->sent[j].m, &w->sent[j + 1].m);
        }
        return true;
    }
    return false;
}

/* Takes it; the test fails if it is not there. */
static inline Message expect(World *w, MessageType type, uint64_t peer) {
    Message m;
    if (!take(w, type, peer, &m))
        fail_msg("no %s was sent to %llu", message_type_name(type), (unsigned long long)peer);
    return m;
}

/* It was sent; the test does not care what it says. */
static inline void expect_sent(World *w, MessageType type, uint64_t peer) {
    Message m = expect(w, type, peer);
    message_free(&m);
}

static inline void expect_none(World *w, MessageType type, uint64_t peer) {
    for (int i = 0; i < w->n_sent; i++)
        if (w->sent[i].m.type == type && (!peer || w->sent[i].peer == peer))
            fail_msg("%s was sent to %llu", message_type_name(type), (unsigned long long)w->sent[i].peer);
}

static inline void forget(World *w, MessageType type) {
    Message m;
    while (take(w, type, 0, &m))
        message_free(&m);
}

static inline void say(World *w, uint64_t peer, Message *m) {
    scheduler_on_message(w->s, peer, m, w->now_ms);
    message_free(m);
}

/* Time passes in ticks of 100 ms; whoever is named in `alive` (ends with 0) sends heartbeats. */
static inline void pass_ms(World *w, uint64_t ms, const uint64_t *alive) {
    Message m;
    for (uint64_t end = w->now_ms + ms; w->now_ms < end;) {
        w->now_ms += 100;
        for (int i = 0; alive && alive[i]; i++) {
            message_init(&m, MESSAGE_HEARTBEAT);
            say(w, alive[i], &m);
        }
        scheduler_on_tick(w->s, w->now_ms);
    }
}

#endif
