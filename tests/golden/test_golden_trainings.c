/* Ten steps of every training dump: losses, parameters, the moments of both domains, running statistics.
 * link: mg_numbers_f64 mg_store_f64
 * The dumps are found in $GOLDEN_DIR, else $MANGROVE_SHARED/golden/man, else ../shared/golden/man. */
#include "tests/golden/golden_trainings.h"

/* Both sides compute in double. Where a gradient is near Adam's epsilon a rounding of 1e-17 moves a parameter by
 * lr * 1e-17 / 1e-8 = 1e-12 a step; ten steps and their echoes stay under 1e-8. */
const double LOSS_TOLERANCE = 1e-8, STATE_TOLERANCE = 1e-8;
