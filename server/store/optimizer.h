/* What a gradient does to a row. One pass per row, in place; the store decides which rule a row follows. */
#ifndef MANGROVE_SERVER_STORE_OPTIMIZER_H
#define MANGROVE_SERVER_STORE_OPTIMIZER_H

#include <stdint.h>

#include "common/config.h"
#include "common/real.h"

typedef enum RowRule {
    RULE_PLAIN, /* the optimizer */
    RULE_L2,    /* the optimizer, lambda * theta added to the gradient */
    RULE_EMA,   /* running = 0.95 running + 0.05 (sum of w*x) / (sum of w) */
    RULE_SUM,   /* running += push */
} RowRule;

/* The optimizer in one step, all of whose rows share t. */
typedef struct Update {
    OptimizerKind kind;
    real rate;         /* sgd: lr; adam: lr * sqrt(1 - beta2^t) / (1 - beta1^t) */
    real beta1, beta2; /* adam */
    real rest1, rest2; /* 1 - beta1, 1 - beta2 */
    real eps;
    real l2;
} Update;

/* t: the number of this step in its domain, from 1. */
Update optimizer_update(const OptimizerConfig *config, uint64_t t);

/* Moment sets are [m (width) | v (width)]; adam has one per domain that reaches the table, sgd none. */
uint32_t optimizer_set_reals(OptimizerKind kind, uint32_t width);

/* grad (width). moments: of this step's domain, NULL for sgd. */
void optimizer_apply(const Update *u, RowRule rule, real *values, real *moments, const real *grad, uint32_t width);

#endif
