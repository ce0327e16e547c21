/* The same dumps against the product's float build.
 * link: mg_numbers_f32 */
#include "tests/golden/golden_steps.h"

/* Float carries 6e-8; batch norm divides by deviations of a handful of rows, which magnifies it a hundredfold, and a
 * gradient passes through five such layers. */
const double GOLDEN_TOLERANCE = 1e-4;
