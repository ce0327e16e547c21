/* What the wire does to numbers, without a wire. */
#include "deploy/local_rounding.h"

#include <stdlib.h>

#include "common/log.h"

static void round_rows(const LocalRounding *r, Wire wire, const uint64_t *keys, uint32_t n_keys, real *out,
                       const real *in) {
    for (uint32_t i = 0; i < n_keys; i++) {
        const Table *t = &r->schema->tables[key_table(keys[i])];
        wire_round(wire_of_table(wire, t), out, in, t->width);
        out += t->width;
        in += t->width;
    }
}

static Err pull_start(void *self, Exchange *x) {
    LocalRounding *r = self;
    Err err = r->inner.pull_start(r->inner.self, x);
    if (!err && !x->is_applied)
        round_rows(r, wire_of_pull(r->wire, x->work.pass), x->keys, x->n_keys, x->values, x->values);
    return err;
}

static Err pull_wait(void *self, Exchange *x) {
    LocalRounding *r = self;
    return r->inner.pull_wait(r->inner.self, x);
}

static Err push(void *self, const Work *work, const uint64_t *keys, uint32_t n_keys, const real *grads,
                size_t n_values) {
    LocalRounding *r = self;
    if (n_values > r->max_grads) {
        r->max_grads = n_values + n_values / 2;
        r->grads = must_realloc(r->grads, r->max_grads * sizeof *r->grads);
    }
    round_rows(r, r->wire, keys, n_keys, r->grads, grads);
    return r->inner.push(r->inner.self, work, keys, n_keys, r->grads, n_values);
}

static Err flush(void *self) {
    LocalRounding *r = self;
    return r->inner.flush(r->inner.self);
}

ParameterClient local_rounding_init(LocalRounding *r, ParameterClient inner, const Schema *schema, Wire wire) {
    *r = (LocalRounding){.inner = inner, .schema = schema, .wire = wire};
    return (ParameterClient){.self = r, .pull_start = pull_start, .pull_wait = pull_wait, .push = push, .flush = flush};
}

void local_rounding_free(LocalRounding *r) {
    free(r->grads);
    *r = (LocalRounding){0};
}
