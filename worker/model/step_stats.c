/* Statistics beside the gradients: batch norm's and the losses. A stats row is SCHEMA_STATS_VALUES values and a weight;
 * a tensor's row takes as many as it needs. */
#include <assert.h>

#include "worker/model/step_parts.h"

static int rows_per_row(const Tensor *t) {
    return (int)((t->cols + SCHEMA_STATS_VALUES - 1) / SCHEMA_STATS_VALUES);
}

/* Offset of value `col` of row `row` behind the tensor's first value. */
static size_t stats_offset(const Tensor *t, int row, int col) {
    return (size_t)(row * rows_per_row(t) + col / SCHEMA_STATS_VALUES) * SCHEMA_STATS_WIDTH +
           (size_t)(col % SCHEMA_STATS_VALUES);
}

/* The running values of a row, put together from its stats rows. */
static const real *pulled_row(Step *s, int tensor, int row) {
    const Tensor *t = &s->schema->tensors[tensor];
    real *out = arena_array(s->tape.arena, real, t->cols);
    for (int c = 0; c < (int)t->cols; c++)
        out[c] = s->values[s->value_at[tensor] + stats_offset(t, row, c)];
    return out;
}

static real *measured_row(Step *s, int tensor, int row, int n_rows) {
    const Tensor *t = &s->schema->tensors[tensor];
    assert(s->n_stats < STEP_MAX_STATS && t->kind == TENSOR_EMA && row < (int)t->rows);
    real *out = arena_array(s->tape.arena, real, t->cols);
    s->stats[s->n_stats++] = (Stat){.tensor = tensor, .row = row, .n_rows = n_rows, .x = out};
    return out;
}

void step_batch_norm(Step *s, int mean, int var, int row, int n_rows, BatchNorm *norm) {
    norm->mean = norm->var = NULL;
    norm->running_mean = norm->running_var = NULL;
    if (s->is_training) {
        norm->mean = measured_row(s, mean, row, n_rows);
        norm->var = measured_row(s, var, row, n_rows);
    } else {
        norm->running_mean = pulled_row(s, mean, row);
        norm->running_var = pulled_row(s, var, row);
    }
}

/* w x and w: so the rows of a step's ranks can be added. */
static void write_stat(Step *s, const Stat *stat) {
    const Tensor *t = &s->schema->tensors[stat->tensor];
    real *out = s->grads + s->value_at[stat->tensor], weight = (real)stat->n_rows;
    for (int c = 0; c < (int)t->cols; c++)
        out[stats_offset(t, stat->row, c)] = weight * stat->x[c];
    for (int c = 0; c < (int)t->cols; c += SCHEMA_STATS_VALUES)
        out[stats_offset(t, stat->row, c) + SCHEMA_STATS_VALUES] = weight;
}

void step_stats_write(Step *s) {
    for (int i = 0; i < s->n_stats; i++)
        write_stat(s, &s->stats[i]);
    real *loss = s->grads + s->value_at[s->domains[s->batch->domain].loss];
    double share = step_share(s);
    loss[LOSS_DATA] = (real)s->loss;
    loss[LOSS_REGULARISER] = (real)s->regulariser;
    loss[LOSS_STEPS] = (real)share;
    loss[LOSS_INSTANCES] = (real)s->batch->n_instances;
    loss[LOSS_WATCH] = (real)(share * s->watch);
    loss[SCHEMA_STATS_VALUES] = (real)share;
}
