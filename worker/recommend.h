/* Recommendation: the best of all candidate items of a domain for a history, scored exactly. The candidates of a domain
 * are the items that occur in its events of the data set. */
#ifndef MANGROVE_WORKER_RECOMMEND_H
#define MANGROVE_WORKER_RECOMMEND_H

#include <stdbool.h>

#include "common/config.h"
#include "common/err.h"
#include "common/schema.h"
#include "worker/client.h"
#include "worker/data/dataset.h"
#include "worker/model/model.h"

typedef struct Recommendation {
    uint32_t item;
    float score; /* the model's logit in evaluation */
} Recommendation;

/* ---- the best k of many ---- */

/* Higher scores first; equal ones by ascending item. */
typedef struct Top {
    uint32_t k, n;
    Recommendation *at; /* (k), the caller's; in order after top_sort() */
} Top;

void top_offer(Top *t, uint32_t item, float score); /* score is a number */
void top_sort(Top *t);

/* ---- for a history ---- */

typedef struct Recommender Recommender;

typedef struct RecommendQuery {
    const uint32_t *hist; /* (n_hist) items of the domain, oldest first; the most recent model.seq_len count */
    uint32_t n_hist;      /* at least 1 */
    uint32_t user;        /* 0: none of the data set's */
    const uint32_t *excluded[N_DOMAINS]; /* (n_excluded[d]) items that are not wanted, in any order; NULL if none */
    uint32_t n_excluded[N_DOMAINS];
} RecommendQuery;

/* Pulls the domain's parameters, epoch being the store's. Borrows data, config and schema. ERR_CONFIG if the model
 * wants more of a user than a history of the domain; what the client answers. A failure leaves *out NULL. */
Err recommender_open(Recommender **out, const Dataset *data, const Config *config, const Schema *schema, int domain,
                     const ParameterClient *client, uint32_t epoch) MUST_CHECK;
void recommender_close(Recommender **r);

uint32_t recommender_candidates(const Recommender *r);
bool recommender_is_candidate(const Recommender *r, uint32_t item); /* any id */

/* What the data set knows of the user: all events of the domain. excludes_seen: not the items of the user's events, of
 * either domain. n_hist is 0 where the user has no event in the domain. */
RecommendQuery recommender_user(const Recommender *r, uint32_t user, bool excludes_seen);

/* Fills top, which is empty, with the best candidates, sorted; fewer than k where no more are left. ERR_FAILED if a
 * score is not a finite number. */
Err recommender_run(Recommender *r, const RecommendQuery *query, Top *top) MUST_CHECK;

#endif
