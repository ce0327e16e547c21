/* Optimizers and the running statistics, row by row. */
#include "server/store/optimizer.h"

#include <math.h>
#include <stddef.h>

#include "server/store/vectorize.h"

static const real EMA_KEEP = (real)0.95, EMA_TAKE = (real)0.05; /* specification, building blocks, BN */

Update optimizer_update(const OptimizerConfig *c, uint64_t t) {
    double rate = c->lr;
    if (c->kind == OPTIMIZER_ADAM)
        rate *= sqrt(1 - pow(c->beta2, (double)t)) / (1 - pow(c->beta1, (double)t));
    return (Update){
        .kind = c->kind,
        .rate = (real)rate,
        .beta1 = (real)c->beta1,
        .beta2 = (real)c->beta2,
        .rest1 = (real)(1 - c->beta1),
        .rest2 = (real)(1 - c->beta2),
        .eps = (real)c->eps,
        .l2 = (real)c->l2,
    };
}

uint32_t optimizer_set_reals(OptimizerKind kind, uint32_t width) {
    return kind == OPTIMIZER_ADAM ? 2 * width : 0;
}

VECTORIZE static void sgd(real *restrict x, const real *restrict grad, real rate, real l2, uint32_t width) {
    for (uint32_t i = 0; i < width; i++)
        x[i] -= rate * (grad[i] + l2 * x[i]);
}

/* Specification, loss and training: theta -= a m / (sqrt(v) + eps), a = rate of the update. */
VECTORIZE static void adam(const Update *restrict u, real *restrict x, real *restrict m, real *restrict v,
                           const real *restrict grad, real l2, uint32_t width) {
    const real rate = u->rate, beta1 = u->beta1, beta2 = u->beta2, rest1 = u->rest1, rest2 = u->rest2, eps = u->eps;
    for (uint32_t i = 0; i < width; i++) {
        real g = grad[i] + l2 * x[i];
        m[i] = beta1 * m[i] + rest1 * g;
        v[i] = beta2 * v[i] + rest2 * (g * g);
        x[i] -= rate * m[i] / (REAL_SQRT(v[i]) + eps);
    }
}

/* The push is (w*x summed, w summed); w = 0 says nothing about x. */
static void ema(real *restrict x, const real *restrict push, uint32_t width) {
    real weight = push[width - 1];
    if (!(weight > 0))
        return;
    for (uint32_t i = 0; i + 1 < width; i++)
        x[i] = EMA_KEEP * x[i] + EMA_TAKE * (push[i] / weight);
}

static void sum(real *restrict x, const real *restrict push, uint32_t width) {
    for (uint32_t i = 0; i < width; i++)
        x[i] += push[i];
}

void optimizer_apply(const Update *u, RowRule rule, real *values, real *moments, const real *grad, uint32_t width) {
    real l2 = rule == RULE_L2 ? u->l2 : 0;
    if (rule == RULE_EMA)
        ema(values, grad, width);
    else if (rule == RULE_SUM)
        sum(values, grad, width);
    else if (u->kind == OPTIMIZER_ADAM)
        adam(u, values, moments, moments + width, grad, l2, width);
    else
        sgd(values, grad, u->rate, l2, width);
}
