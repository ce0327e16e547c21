/* The same trainings in float, as the product computes.
 * link: mg_numbers_f32 mg_store_f32 */
#include "tests/golden/golden_trainings.h"

/* Gradients that are zero by algebra are noise of 1e-9 in float, which Adam turns into steps of up to lr = 1e-3: such
 * parameters do not compare, and they move the losses by less than lr times their small influence. */
const double LOSS_TOLERANCE = 5e-4, STATE_TOLERANCE = 0;
