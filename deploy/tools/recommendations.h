/* What `mangrove recommend` does: opens a snapshot beside its data set, answers one user, one history or a file of
 * users, and prints. */
#ifndef MANGROVE_DEPLOY_TOOLS_RECOMMENDATIONS_H
#define MANGROVE_DEPLOY_TOOLS_RECOMMENDATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

/* Of user, history and users_path exactly one is not NULL. */
typedef struct RecommendOptions {
    const char *dir;        /* a snapshot or a run's directory */
    const char *data_dir;   /* the prepared data set of the training */
    int domain;             /* DOMAIN_A, DOMAIN_B */
    const char *user;       /* a name of the data set */
    const char *history;    /* names of items of the domain, oldest first, separated by commas */
    const char *users_path; /* a file with one name a line */
    uint32_t k;
    bool excludes_seen;
    bool is_json;
} RecommendOptions;

/* To stdout. A line of users_path that cannot be answered is reported by its number and left out, all others are
 * answered, and the end is ERR_DATA. ERR_USAGE if k is more than there are candidates. */
Err recommend(const RecommendOptions *options) MUST_CHECK;

#endif
