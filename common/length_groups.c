#include "common/length_groups.h"

const char *const LENGTH_GROUP_NAMES[N_LENGTH_GROUPS] = {"<=10", "11-20", "21-30", "31-50", ">50"};
static const uint32_t LAST_LENGTHS[N_LENGTH_GROUPS] = {10, 20, 30, 50, UINT32_MAX};

int length_group(uint32_t length) {
    int group = 0;
    while (length > LAST_LENGTHS[group])
        group++;
    return group;
}
