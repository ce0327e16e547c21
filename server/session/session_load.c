/* The rows that a server begins with: none, or those of its slots from a snapshot. */
#include <assert.h>
#include <stdio.h>

#include "server/session/session_parts.h"

static void serve(Session *s) {
    if (s->config.dense.push > 1)
        store_use_groups(s->store);
    s->credit_bytes = session_plan_credit(&s->config, &s->schema);
    s->state = SESSION_SERVING;
}

Err session_begin(Session *s, const MessageVIEW *v) {
    if (v->restore == RESTORE_NONE) {
        Err err = store_open(&s->store, &s->schema, &s->config.optimizer, s->config.train.seed, s->n_ranks);
        if (!err)
            serve(s);
        return err;
    }
    if (v->restore > RESTORE_INIT_MOMENTS || !v->snapshot[0])
        return err_fail(ERR_PROTOCOL, "a VIEW asks to restore in way %lu from \"%.200s\"", (unsigned long)v->restore,
                        v->snapshot);
    snprintf(s->view.snapshot, sizeof s->view.snapshot, "%s", v->snapshot);
    s->load = (SessionLoad){
        .dir = s->view.snapshot,
        .schema = &s->schema,
        .optimizer = &s->config.optimizer,
        .n_ranks = s->n_ranks,
        .how = {.restore = (Restore)v->restore, .slot_map = s->view.slots, .rank = s->up.rank},
    };
    s->state = SESSION_LOADING;
    s->env.load(s->env.ctx, &s->load);
    return OK;
}

void session_on_loaded(Session *s, Err result, Store *store, uint64_t now_ms) {
    assert(!result == (store != NULL));
    if (s->state == SESSION_ENDED) {
        store_close(&store);
        return;
    }
    assert(s->state == SESSION_LOADING);
    s->now_ms = now_ms;
    if (result) {
        session_end(s, result, err_message());
        return;
    }
    s->store = store;
    serve(s);
    session_say_ready(s);
}
