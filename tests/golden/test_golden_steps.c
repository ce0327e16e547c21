/* One training batch of every step dump: logits, loss, named activations, gradients, running statistics, evaluation.
 * link: mg_numbers_f64
 * The dumps are found in $GOLDEN_DIR, else $MANGROVE_SHARED/golden/man, else ../shared/golden/man. */
#include "tests/golden/golden_steps.h"

/* In double the two implementations differ by rounding alone: the longest chain of sums is a few hundred terms. */
const double GOLDEN_TOLERANCE = 1e-9;
