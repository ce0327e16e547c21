/* Pull and push as calls. A pull is done when it is started, so what is prefetched is as old as it would be over a
 * wire without delay. */
#include "deploy/local_client.h"

static Err pull_start(void *self, Exchange *x) {
    const Store *store = self;
    const Work *w = &x->work;
    x->is_applied = w->pass == 0 && store_is_applied(store, w);
    if (x->is_applied)
        return OK;
    if (w->epoch != store_epoch(store))
        return err_fail(ERR_RETRY, "the store is in epoch %u, not in %u", store_epoch(store), w->epoch);
    store_pull(store, x->keys, x->n_keys, x->values);
    return OK;
}

static Err pull_wait(void *self, Exchange *x) {
    (void)self;
    (void)x;
    return OK;
}

static Err push(void *self, const Work *work, const uint64_t *keys, uint32_t n_keys, const real *grads,
                size_t n_values) {
    (void)n_values; /* follows from the keys */
    PushResult result;
    Err err = store_push(self, work, keys, n_keys, grads, &result);
    if (!err && result == PUSH_RETRY)
        err = err_fail(ERR_RETRY, "the store has not opened epoch %u", work->epoch);
    return err;
}

static Err flush(void *self) {
    (void)self;
    return OK;
}

ParameterClient local_client(Store *store) {
    return (ParameterClient){
        .self = store, .pull_start = pull_start, .pull_wait = pull_wait, .push = push, .flush = flush};
}
