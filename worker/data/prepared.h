/* A data set in memory between reading and writing: what prepare computes. */
#ifndef MANGROVE_WORKER_DATA_PREPARED_H
#define MANGROVE_WORKER_DATA_PREPARED_H

#include <stdint.h>

#include "common/datainfo.h"
#include "worker/data/datafile.h"
#include "worker/data/dataset.h"

typedef enum SplitKind { SPLIT_BY_QUANTILE, SPLIT_BY_DAYS, SPLIT_LEAVE_ONE_OUT, N_SPLIT_KINDS } SplitKind;

/* Instances of a domain and split, user by user in layout order. */
typedef struct InstanceList {
    Instance *at;
    uint32_t n, capacity;
    uint32_t *chunk_start; /* (n_chunks+1) */
    uint32_t *negatives;   /* (n, DATASET_NEGATIVES); NULL in training */
} InstanceList;

typedef struct PreparedDomain {
    UserRange *users; /* (n_users) by user id; ranges lie in layout order */
    int64_t *times;   /* (n_events) */
    uint32_t *items;  /* (n_events) */
    uint32_t n_events;
    uint32_t n_active_users, n_active_items;
    int64_t valid_start, test_start; /* first second of validation and test; INT64_MAX in leave_one_out */
    uint8_t *is_warm;                /* (n_items) occurs in a training instance, as history or target */
    uint32_t n_warm_items;
    InstanceList lists[N_LISTS]; /* by list_index() */
} PreparedDomain;

typedef struct Prepared {
    uint32_t n_users, n_items; /* ids are smaller */
    uint32_t n_common_users, n_common_items;
    uint32_t n_layout; /* = n_users - 1 */
    uint32_t *layout;  /* user ids in layout order */
    uint32_t n_chunks;
    PreparedDomain domains[N_DOMAINS];
    Probe probes[N_PROTOCOLS][N_DOMAINS][N_SPLITS][N_PROBES];
} Prepared;

void prepared_free(Prepared *p); /* of a zeroed struct is legal */

#endif
