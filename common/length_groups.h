/* Groups of instances by the length of their history: how a model serves those it knows little about. The length is
 * that of all earlier events of the domain, not of the part that a model is shown. */
#ifndef MANGROVE_COMMON_LENGTH_GROUPS_H
#define MANGROVE_COMMON_LENGTH_GROUPS_H

#include <stdint.h>

enum { N_LENGTH_GROUPS = 5 };
extern const char *const LENGTH_GROUP_NAMES[N_LENGTH_GROUPS]; /* "<=10", "11-20", .. ">50" */

int length_group(uint32_t length);

#endif
