/* The tape's memory and its way back. */
#include "worker/ops/tape.h"

#include <assert.h>

#include "worker/ops/meter.h"
#include "worker/ops/vmath.h"

void tape_init(Tape *t, Arena *arena, bool is_recording) {
    *t = (Tape){.arena = arena, .is_recording = is_recording};
}

void tape_backward(Tape *t) {
    for (Record *r = t->last; r; r = r->before) {
        if (r->y && r->y->is_fresh)
            continue;
        meter_enter(METER_ELEMENTWISE);
        r->backward(r);
        meter_enter(METER_OVERHEAD);
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
        v->dx = arena_array(t->arena, real, n);
        v->is_fresh = true;
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

void var_add(Var *v, const real *from) {
    if (var_beta(v) == 0)
        memcpy(v->dx, from, var_size(v) * sizeof(real));
    else
        vec_add(v->dx, from, var_size(v));
}
