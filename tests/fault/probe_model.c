/* A model for the fault tests: every parameter's gradient is exactly 1 in every step of its domain. So under sgd with a
 * learning rate that is a power of two each value has moved by exactly lr x (steps of the domain), if every step was
 * applied once on every server, and by nothing else. Linked in place of models.c into the program `mangrove_probe`. */
#include <stdlib.h>

#include "common/log.h"
#include "worker/model/model_api.h"
#include "worker/model/models.h"

enum { PROBE_ROWS = 64 }; /* dense rows of each domain: enough that every server holds some */

static Err probe_declare(const ModelConfig *config, uint32_t n_items, uint32_t n_users, Schema *schema) {
    (void)config, (void)n_items, (void)n_users;
    schema_add_dense(schema, "probe.A", REACHED_BY_A, PROBE_ROWS, SCHEMA_DENSE_WIDTH, INIT_CONSTANT, 0, false);
    schema_add_dense(schema, "probe.B", REACHED_BY_B, PROBE_ROWS, SCHEMA_DENSE_WIDTH, INIT_CONSTANT, 0, false);
    return OK;
}

static void *probe_layout(const ModelConfig *config) {
    (void)config;
    return must_calloc(1, 1);
}

static void probe_lookup(Step *step, const ModelConfig *config, const Batch *batch) {
    (void)step, (void)config, (void)batch;
}

typedef struct SumOp {
    Record record;
    Var *values;
} SumOp;

static void sum_backward(void *op) {
    SumOp *o = op;
    real *gradient = var_grad(o->values);
    for (size_t i = 0; i < var_size(o->values); i++)
        gradient[i] += 1;
}

static const void *probe_encode(Step *step, const ModelConfig *config, const Batch *batch) {
    (void)step, (void)config, (void)batch;
    return NULL;
}

static void probe_score(Step *step, const ModelConfig *config, const Batch *batch, const void *encoded) {
    (void)config, (void)encoded;
    Tape *tape = step_tape(step);
    Var *logits = tape_var(tape, batch->n_instances * batch->n_candidates, 1, false);
    for (int i = 0; i < logits->rows; i++)
        logits->x[i] = 0;
    if (step_is_training(step)) {
        SumOp *op = tape_record_loss(tape, sizeof *op, sum_backward);
        op->values = step_var(step, batch->domain); /* tensors 0 and 1, as declared */
    }
    step_set_logits(step, logits);
}

static const Model PROBE_MODEL = {
    .name = "probe",
    .declare = probe_declare,
    .layout = probe_layout,
    .lookup = probe_lookup,
    .encode = probe_encode,
    .score = probe_score,
};

const Model *const MODELS[] = {&PROBE_MODEL, NULL};
