/* The tape's memory and its way back. */
#include "worker/ops/tape.h"

#include <assert.h>

#include "worker/ops/meter.h"
#include "worker/ops/vmath.h"

void tape_init(Tape *t, Arena *arena, bool is_recording) {
    *t = (Tape){.arena = arena, .is_recording = is_recording, .gradients = {.arena = arena}};
}

/* ---- memory of gradients ---------------------------------------------------------------------------------------- */

/* The smallest spare one that is large enough, unless most of it would lie idle. */
static real *take_memory(Gradients *g, size_t size) {
    int best = -1;
    for (int i = 0; i < g->n; i++)
        if (g->spare[i].size >= size && g->spare[i].size / 4 <= size &&
            (best < 0 || g->spare[i].size < g->spare[best].size))
            best = i;
    if (best < 0) {
        g->has_grown = true;
        return arena_array(g->arena, real, size);
    }
    real *x = g->spare[best].x;
    g->spare[best] = g->spare[--g->n];
    return x;
}

static void give_memory(Var *v) {
    Gradients *g = v->pool;
    if (g && !v->is_fresh && g->n < (int)(sizeof g->spare / sizeof *g->spare)) {
        g->spare[g->n].x = v->dx;
        g->spare[g->n++].size = var_size(v);
    }
}

real *var_target(Var *v, real *beta) {
    *beta = v->is_fresh ? 0 : 1;
    if (v->is_fresh && v->pool)
        v->dx = take_memory(v->pool, var_size(v));
    v->is_fresh = false;
    return v->dx;
}

real *var_grad(Var *v) {
    real beta, *dx = var_target(v, &beta);
    if (beta == 0)
        memset(dx, 0, var_size(v) * sizeof(real));
    return dx;
}

void var_add(Var *v, const real *from) {
    real beta, *dx = var_target(v, &beta);
    if (beta == 0)
        memcpy(dx, from, var_size(v) * sizeof(real));
    else
        vec_add(dx, from, var_size(v));
}

/* ---- the way back ----------------------------------------------------------------------------------------------- */

void tape_backward(Tape *t) {
    for (Record *r = t->last; r; r = r->before) {
        if (r->y && r->y->is_fresh)
            continue;
        ArenaMark mark = arena_mark(t->arena);
        t->gradients.has_grown = false;
        meter_enter(METER_ELEMENTWISE);
        r->backward(r);
        meter_enter(METER_OVERHEAD);
        if (r->y)
            give_memory(r->y);
        if (!t->gradients.has_grown)
            arena_return_to(t->arena, &mark);
    }
}

Var *tape_wrap(Tape *t, int rows, int cols, real *x, real *dx) {
    Var *v = arena_alloc(t->arena, sizeof *v);
    *v = (Var){.rows = rows, .cols = cols, .x = x, .dx = dx};
    return v;
}

Var *tape_var(Tape *t, int rows, int cols, bool needs_grad) {
    size_t n = (size_t)rows * (size_t)cols;
    Var *v = tape_wrap(t, rows, cols, arena_array(t->arena, real, n), NULL);
    if (t->is_recording && needs_grad) {
        v->dx = v->x; /* not NULL */
        v->is_fresh = true;
        v->pool = &t->gradients;
    }
    meter_enter(METER_ELEMENTWISE); /* its operation begins, and ends with tape_record() */
    return v;
}

static void *push_record(Tape *t, size_t bytes, void (*backward)(void *op), Var *y) {
    assert(t->is_recording && bytes >= sizeof(Record));
    Record *r = arena_alloc(t->arena, bytes);
    *r = (Record){.backward = backward, .before = t->last, .y = y};
    t->last = r;
    return r;
}

void *tape_record(Tape *t, size_t bytes, void (*backward)(void *op), Var *y) {
    meter_enter(METER_OVERHEAD);
    return y->dx ? push_record(t, bytes, backward, y) : NULL;
}

void *tape_record_loss(Tape *t, size_t bytes, void (*backward)(void *op)) {
    return push_record(t, bytes, backward, NULL);
}

Var *op_stop(Tape *t, const Var *x) {
    return tape_wrap(t, x->rows, x->cols, x->x, NULL);
}
