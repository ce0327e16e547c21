/* The sums of an epoch. */
#include "common/losses.h"

static const char *const TENSORS[N_DOMAINS] = {"loss.A", "loss.B"};
static const int REACHED_BY[N_DOMAINS] = {REACHED_BY_A, REACHED_BY_B};

void losses_declare(Schema *s) {
    for (int d = 0; d < N_DOMAINS; d++)
        schema_add_sum(s, TENSORS[d], REACHED_BY[d], 1, LOSS_N);
}

int losses_tensor(const Schema *s, int domain) {
    return schema_find(s, TENSORS[domain]);
}
