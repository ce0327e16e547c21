/* Whose turn it is to carry the dense rows (dense.fetch, dense.push): the values that steps share between two fetches,
 * and the gradients that steps of a group sum. One for each trainer, and within it for each domain. */
#ifndef MANGROVE_WORKER_DENSE_TURNS_H
#define MANGROVE_WORKER_DENSE_TURNS_H

#include <stdbool.h>

#include "common/config.h"
#include "worker/assignment.h"
#include "worker/client.h"
#include "worker/model/step.h"

typedef struct DenseTurn {
    real *values, *sum; /* of the domain's dense rows; NULL before they are needed */
    bool has_values;
    uint32_t first, n_summed; /* the group under way, and how many of its steps are in the sum; 0: none */
} DenseTurn;

typedef struct DenseTurns {
    DenseConfig config;
    DenseTurn domains[N_DOMAINS];
} DenseTurns;

void dense_turns_init(DenseTurns *t, const DenseConfig *config);
void dense_turns_free(DenseTurns *t);
/* At the start of an assignment: values are fetched anew, and a group that was not finished never will be. */
void dense_turns_forget(DenseTurns *t);

/* Whether the step (of training) pulls dense rows. Asked after dense_turns_pulled() of the steps before it. */
bool dense_turns_fetches(const DenseTurns *t, const AssignedStep *s);
/* After its pull: keeps the values, or gives it those that were kept. is_applied: it brought none. */
void dense_turns_pulled(DenseTurns *t, Step *step, const AssignedStep *s, bool has_fetched, bool is_applied);

/* Pushes what is the step's own and, if it is the last of a group of which no step is missing, the group. */
Err dense_turns_push(DenseTurns *t, Step *step, const AssignedStep *s, const Work *work,
                     const ParameterClient *client) MUST_CHECK;

#endif
