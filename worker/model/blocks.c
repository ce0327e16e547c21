/* Declaring and applying the building blocks. */
#include "worker/model/blocks.h"

#include <stdarg.h>
#include <stdio.h>

#include "worker/ops/attention.h"
#include "worker/ops/linear.h"
#include "worker/ops/norm.h"

int declare_dense(const Declaration *d, int rows, int cols, InitKind init, double scale, bool has_l2,
                  const char *format, ...) {
    char name[SCHEMA_NAME];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    return schema_add_dense(d->schema, name, d->reached_by, (uint32_t)rows, (uint32_t)cols, init, scale, has_l2);
}

int declare_normal(const Declaration *d, int rows, int cols, const char *name) {
    return declare_dense(d, rows, cols, INIT_TRUNCATED_NORMAL, d->config->init_std, false, "%s", name);
}

/* ---- linear --------------------------------------------------------------------------------------------------------
 */

static LinearBlock linear_declare_with(const Declaration *d, int K, int M, InitKind init, double scale,
                                       const char *name) {
    LinearBlock l;
    l.W = declare_dense(d, K, M, init, scale, true, "%s.W", name);
    l.b = declare_dense(d, 1, M, INIT_CONSTANT, 0, false, "%s.b", name);
    return l;
}

LinearBlock linear_declare(const Declaration *d, int K, int M, const char *name) {
    return linear_declare_with(d, K, M, INIT_GLOROT_UNIFORM, 0, name);
}

Var *linear_apply(Step *s, const LinearBlock *l, Var *x) {
    return op_linear(step_tape(s), x, step_var(s, l->W), l->b < 0 ? NULL : step_var(s, l->b));
}

/* ---- layer norm ----------------------------------------------------------------------------------------------------
 */

LayerNormBlock layer_norm_declare(const Declaration *d, const char *name) {
    LayerNormBlock n;
    n.gamma = declare_dense(d, 1, d->config->dim, INIT_CONSTANT, 1, false, "%s.gamma", name);
    n.beta = declare_dense(d, 1, d->config->dim, INIT_CONSTANT, 0, false, "%s.beta", name);
    return n;
}

Var *layer_norm_apply(Step *s, const LayerNormBlock *n, Var *x) {
    return op_layer_norm(step_tape(s), x, step_var(s, n->gamma), step_var(s, n->beta));
}

/* ---- attention ------------------------------------------------------------------------------------------------------
 */

static LinearBlock projection(const Declaration *d, const char *name, char which) {
    char part[SCHEMA_NAME];
    snprintf(part, sizeof part, "%s.%c", name, which);
    return linear_declare(d, d->config->dim, d->config->dim, part);
}

AttentionBlock attention_declare(const Declaration *d, const char *name, bool projects_query) {
    AttentionBlock a = {.q = {-1, -1}};
    if (projects_query)
        a.q = projection(d, name, 'q');
    a.k = projection(d, name, 'k');
    a.v = projection(d, name, 'v');
    return a;
}

/* W V + the query's input; the key's bias has no effect (attention.h). */
static Var *values_apply(Step *s, const AttentionBlock *a, Var *pooled, Var *xq) {
    return op_linear_residual(step_tape(s), pooled, step_var(s, a->v.W), step_var(s, a->v.b), xq);
}

Var *attention_apply_causal(Step *s, const AttentionBlock *a, Var *xq, Var *xk) {
    Segments segments = step_segments(s);
    Var *q = op_query(step_tape(s), xq, step_var(s, a->q.W), step_var(s, a->q.b), step_var(s, a->k.W));
    return values_apply(s, a, op_attention_causal(step_tape(s), q, xk, &segments), xq);
}

Var *attention_apply_prototypes(Step *s, const AttentionBlock *a, Var *xq, Var *xk) {
    Segments segments = step_segments(s);
    Var *q = op_query(step_tape(s), xq, NULL, NULL, step_var(s, a->k.W));
    return values_apply(s, a, op_attention_prototypes(step_tape(s), q, xk, &segments), xq);
}

/* ---- FFN -------------------------------------------------------------------------------------------------------- */

FeedForwardBlock feed_forward_declare(const Declaration *d, const char *name) {
    char up[SCHEMA_NAME], down[SCHEMA_NAME];
    snprintf(up, sizeof up, "%s.up", name);
    snprintf(down, sizeof down, "%s.down", name);
    FeedForwardBlock f;
    f.up = linear_declare(d, d->config->dim, d->config->dim, up);
    f.down = linear_declare(d, d->config->dim, d->config->dim, down);
    return f;
}

Var *feed_forward_apply(Step *s, const FeedForwardBlock *f, Var *x) {
    return op_feed_forward(step_tape(s), x, step_var(s, f->up.W), step_var(s, f->up.b), step_var(s, f->down.W),
                           step_var(s, f->down.b));
}

/* ---- MLP -------------------------------------------------------------------------------------------------------- */

Err mlp_check(const Widths *widths, const char *option) {
    if (widths->n < 1)
        return err_fail(ERR_CONFIG, "%s is empty: the model needs at least one hidden layer", option);
    return OK;
}

static int declare_statistic(const Declaration *d, int width, double initial, const char *name, const char *what,
                             int layer) {
    char full[SCHEMA_NAME];
    snprintf(full, sizeof full, "%s.%s%d", name, what, layer);
    return schema_add_ema(d->schema, full, d->reached_by, N_DOMAINS, (uint32_t)width, initial);
}

MlpBlock mlp_declare(const Declaration *d, int n_in, const Widths *widths, const char *name) {
    MlpBlock m = {.n = widths->n};
    char part[SCHEMA_NAME];
    double std = d->config->init_std;
    bool has_norm = d->config->norm == NORM_BATCH;
    for (int i = 0; i < m.n; i++) {
        int width = widths->width[i];
        snprintf(part, sizeof part, "%s.layers.%d", name, i);
        m.layers[i] = linear_declare_with(d, i ? widths->width[i - 1] : n_in, width, INIT_TRUNCATED_NORMAL, std, part);
        m.gamma[i] = m.beta[i] = m.mean[i] = m.var[i] = -1;
        if (!has_norm)
            continue;
        m.gamma[i] = declare_dense(d, 1, width, INIT_CONSTANT, 1, false, "%s.gamma.%d", name, i);
        m.beta[i] = declare_dense(d, 1, width, INIT_CONSTANT, 0, false, "%s.beta.%d", name, i);
        m.mean[i] = declare_statistic(d, width, 0, name, "mean", i);
        m.var[i] = declare_statistic(d, width, 1, name, "var", i);
    }
    snprintf(part, sizeof part, "%s.out", name);
    m.out = linear_declare_with(d, widths->width[m.n - 1], 1, INIT_TRUNCATED_NORMAL, std, part);
    return m;
}

Var *mlp_apply(Step *s, const MlpBlock *m, Var *h, int row) {
    for (int i = 0; i < m->n; i++) {
        const LinearBlock *next = i + 1 < m->n ? &m->layers[i + 1] : &m->out;
        BatchNorm norm;
        if (m->gamma[i] >= 0) {
            norm.gamma = step_var(s, m->gamma[i]);
            norm.beta = step_var(s, m->beta[i]);
            step_batch_norm(s, m->mean[i], m->var[i], row, h->rows, &norm);
        }
        h = op_norm_relu_linear(step_tape(s), h, m->gamma[i] >= 0 ? &norm : NULL, step_var(s, next->W),
                                step_var(s, next->b));
    }
    return h;
}
