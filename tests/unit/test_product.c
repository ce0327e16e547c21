/* The kernels of narrow products, as the product uses them.
 * link: mg_numbers_f32 */
#include "tests/unit/product_tests.h"
