/* DESIGN. One mutex guards everything but the trainer, which is the compute thread's alone. The thread waits on one
 * condition, which every event of the loop's signals; it looks again each time whether it may go on. It never holds the
 * mutex while it computes, only while keys and values are copied into and out of messages. */
#include "worker/compute.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

enum { SCORES = 8 }; /* messages of scores that wait for the loop */

struct Compute {
    ComputeOptions options;
    Trainer *trainer;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;

    /* guarded by mutex */
    Remote *remote;
    Assignment inbox; /* lease 0: none */
    uint64_t lease;   /* in hand or in the inbox */
    bool is_stopping, is_revoked;
    uint64_t n_steps, n_instances;
    Message scores[SCORES]; /* a ring */
    uint32_t first_scores, n_scores;
    bool has_result;
    ComputeResult result;
};

static void lock(Compute *c) {
    pthread_mutex_lock(&c->mutex);
}

static void unlock(Compute *c) {
    pthread_mutex_unlock(&c->mutex);
}

/* Every event of the loop's thread ends with this. */
static void unlock_and_wake(Compute *c) {
    pthread_cond_broadcast(&c->changed);
    unlock(c);
}

static void wait(Compute *c) {
    pthread_cond_wait(&c->changed, &c->mutex);
}

static void notify(const Compute *c) {
    c->options.notify(c->options.ctx);
}

/* ---- the parameter client, on the compute thread ------------------------------------------------------------ */

/* With the mutex: OK, or why the thread must not go on. */
static Err may_go_on(const Compute *c) {
    const char *sentence;
    Err err = remote_failure(c->remote, &sentence);
    if (c->is_stopping)
        return err_fail(ERR_STOPPED, "the run has ended");
    return err ? err_fail(err, "%s", sentence) : OK;
}

static Err pull_start(void *self, Exchange *x) {
    Compute *c = self;
    lock(c);
    Err err = may_go_on(c);
    if (!err)
        remote_pull(c->remote, x);
    unlock(c);
    notify(c);
    return err;
}

static Err pull_wait(void *self, Exchange *x) {
    (void)x; /* the oldest under way */
    Compute *c = self;
    Err err, result = OK;
    lock(c);
    while (!(err = may_go_on(c)) && !remote_take_pull(c->remote, &result)) {
        if (c->is_revoked) {
            err = err_fail(ERR_RETRY, "the lease was revoked");
            break;
        }
        wait(c);
    }
    unlock(c);
    return err ? err : result;
}

static Err push(void *self, const Work *work, const uint64_t *keys, uint32_t n_keys, const real *grads,
                size_t n_values) {
    (void)n_values; /* follows from the keys */
    Compute *c = self;
    Err err;
    lock(c);
    while (!(err = may_go_on(c)) && !remote_has_room(c->remote))
        wait(c);
    if (!err) {
        remote_push(c->remote, work, keys, n_keys, grads);
        err = remote_push_result(c->remote);
    }
    unlock(c);
    notify(c);
    return err;
}

static Err flush(void *self) {
    Compute *c = self;
    Err err;
    lock(c);
    remote_abandon_pulls(c->remote);
    while (!(err = may_go_on(c)) && !remote_is_flushed(c->remote))
        wait(c);
    if (!err)
        err = remote_push_result(c->remote);
    remote_clear_push_result(c->remote);
    unlock(c);
    return err;
}

/* ---- the trainer's environment, on the compute thread ------------------------------------------------------- */

static bool stepped(void *ctx, const Assignment *a, uint64_t n_steps, uint64_t n_instances) {
    (void)a;
    Compute *c = ctx;
    lock(c);
    c->n_steps = n_steps;
    c->n_instances = n_instances;
    bool goes_on = !c->is_revoked && !c->is_stopping;
    unlock(c);
    return goes_on;
}

static Err scored(void *ctx, const Assignment *a, const Scored *s) {
    Compute *c = ctx;
    Err err;
    lock(c);
    while (!(err = may_go_on(c)) && c->n_scores == SCORES)
        wait(c);
    if (!err) {
        Message *m = &c->scores[(c->first_scores + c->n_scores++) % SCORES];
        assignment_write_scores(a, s, m);
        m->job = c->options.remote.job;
        m->sender = c->options.remote.sender;
    }
    unlock(c);
    notify(c);
    return err;
}

/* ---- the thread --------------------------------------------------------------------------------------------- */

static bool take_assignment(Compute *c, Assignment *out) {
    lock(c);
    while (!c->is_stopping && !c->inbox.lease)
        wait(c);
    bool is_taken = !c->is_stopping;
    if (is_taken) {
        *out = c->inbox;
        c->inbox = (Assignment){0};
    }
    unlock(c);
    return is_taken;
}

static void hand_over(Compute *c, Err code, const TrainerResult *result) {
    lock(c);
    c->result = (ComputeResult){.code = code, .result = *result};
    if (code)
        snprintf(c->result.sentence, sizeof c->result.sentence, "%.*s", MESSAGE_TEXT - 1, err_message());
    c->has_result = true;
    unlock(c);
    notify(c);
}

static void *run(void *ctx) {
    Compute *c = ctx;
    Assignment a;
    while (take_assignment(c, &a)) {
        TrainerResult result;
        Err err = trainer_run(c->trainer, &a, &result);
        assignment_free(&a);
        hand_over(c, err, &result);
    }
    return NULL;
}

/* ---- the loop's side ---------------------------------------------------------------------------------------- */

/* The thread has ended, or has not begun. */
static void free_all(Compute *c) {
    trainer_close(&c->trainer);
    remote_close(&c->remote);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->mutex);
    free(c);
}

Err compute_open(Compute **out, const ComputeOptions *options) {
    Compute *c = must_calloc(1, sizeof *c);
    c->options = *options;
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->changed, NULL);
    remote_open(&c->remote, &options->remote);
    TrainerEnv env = {
        .ctx = c,
        .client = {.self = c, .pull_start = pull_start, .pull_wait = pull_wait, .push = push, .flush = flush},
        .stepped = stepped,
        .scored = scored};
    trainer_open(&c->trainer, options->data, options->geometry, options->config, options->schema, options->model, &env);
    *out = c;
    if (!pthread_create(&c->thread, NULL, run, c))
        return OK;
    free_all(c);
    *out = NULL;
    return err_fail(ERR_FAILED, "the compute thread cannot be started: is the limit of threads reached (ulimit -u)?");
}

void compute_close(Compute **c) {
    if (!*c)
        return;
    lock(*c);
    (*c)->is_stopping = true;
    unlock_and_wake(*c);
    pthread_join((*c)->thread, NULL);
    for (Message m; compute_next_scores(*c, &m);)
        message_free(&m);
    assignment_free(&(*c)->inbox);
    free_all(*c);
    *c = NULL;
}

void compute_set_view(Compute *c, const ClusterView *view, uint64_t now_ms) {
    lock(c);
    remote_set_view(c->remote, view, now_ms);
    unlock_and_wake(c);
}

void compute_on_message(Compute *c, uint32_t server, Message *m, uint64_t now_ms) {
    lock(c);
    remote_on_message(c->remote, server, m, now_ms);
    unlock_and_wake(c);
}

void compute_on_fault(Compute *c, uint32_t server, const char *sentence) {
    lock(c);
    remote_on_fault(c->remote, server, sentence);
    unlock_and_wake(c);
}

void compute_on_tick(Compute *c, uint64_t now_ms) {
    lock(c);
    remote_on_tick(c->remote, now_ms);
    unlock_and_wake(c);
}

bool compute_is_connected(Compute *c) {
    lock(c);
    bool is_connected = remote_is_connected(c->remote);
    unlock(c);
    return is_connected;
}

Err compute_failure(Compute *c, char *sentence, size_t size) {
    const char *text;
    lock(c);
    Err err = remote_failure(c->remote, &text);
    snprintf(sentence, size, "%s", text);
    unlock(c);
    return err;
}

void compute_work(Compute *c, Assignment *a) {
    lock(c);
    c->inbox = *a;
    c->lease = a->lease;
    c->is_revoked = false;
    c->n_steps = c->n_instances = 0;
    unlock_and_wake(c);
    *a = (Assignment){0};
}

void compute_revoke(Compute *c, uint64_t lease) {
    lock(c);
    if (lease == c->lease)
        c->is_revoked = true;
    unlock_and_wake(c);
}

MemberStats compute_stats(Compute *c) {
    lock(c);
    MemberStats stats = {.n_steps = c->n_steps, .n_instances = c->n_instances};
    unlock(c);
    return stats;
}

bool compute_next_request(Compute *c, uint32_t *server, Message *out, uint64_t now_ms) {
    lock(c);
    bool is_taken = remote_next(c->remote, server, out, now_ms);
    const char *unused;
    if (is_taken || remote_failure(c->remote, &unused)) /* a queue has become shorter, or all is over */
        unlock_and_wake(c);
    else
        unlock(c);
    return is_taken;
}

bool compute_next_scores(Compute *c, Message *out) {
    lock(c);
    bool is_taken = c->n_scores > 0;
    if (is_taken) {
        message_move(out, &c->scores[c->first_scores]);
        c->first_scores = (c->first_scores + 1) % SCORES;
        c->n_scores--;
        pthread_cond_broadcast(&c->changed);
    }
    unlock(c);
    return is_taken;
}

bool compute_take_result(Compute *c, ComputeResult *out) {
    lock(c);
    bool is_taken = c->has_result && c->n_scores == 0;
    if (is_taken) {
        *out = c->result;
        c->has_result = false;
    }
    unlock(c);
    return is_taken;
}
