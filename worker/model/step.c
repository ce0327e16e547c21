/* The life of a step: open, begin, forward, backward. */
#include "worker/model/step.h"

#include <assert.h>
#include <stdlib.h>

#include "common/log.h"
#include "worker/model/step_parts.h"
#include "worker/ops/gemm.h"
#include "worker/ops/loss.h"

enum { FIRST_ARENA_BYTES = 1 << 20 };

Step *step_open(const Model *model, const Config *config, const Schema *schema) {
    Step *s = must_calloc(1, sizeof *s);
    s->model = model;
    s->schema = schema;
    s->config = config->model;
    s->layout = model->layout(&s->config);
    s->vars = must_calloc((size_t)schema->n_tensors, sizeof *s->vars);
    s->value_at = must_calloc((size_t)schema->n_tensors, sizeof *s->value_at);
    s->n_distinct = must_calloc((size_t)schema->n_tensors, sizeof *s->n_distinct);
    step_rows_open(s);
    arena_init(&s->arena, FIRST_ARENA_BYTES);
    gemm_use_one_thread();
    return s;
}

void step_close(Step **s) {
    if (!*s)
        return;
    step_rows_close(*s);
    arena_free(&(*s)->arena);
    free((*s)->n_distinct);
    free((*s)->value_at);
    free((*s)->vars);
    free((*s)->layout);
    free(*s);
    *s = NULL;
}

Arena *step_arena(Step *s) {
    return &s->arena;
}

void step_reset(Step *s) {
    arena_reset(&s->arena);
    memset(s->vars, 0, sizeof *s->vars * (size_t)s->schema->n_tensors);
    s->batch = NULL;
    s->logits = NULL;
    s->keys = NULL;
    s->values = s->grads = NULL;
    s->n_lookups = s->n_kept = s->n_stats = 0;
    s->loss = s->regulariser = s->watch = 0;
}

void step_begin(Step *s, const Batch *batch, bool is_training) {
    assert(!s->batch && (batch->n_instances == 0 || batch->step_instances >= batch->n_instances));
    s->batch = batch;
    s->is_training = is_training;
    tape_init(&s->tape, &s->arena, is_training);
    s->model->lookup(s, &s->config, batch);
    step_rows_begin(s);
}

const real *step_forward(Step *s) {
    if (s->batch->n_instances == 0)
        return NULL;
    const void *encoded = s->model->encode(s, &s->config, s->batch);
    s->model->score(s, &s->config, s->batch, encoded);
    assert(s->logits);
    return s->logits->x;
}

void step_backward(Step *s) {
    assert(s->is_training && (s->logits || s->batch->n_instances == 0));
    tape_backward(&s->tape);
    step_stats_write(s);
}

double step_data_loss(const Step *s) {
    return s->loss;
}

double step_regulariser(const Step *s) {
    return s->regulariser;
}

const real *step_activation(const Step *s, const char *name, int *rows, int *cols) {
    for (int i = 0; i < s->n_kept; i++) {
        if (strcmp(s->kept[i].name, name) == 0) {
            *rows = s->kept[i].var->rows;
            *cols = s->kept[i].var->cols;
            return s->kept[i].var->x;
        }
    }
    return NULL;
}

/* ---- model_api.h --------------------------------------------------------------------------------------------------
 */

const void *step_layout(const Step *s) {
    return s->layout;
}

Tape *step_tape(Step *s) {
    return &s->tape;
}

bool step_is_training(const Step *s) {
    return s->is_training;
}

Segments step_segments(const Step *s) {
    return (Segments){.n = s->batch->n_instances, .longest = s->batch->longest, .offset = s->batch->offset};
}

double step_share(const Step *s) {
    return s->batch->n_instances ? (double)s->batch->n_instances / s->batch->step_instances : 0;
}

void step_set_logits(Step *s, Var *logits) {
    const Batch *b = s->batch;
    static double (*const LOSS[])(Tape *, Var *, int,
                                  int) = {[LOSS_SOFTMAX] = op_loss_softmax, [LOSS_BCE] = op_loss_binary};
    assert(logits->rows == b->n_instances * b->n_candidates && logits->cols == 1);
    s->logits = logits;
    if (!s->is_held)
        s->loss = LOSS[s->config.loss](&s->tape, logits, b->n_candidates, b->step_instances);
}

void step_add_regulariser(Step *s, double value) {
    s->regulariser += value;
}

void step_watch(Step *s, double value) {
    s->watch = value;
}

void step_keep(Step *s, const char *name, const Var *v) {
    assert(s->n_kept < STEP_MAX_KEPT);
    s->kept[s->n_kept++] = (Kept){name, v};
}
