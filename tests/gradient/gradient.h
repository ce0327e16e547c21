/* Every backward against central differences, in double.
 *
 * An op's output y is made a number by fixed random coefficients, L = sum c y. For each element of each input the
 * derivative is (8 (L(x+h) - L(x-h)) - (L(x+2h) - L(x-2h))) / 12h with h = 1e-4: its error is h^4 = 1e-16 of the fifth
 * derivative and 1e-16 / h = 1e-12 of L by rounding, so a relative error of 1e-6 leaves both far behind and is a
 * thousandth of the 0.1 % mistake that must not pass. Elements below a thousandth of their input's largest gradient are
 * compared with that thousandth: their own digits are rounding.
 *
 * Every op runs twice: with inputs whose gradient is fresh, and with inputs that somebody has added to already. */
#ifndef MANGROVE_TESTS_GRADIENT_GRADIENT_H
#define MANGROVE_TESTS_GRADIENT_GRADIENT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "common/log.h"
#include "common/rng.h"
#include "worker/ops/tape.h"

enum { GRADIENT_MAX_INPUTS = 8 };
static const double GRADIENT_STEP = 1e-4, GRADIENT_TOLERANCE = 1e-6;

/* Segments for tests: lengths, then the offsets they give. */
typedef struct Histories {
    uint32_t offset[8];
    Segments segments;
} Histories;

static inline void histories_init(Histories *h, int n, const int *lengths) {
    h->segments = (Segments){.n = n, .offset = h->offset};
    h->offset[0] = 0;
    for (int i = 0; i < n; i++) {
        h->offset[i + 1] = h->offset[i] + (uint32_t)lengths[i];
        h->segments.longest = lengths[i] > h->segments.longest ? lengths[i] : h->segments.longest;
    }
}

/* An op under test. build() makes the output; ops without one (losses) return NULL and put their value into *loss. */
typedef struct Case {
    const char *name;
    int n_inputs;
    int rows[GRADIENT_MAX_INPUTS], cols[GRADIENT_MAX_INPUTS];
    Var *(*build)(Tape *t, Var **x, const struct Case *c, double *loss);
    const Segments *segments;
    int N, kind; /* for build() */
    const uint32_t *index;
} Case;

typedef struct SumOp {
    Record record;
    Var *y;
    const real *coefficients;
} SumOp;

static inline void sum_backward(void *self) {
    SumOp *op = self;
    real *dy = var_grad(op->y);
    for (size_t i = 0; i < var_size(op->y); i++)
        dy[i] += op->coefficients[i];
}

/* The number, and with is_recording the way back to the inputs. */
static inline double run_case(const Case *c, Arena *arena, Var **inputs, bool is_recording) {
    Tape t;
    double loss = 0;
    tape_init(&t, arena, is_recording);
    Var *y = c->build(&t, inputs, c, &loss);
    if (y) {
        Rng rng = rng_stream(7, RNG_TEST, 1, 0);
        real *coefficients = arena_array(arena, real, var_size(y));
        for (size_t i = 0; i < var_size(y); i++) {
            coefficients[i] = (real)rng_normal(&rng);
            loss += (double)(coefficients[i] * y->x[i]);
        }
        if (is_recording) {
            SumOp *op = tape_record_loss(&t, sizeof *op, sum_backward);
            *op = (SumOp){op->record, y, coefficients};
        }
    }
    if (is_recording)
        tape_backward(&t);
    return loss;
}

static inline double central_difference(const Case *c, Arena *arena, Var **inputs, real *x) {
    static const double TIMES[] = {1, -1, 2, -2};
    double at[4];
    real before = *x;
    for (int i = 0; i < 4; i++) {
        *x = before + (real)(TIMES[i] * GRADIENT_STEP);
        at[i] = run_case(c, arena, inputs, false);
    }
    *x = before;
    return (8 * (at[0] - at[1]) - (at[2] - at[3])) / (12 * GRADIENT_STEP);
}

static inline double check_input(const Case *c, Arena *arena, Var **inputs, int i, double already) {
    Var *v = inputs[i];
    double most = 0, worst = 0;
    for (size_t j = 0; j < var_size(v); j++)
        most = fmax(most, fabs((double)v->dx[j] - already));
    for (size_t j = 0; j < var_size(v); j++) {
        double got = (double)v->dx[j] - already, want = central_difference(c, arena, inputs, &v->x[j]);
        double error = fabs(got - want) / fmax(fmax(fabs(want), 1e-3 * most), 1e-6);
        worst = fmax(worst, error);
        if (!(error < GRADIENT_TOLERANCE))
            fail_msg("%s, input %d, element %zu: the backward says %.12g, central differences %.12g", c->name, i, j,
                     got, want);
    }
    return worst;
}

static inline void check_case_from(const Case *c, bool is_fresh) {
    static const double ALREADY = 0.5;
    Arena inputs_arena, arena;
    arena_init(&inputs_arena, 1 << 16);
    arena_init(&arena, 1 << 20);
    Var *inputs[GRADIENT_MAX_INPUTS];
    Rng rng = rng_stream(11, RNG_TEST, 0, 0);
    Tape t;
    tape_init(&t, &inputs_arena, true);
    for (int i = 0; i < c->n_inputs; i++) {
        size_t n = (size_t)c->rows[i] * (size_t)c->cols[i];
        inputs[i] = tape_wrap(&t, c->rows[i], c->cols[i], arena_array(&inputs_arena, real, n),
                              arena_array(&inputs_arena, real, n));
        for (size_t j = 0; j < var_size(inputs[i]); j++) {
            inputs[i]->x[j] = (real)(0.7 * rng_normal(&rng));
            inputs[i]->dx[j] = (real)(is_fresh ? NAN : ALREADY); /* fresh memory is undefined: nobody may read it */
        }
        inputs[i]->is_fresh = is_fresh;
    }
    run_case(c, &arena, inputs, true);
    double worst = 0;
    for (int i = 0; i < c->n_inputs; i++) {
        if (inputs[i]->is_fresh)
            fail_msg("%s, input %d: got no gradient", c->name, i);
        worst = fmax(worst, check_input(c, &arena, inputs, i, is_fresh ? 0 : ALREADY));
        arena_reset(&arena);
    }
    if (is_fresh)
        print_message("%-40s relative error %.1e\n", c->name, worst);
    arena_free(&arena);
    arena_free(&inputs_arena);
}

static inline void check_case(const Case *c) {
    check_case_from(c, true);
    check_case_from(c, false);
}

#endif
