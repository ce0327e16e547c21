/* The sums of an epoch that every training step adds to: one row a domain, of a `sum` tensor (schema.h), which the
 * servers hold and the scheduler turns into the epoch's means.
 *
 * Of a rank's slice with n_r of the step's n instances every value but LOSS_INSTANCES is scaled by n_r / n, so that the
 * sums count every step once. LOSS_WATCH is a figure that the model wants watched (MAN: the norm of its prototypes). */
#ifndef MANGROVE_COMMON_LOSSES_H
#define MANGROVE_COMMON_LOSSES_H

#include "common/schema.h"

enum { LOSS_DATA, LOSS_REGULARISER, LOSS_STEPS, LOSS_INSTANCES, LOSS_WATCH, LOSS_N };

/* Declares "loss.A" and "loss.B" (1, LOSS_N). */
void losses_declare(Schema *s);

/* The tensor's index, or -1 where it was not declared. */
int losses_tensor(const Schema *s, int domain);

#endif
