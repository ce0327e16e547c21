/* The tape: an operation computes its output at once, into the step's arena, and records how to go back.
 *
 * DESIGN. A Var is a matrix and, where a gradient is wanted, the matrix of its gradient. An op takes Vars, returns a
 * new one and, while the tape records, pushes a record: its operands and one function that adds to the operands'
 * gradients what follows from the output's. tape_backward() calls the records newest first. Everything lives in the
 * arena, so a step allocates nothing else and a reset forgets the tape. A gradient is `fresh` until somebody has added
 * to it: its memory is undefined and its value is 0. So nobody clears what a matrix product can overwrite: products ask
 * var_target(), all others var_grad(). An output's gradient gets its memory on its first use and gives it back when its
 * record has run, and what a backward allocates is gone when it returns: so the way back works in little memory, over
 * and over, and not in as much as the way there. A record whose output is still fresh when its turn comes has nothing
 * to pass on and is skipped. dx is NULL where no gradient is wanted: in evaluation, and behind op_stop().
 *
 * Shapes of all ops, row-major, packed:
 *   B instances  N candidates  P positions (all histories one behind the other)  n positions of one history
 *   T longest history kept  D width  G prototypes  H hidden width  K -> M in -> out of a matrix  R rows of any kind */
#ifndef MANGROVE_WORKER_OPS_TAPE_H
#define MANGROVE_WORKER_OPS_TAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/arena.h"
#include "common/real.h"

typedef struct Gradients Gradients;

typedef struct Var {
    int rows, cols;
    real *x;         /* (rows, cols) */
    real *dx;        /* (rows, cols) gradient of the loss, or NULL: none is wanted */
    bool is_fresh;   /* nobody has added to dx yet */
    Gradients *pool; /* where dx gets its memory while it is fresh, until then it only is not NULL; or NULL */
} Var;

/* Memory of gradients that have done their work. */
struct Gradients {
    Arena *arena;
    bool has_grown; /* took memory from the arena since somebody cleared this */
    int n;
    struct {
        real *x;
        size_t size;
    } spare[16];
};

/* The first member of every op's record. */
typedef struct Record {
    void (*backward)(void *op);
    struct Record *before;
    Var *y; /* NULL: a loss, which starts the way back */
} Record;

typedef struct Tape {
    Arena *arena;
    bool is_recording; /* false in evaluation */
    Record *last;
    Gradients gradients;
} Tape;

/* Sequences one behind the other: sequence i is rows offset[i] .. offset[i+1). */
typedef struct Segments {
    int n;
    int longest;
    const uint32_t *offset; /* (n+1) */
} Segments;

void tape_init(Tape *t, Arena *arena, bool is_recording);

/* Runs the records, newest first. */
void tape_backward(Tape *t);

/* A new Var, its values undefined; its gradient is wanted if the tape records and needs_grad. The tape stays where it
 * is until the way back is done. */
Var *tape_var(Tape *t, int rows, int cols, bool needs_grad);

/* Borrows values that live elsewhere, as long as the step; dx may be NULL and is not fresh otherwise. */
Var *tape_wrap(Tape *t, int rows, int cols, real *x, real *dx);

/* A record of `bytes` for the op that made y; NULL where y wants no gradient. Fields behind Record are the caller's. */
void *tape_record(Tape *t, size_t bytes, void (*backward)(void *op), Var *y);

/* A record without output, for losses. Never NULL; call while the tape records only. */
void *tape_record_loss(Tape *t, size_t bytes, void (*backward)(void *op));

/* The same values, but what lies behind gets no gradient. */
Var *op_stop(Tape *t, const Var *x);

static inline size_t var_size(const Var *v) {
    return (size_t)v->rows * (size_t)v->cols;
}

/* For ops that write all of dx by one product: dx, and the beta it must use. */
real *var_target(Var *v, real *beta);

/* For ops that add element by element: the gradient, cleared on its first use. */
real *var_grad(Var *v);

/* For ops whose output's gradient is, as it is, a term of the operand's: dx += from, (rows,cols). */
void var_add(Var *v, const real *from);

static inline int segment_length(const Segments *s, int i) {
    return (int)(s->offset[i + 1] - s->offset[i]);
}

#endif
