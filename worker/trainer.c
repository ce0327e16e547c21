/* DESIGN. A step goes through three stages: start (batch, rows named, pull under way), compute (forward, backward),
 * push. Two Steps side by side, each with its own Exchange, let the next step start before the current one is computed
 * (train.prefetch); in sync nothing is prefetched, because the next step's values do not exist yet.
 *
 * When the lease is to be given back, the step in hand has been pushed, a prefetched one is abandoned: nobody has
 * computed it. ERR_RETRY and ERR_STALE from the client are such an end; everything else is the worker's. */
#include "worker/trainer.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "common/log.h"
#include "worker/data/batch.h"
#include "worker/dense_turns.h"
#include "worker/model/step.h"

typedef struct Slot {
    Step *step;
    Batch batch;
    Exchange exchange;
    const AssignedStep *assigned;
    bool has_fetched; /* its pull names the dense rows */
} Slot;

struct Trainer {
    const Config *config;
    TrainerEnv env;
    Batcher *batcher;
    Slot slots[2];
    DenseTurns dense;
};

void trainer_open(Trainer **out, const Dataset *data, const Geometry *geometry, const Config *config,
                  const Schema *schema, const Model *model, const TrainerEnv *env) {
    Trainer *t = must_calloc(1, sizeof *t);
    t->config = config;
    t->env = *env;
    dense_turns_init(&t->dense, &config->dense);
    t->batcher = batcher_open(data, geometry, config, model->inputs);
    for (int i = 0; i < 2; i++)
        t->slots[i].step = step_open(model, config, schema);
    *out = t;
}

void trainer_close(Trainer **t) {
    if (!*t)
        return;
    for (int i = 0; i < 2; i++)
        step_close(&(*t)->slots[i].step);
    batcher_close(&(*t)->batcher);
    dense_turns_free(&(*t)->dense);
    free(*t);
    *t = NULL;
}

static bool is_training(const Assignment *a) {
    return a->kind != LEASE_EVALUATION;
}

/* Unit i of an assignment: step i / n_ranks for rank i % n_ranks. */
static uint64_t units_of(const Assignment *a) {
    return (uint64_t)a->n_steps * a->n_ranks;
}

static Err start(Trainer *t, const Assignment *a, uint64_t unit) {
    Slot *s = &t->slots[unit % 2];
    uint32_t index = (uint32_t)(unit / a->n_ranks);
    Exchange *x = &s->exchange;
    *x = (Exchange){.work = assignment_work(a, index, (uint32_t)(unit % a->n_ranks)), .order = a->steps[index].order};
    step_reset(s->step);
    if (is_training(a))
        batcher_train(t->batcher, &x->work, step_arena(s->step), &s->batch);
    else
        batcher_eval(t->batcher, &x->work, step_arena(s->step), &s->batch);
    step_begin(s->step, &s->batch, is_training(a));
    s->assigned = &a->steps[index];
    s->has_fetched = !is_training(a) || dense_turns_fetches(&t->dense, s->assigned);
    x->keys = (s->has_fetched ? step_pull_keys : step_sparse_keys)(s->step, &x->n_keys, &x->n_values);
    x->values = step_values(s->step);
    return t->env.client.pull_start(t->env.client.self, x);
}

static Err diverged(const Trainer *t, const Slot *s, const char *what) {
    const Work *w = &s->exchange.work;
    return err_fail(ERR_FAILED,
                    "%s of domain %c is not finite in epoch %u, step %u: data loss %g, regulariser %g; a learning rate "
                    "below %g may help (optimizer.lr)",
                    what, 'A' + w->domain, w->epoch, w->step, step_data_loss(s->step), step_regulariser(s->step),
                    t->config->optimizer.lr);
}

/* x * 0 is 0 for numbers and NaN for everything else; so the sum tells, and becomes vector code. */
static bool are_finite(const real *x, size_t n) {
    real sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * 0;
    return sum == 0;
}

static Err train(Trainer *t, Slot *s) {
    step_forward(s->step);
    if (!isfinite(step_data_loss(s->step)) || !isfinite(step_regulariser(s->step)))
        return diverged(t, s, "the loss");
    step_backward(s->step);
    uint32_t n_keys;
    size_t n_values;
    step_push_keys(s->step, &n_keys, &n_values);
    if (!are_finite(step_grads(s->step), n_values))
        return diverged(t, s, "a gradient");
    return dense_turns_push(&t->dense, s->step, s->assigned, &s->exchange.work, &t->env.client);
}

static Err score(Trainer *t, const Assignment *a, Slot *s) {
    const real *scores = step_forward(s->step);
    Scored scored = {.work = s->exchange.work,
                     .n = (uint32_t)s->batch.n_instances,
                     .n_candidates = (uint32_t)s->batch.n_candidates,
                     .users = s->batch.user,
                     .scores = scores};
    return scored.n ? t->env.scored(t->env.ctx, a, &scored) : OK;
}

/* Waits for the unit's values, starts the next one where it may be ahead, computes and pushes. */
static Err finish(Trainer *t, const Assignment *a, uint64_t unit, bool starts_next, TrainerResult *result) {
    Slot *s = &t->slots[unit % 2];
    Err err = t->env.client.pull_wait(t->env.client.self, &s->exchange);
    if (!err && is_training(a))
        dense_turns_pulled(&t->dense, s->step, s->assigned, s->has_fetched, s->exchange.is_applied);
    if (!err && starts_next)
        err = start(t, a, unit + 1);
    if (err)
        return err;
    if (!is_training(a))
        err = score(t, a, s);
    else if (!s->exchange.is_applied)
        err = train(t, s);
    if (err)
        return err;
    result->n_steps++;
    if (!s->exchange.is_applied)
        result->n_instances += (uint64_t)s->batch.n_instances;
    return OK;
}

static Err run_units(Trainer *t, const Assignment *a, TrainerResult *result) {
    uint64_t n = units_of(a);
    bool is_ahead =
        t->config->train.prefetch > 0 && (!is_training(a) || t->config->train.consistency == CONSISTENCY_ASYNC);
    for (uint64_t unit = 0; unit < n; unit++) {
        Err err = unit > 0 && is_ahead ? OK : start(t, a, unit);
        if (!err)
            err = finish(t, a, unit, is_ahead && unit + 1 < n, result);
        if (err)
            return err;
        if (!t->env.stepped(t->env.ctx, a, result->n_steps, result->n_instances))
            return unit + 1 < n ? ERR_RETRY : OK;
    }
    return OK;
}

Err trainer_run(Trainer *t, const Assignment *a, TrainerResult *result) {
    *result = (TrainerResult){0};
    dense_turns_forget(&t->dense);
    Err err = run_units(t, a, result);
    if (err && err != ERR_RETRY && err != ERR_STALE)
        return err; /* the run or this worker ends: nobody waits for acknowledgements any more */
    Err flushed = t->env.client.flush(t->env.client.self);
    result->is_done = !err && !flushed;
    return flushed == ERR_RETRY || flushed == ERR_STALE ? OK : flushed;
}
