/* Dense rows now and then. A step that was skipped, because every server has applied it, leaves a gap in its group:
 * then its group is applied everywhere too, and is not pushed. */
#include "worker/dense_turns.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"

void dense_turns_init(DenseTurns *t, const DenseConfig *config) {
    *t = (DenseTurns){.config = *config};
}

void dense_turns_free(DenseTurns *t) {
    for (int d = 0; d < N_DOMAINS; d++) {
        free(t->domains[d].values);
        free(t->domains[d].sum);
    }
}

void dense_turns_forget(DenseTurns *t) {
    for (int d = 0; d < N_DOMAINS; d++) {
        t->domains[d].has_values = false;
        t->domains[d].n_summed = 0;
    }
}

bool dense_turns_fetches(const DenseTurns *t, const AssignedStep *s) {
    return s->place % t->config.fetch == 0 || !t->domains[s->domain].has_values;
}

void dense_turns_pulled(DenseTurns *t, Step *step, const AssignedStep *s, bool has_fetched, bool is_applied) {
    DenseTurn *d = &t->domains[s->domain];
    uint32_t n_keys;
    size_t n_sparse, n_values;
    if (t->config.fetch == 1)
        return;
    step_sparse_keys(step, &n_keys, &n_sparse);
    step_dense_keys(step, &n_keys, &n_values);
    real *values = step_values(step) + n_sparse;
    if (!d->values)
        d->values = must_alloc((n_values + 1) * sizeof *d->values);
    if (!has_fetched) {
        memcpy(values, d->values, n_values * sizeof *values);
        return;
    }
    d->has_values = !is_applied;
    if (!is_applied)
        memcpy(d->values, values, n_values * sizeof *values);
}

/* True: the sum is the whole group's. */
static bool add_to_group(DenseTurns *t, Step *step, const AssignedStep *s) {
    DenseTurn *d = &t->domains[s->domain];
    uint32_t place = s->place % (uint32_t)t->config.push, first = s->step - place, n_keys;
    size_t n_values;
    step_dense_keys(step, &n_keys, &n_values);
    if (!d->sum)
        d->sum = must_alloc((n_values + 1) * sizeof *d->sum);
    if (place == 0) {
        memset(d->sum, 0, n_values * sizeof *d->sum);
        d->first = first;
        d->n_summed = 0;
    }
    bool is_next = d->first == first && d->n_summed == place;
    step_move_dense(step, d->sum);
    d->n_summed = is_next ? place + 1 : 0;
    return d->n_summed == s->group;
}

Err dense_turns_push(DenseTurns *t, Step *step, const AssignedStep *s, const Work *work,
                     const ParameterClient *client) {
    uint32_t n_keys;
    size_t n_values;
    bool is_whole = t->config.push > 1 && add_to_group(t, step, s);
    const uint64_t *keys = step_push_keys(step, &n_keys, &n_values);
    Err err = client->push(client->self, work, keys, n_keys, step_grads(step), n_values);
    if (err || !is_whole)
        return err;
    Work group = *work;
    group.step = t->domains[s->domain].first;
    group.group = s->group;
    keys = step_dense_keys(step, &n_keys, &n_values);
    return client->push(client->self, &group, keys, n_keys, t->domains[s->domain].sum, n_values);
}
