/* The kernels of narrow products in double, as the proofs use them.
 * link: mg_numbers_f64 */
#include "tests/unit/product_tests.h"
