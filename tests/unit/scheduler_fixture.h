/* The peers of a scheduler under test: servers are bitmaps, workers do what the test says. */
#ifndef MANGROVE_TESTS_SCHEDULER_FIXTURE_H
#define MANGROVE_TESTS_SCHEDULER_FIXTURE_H

#include "tests/unit/scheduler_world.h"

static const uint64_t EVERYBODY[] = {SERVER, SERVER + 1, WORKER, WORKER + 1, 0}; /* of two servers and two workers */

/* ---- roles ------------------------------------------------------------------------------------------------------ */

static inline void hello(World *w, uint64_t peer, Role role, Message *m) {
    message_init(m, MESSAGE_HELLO);
    m->hello.role = role;
    snprintf(m->hello.version, sizeof m->hello.version, "%s", MANGROVE_VERSION);
    snprintf(m->hello.host, sizeof m->hello.host, "host-%llu", (unsigned long long)peer);
    if (role == ROLE_SERVER)
        snprintf(m->hello.endpoint, sizeof m->hello.endpoint, "tcp://10.0.0.1:%llu", (unsigned long long)peer);
    if (role == ROLE_WORKER) {
        char manifest[TOY_MANIFEST_BYTES];
        size_t size = toy_manifest(manifest, N_CHUNKS, COUNTS);
        m->hello.data = 0xab;
        message_add_bytes(m, manifest, size);
    }
    (void)w;
}

static inline void join(World *w, uint64_t peer, Role role) {
    Message m;
    hello(w, peer, role, &m);
    say(w, peer, &m);
}

static inline FakeServer *fake(World *w, uint64_t peer) {
    return &w->servers[peer - SERVER];
}

static inline void say_ready(World *w, uint64_t server, uint64_t map) {
    Message m;
    message_init(&m, MESSAGE_READY);
    m.ready.map = map;
    say(w, server, &m);
}

static inline void answer_report(World *w, uint64_t peer, const Message *ask) {
    FakeServer *f = fake(w, peer);
    Schema schema;
    Message m;
    toy_tables(&schema);
    message_init(&m, MESSAGE_REPORT);
    m.sequence = ask->sequence;
    m.report = (MessageREPORT){.epoch = f->epoch, .map = 1, .t_a = f->t[DOMAIN_A], .t_b = f->t[DOMAIN_B]};
    message_add_bytes(&m, f->bits[DOMAIN_A], bitmap_bytes(STEPS_A));
    message_add_bytes(&m, f->bits[DOMAIN_B], bitmap_bytes(STEPS_B));
    /* server d holds the sums of domain d: data loss 2 and regulariser 0.5 a step for A, twice that for B */
    int d = (int)(peer - SERVER);
    uint64_t key = key_of(TOY_STATS, (uint64_t)d);
    float sums[SCHEMA_STATS_WIDTH] = {0};
    uint32_t n = d < N_DOMAINS ? bitmap_count(f->bits[d], d ? STEPS_B : STEPS_A) : 0;
    sums[0] = 2.0f * (float)(d + 1) * (float)n;
    sums[1] = 0.5f * (float)(d + 1) * (float)n;
    sums[2] = (float)n;
    message_add_bytes(&m, &key, d < N_DOMAINS ? sizeof key : 0);
    message_add_bytes(&m, sums, d < N_DOMAINS ? sizeof sums : 0);
    say(w, peer, &m);
}

static inline void answer_next_report(World *w, uint64_t peer) {
    Message m = expect(w, MESSAGE_REPORT_ASK, peer);
    answer_report(w, peer, &m);
    message_free(&m);
}

/* Of those asked in training only the last may count. */
static inline void answer_all_reports(World *w, uint64_t peer) {
    Message m;
    while (take(w, MESSAGE_REPORT_ASK, peer, &m)) {
        answer_report(w, peer, &m);
        message_free(&m);
    }
}

static inline void say_marked(World *w, uint64_t peer, uint64_t cut, bool is_ok) {
    Message m;
    message_init(&m, MESSAGE_MARKED);
    m.marked.cut = cut;
    m.marked.is_ok = is_ok;
    say(w, peer, &m);
}

static inline void say_written(World *w, uint64_t peer, uint64_t cut, bool is_ok) {
    Message m;
    message_init(&m, MESSAGE_WRITTEN);
    m.written.cut = cut;
    m.written.is_ok = is_ok;
    if (!is_ok)
        snprintf(m.written.text, sizeof m.written.text, "the disk is full");
    message_add_bytes(&m, "[]", 2);
    say(w, peer, &m);
}

static inline void answer_mark(World *w, uint64_t peer, Message *mark) {
    FakeServer *f = fake(w, peer);
    bool is_equal = mark->mark.epoch == f->epoch && mark->n_frames == N_DOMAINS &&
                    !memcmp(mark->frames[0].data, f->bits[0], 2) && !memcmp(mark->frames[1].data, f->bits[1], 1);
    bool is_ok = is_equal && !f->refuses_mark;
    say_marked(w, peer, mark->mark.cut, is_ok);
    if (is_ok && !f->holds_write)
        say_written(w, peer, mark->mark.cut, !f->fails_to_write);
}

static inline void answer_open(World *w, uint64_t peer, const Message *open) {
    FakeServer *f = fake(w, peer);
    Message m;
    if (open->epoch_open.epoch > f->epoch) {
        f->epoch = (uint32_t)open->epoch_open.epoch;
        memset(f->bits, 0, sizeof f->bits);
    }
    message_init(&m, MESSAGE_EPOCH_OPENED);
    m.epoch_opened.epoch = f->epoch;
    say(w, peer, &m);
}

/* Servers answer everything that lies in the list, as servers do, until nothing is left for them. */
static inline void serve(World *w) {
    for (bool was_asked = true; was_asked;) {
        was_asked = false;
        for (int i = 0; i < w->n_sent && !was_asked; i++) {
            uint64_t peer = w->sent[i].peer;
            Message m;
            MessageType type = w->sent[i].m.type;
            bool is_question = type == MESSAGE_VIEW || type == MESSAGE_EPOCH_OPEN || type == MESSAGE_REPORT_ASK ||
                               type == MESSAGE_MARK;
            if (peer < SERVER || peer >= WORKER || !is_question || fake(w, peer)->is_mute)
                continue;
            was_asked = true;
            m = expect(w, type, peer);
            if (type == MESSAGE_VIEW)
                say_ready(w, peer, m.view.map);
            else if (type == MESSAGE_EPOCH_OPEN)
                answer_open(w, peer, &m);
            else if (type == MESSAGE_REPORT_ASK)
                answer_report(w, peer, &m);
            else
                answer_mark(w, peer, &m);
            message_free(&m);
        }
    }
}

/* A push of the step to a server: applied once. */
static inline void push(World *w, uint64_t server, int domain, uint32_t step) {
    FakeServer *f = fake(w, server);
    if (bitmap_get(f->bits[domain], step))
        return;
    bitmap_set(f->bits[domain], step);
    f->t[domain]++;
}

static inline void push_chunk(World *w, uint64_t server, uint32_t chunk) {
    for (uint32_t i = 0; i < 4; i++)
        push(w, server, DOMAIN_A, 4 * chunk + i);
    for (uint32_t i = 0; i < 2; i++)
        push(w, server, DOMAIN_B, 2 * chunk + i);
}

static inline void ask(World *w, uint64_t worker) {
    Message m;
    message_init(&m, MESSAGE_LEASE_ASK);
    say(w, worker, &m);
}

static inline void end_lease(World *w, uint64_t worker, uint64_t lease, bool is_done) {
    Message m;
    message_init(&m, MESSAGE_LEASE_END);
    m.lease_end.lease = lease;
    m.lease_end.is_done = is_done;
    say(w, worker, &m);
}

/* ---- a whole cluster -------------------------------------------------------------------------------------------- */

/* Everybody has joined, the servers have opened epoch 1, the workers have asked. */
static inline void start(World *w) {
    world_open(w);
    for (int i = 0; i < w->config.cluster.servers; i++)
        join(w, SERVER + (uint64_t)i, ROLE_SERVER);
    for (int i = 0; i < w->config.cluster.workers; i++)
        join(w, WORKER + (uint64_t)i, ROLE_WORKER);
    w->n_workers = w->config.cluster.workers;
    serve(w);
    forget(w, MESSAGE_VIEW);
    forget(w, MESSAGE_WELCOME);
    for (int i = 0; i < w->n_workers; i++)
        ask(w, WORKER + (uint64_t)i);
}

static inline World *world_started(int n_servers, int n_workers) {
    World *w = world_new(n_servers, n_workers);
    start(w);
    return w;
}

/* Scores of a batch that are a function of its name alone. */
static inline void add_scores(Message *m, const Message *lease, uint32_t step, uint32_t n) {
    message_init(m, MESSAGE_SCORES);
    m->scores = (MessageSCORES){.lease = lease->lease.lease,
                                .epoch = lease->lease.epoch,
                                .pass = lease->lease.pass,
                                .domain = lease->lease.domain,
                                .split = lease->lease.split,
                                .step = step,
                                .n = n,
                                .n_candidates = RANKING_CANDIDATES};
    uint32_t *users = message_add_frame(m, n * sizeof *users);
    float *scores = message_add_frame(m, n * RANKING_CANDIDATES * sizeof *scores);
    for (uint32_t i = 0; i < n; i++)
        users[i] = (7 * step + i) % TOY_USERS;
    for (uint32_t i = 0; i < n * RANKING_CANDIDATES; i++)
        scores[i] = (float)((step * 131 + i * 37 + (uint32_t)lease->lease.domain * 11) % 23) / 4;
}

/* Batches of the evaluation piece of a lease: first and number. */
static inline uint32_t piece_steps(const Message *lease, uint32_t *first) {
    uint32_t n = COUNTS[lease->lease.domain][lease->lease.split], n_steps = (n + EVAL_BATCH - 1) / EVAL_BATCH;
    *first = (uint32_t)lease->lease.chunk * n_steps;
    return n_steps;
}

/* Instances of the i-th batch of a piece. */
static inline uint32_t batch_count(const Message *lease, uint32_t i) {
    uint32_t first, n_steps = piece_steps(lease, &first), n = COUNTS[lease->lease.domain][lease->lease.split];
    return (i + 1) * n / n_steps - i * n / n_steps;
}

static inline void send_scores(World *w, uint64_t worker, const Message *lease) {
    uint32_t first, n_steps = piece_steps(lease, &first);
    Message m;
    for (uint32_t i = n_steps; i-- > 0;) { /* backwards: the order must not matter */
        add_scores(&m, lease, first + i, batch_count(lease, i));
        say(w, worker, &m);
    }
}

/* Some steps of domain A of a leased part reach all servers. */
static inline void push_some(World *w, const Message *lease, uint32_t n) {
    for (int i = 0; i < w->config.cluster.servers; i++)
        for (uint32_t step = 0; step < n; step++)
            push(w, SERVER + (uint64_t)i, DOMAIN_A, 4 * (uint32_t)lease->lease.chunk + step);
}

/* The worker gives its lease back as it is told to, and asks for another. */
static inline void give_back(World *w, uint64_t worker, Message *lease) {
    Message m = expect(w, MESSAGE_LEASE_REVOKE, worker);
    assert_int_equal(m.lease_revoke.lease, lease->lease.lease);
    message_free(&m);
    end_lease(w, worker, lease->lease.lease, false);
    ask(w, worker);
    message_free(lease);
}

/* Does a lease as a worker does, on all servers, and asks again. */
static inline void work(World *w, uint64_t worker, Message *lease) {
    if (lease->lease.kind == LEASE_EVALUATION)
        send_scores(w, worker, lease);
    for (int i = 0; i < w->config.cluster.servers; i++) {
        uint64_t server = SERVER + (uint64_t)i;
        const uint32_t *pairs = lease->n_frames ? lease->frames[0].data : NULL;
        if (lease->lease.kind == LEASE_PART)
            push_chunk(w, server, (uint32_t)lease->lease.chunk);
        for (size_t p = 0; lease->lease.kind == LEASE_STEPS && p < lease->frames[0].size_bytes / 8; p++)
            push(w, server, (int)pairs[2 * p], pairs[2 * p + 1]);
        for (uint32_t c = 0; lease->lease.kind == LEASE_RANKS && c < N_CHUNKS; c++)
            push_chunk(w, server, c);
    }
    end_lease(w, worker, lease->lease.lease, true);
    ask(w, worker);
}

static inline void work_next(World *w, uint64_t worker) {
    Message lease = expect(w, MESSAGE_LEASE, worker);
    work(w, worker, &lease);
    message_free(&lease);
}

/* Workers and servers do what they are told until nobody has anything to do. */
static inline void run_until_idle(World *w) {
    Message lease;
    serve(w);
    for (bool has_worked = true; has_worked;) {
        has_worked = false;
        for (int i = 0; i < w->n_workers; i++)
            if (take(w, MESSAGE_LEASE, WORKER + (uint64_t)i, &lease)) {
                work(w, WORKER + (uint64_t)i, &lease);
                message_free(&lease);
                has_worked = true;
            }
        serve(w);
    }
}

/* The epoch that is open is trained (its leases are done), up to the point where the cut needs the servers. */
static inline void train_epoch(World *w) {
    Message lease;
    for (bool has_worked = true; has_worked;) {
        has_worked = false;
        for (int i = 0; i < w->n_workers; i++) {
            if (!take(w, MESSAGE_LEASE, WORKER + (uint64_t)i, &lease))
                continue;
            has_worked = true;
            assert_int_equal(lease.lease.kind, LEASE_PART);
            work(w, WORKER + (uint64_t)i, &lease);
            message_free(&lease);
        }
    }
}

/* It is trained, and the servers have answered what the cut asks them. */
static inline void train_and_cut(World *w) {
    train_epoch(w);
    serve(w);
}

static inline void leave_all(World *w) {
    Message m;
    for (int i = 0; i < w->config.cluster.servers + w->n_workers; i++) {
        message_init(&m, MESSAGE_BYE);
        say(w,
            i < w->config.cluster.servers ? SERVER + (uint64_t)i : WORKER + (uint64_t)(i - w->config.cluster.servers),
            &m);
    }
}

/* The peer was told to finish with this code, for a reason that has these words. */
static inline void expect_finish(World *w, uint64_t peer, Err code, const char *words) {
    Message m = expect(w, MESSAGE_FINISH, peer);
    assert_int_equal((int)m.finish.code, -code);
    assert_non_null(strstr(m.finish.text, words));
    message_free(&m);
}

/* Everybody leaves, and the run has ended with this code. */
static inline void expect_end(World *w, Err code) {
    leave_all(w);
    assert_int_equal(w->code, code);
}

#endif
