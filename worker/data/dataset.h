/* A prepared data set, memory-mapped. User-major: per domain the users' time-ordered events, and per domain and split
 * an array of instances. The files' format is specified at the head of prepare.h.
 *
 * Ids of users and items start at 1; 0 is padding and "unknown". Both are one id space over the two domains. A chunk is
 * a range of users in layout order with all their instances of both domains; the instances of a (domain, split) lie
 * chunk by chunk. */
#ifndef MANGROVE_WORKER_DATA_DATASET_H
#define MANGROVE_WORKER_DATA_DATASET_H

#include <stdint.h>

#include "common/config.h"
#include "common/datainfo.h"
#include "common/err.h"
#include "common/work.h"

/* One positive. Its history is the events [first, target) of the domain's event arrays: the user's oldest event up to
 * the one before the target; first < target. */
typedef struct Instance {
    uint32_t user;
    uint32_t first;
    uint32_t target;
} Instance;

enum { DATASET_NEGATIVES = 9 };

typedef struct Dataset Dataset;

/* ERR_DATA or ERR_IO with one sentence if dir is no prepared data set, is damaged, or is of another version. */
Err dataset_open(Dataset **out, const char *dir) MUST_CHECK;
void dataset_close(Dataset **d);

/* Counts, fingerprint, chunks and probes, and the JSON text they come from (it travels in a worker's HELLO). */
const DataInfo *dataset_info(const Dataset *d);
const char *dataset_manifest(const Dataset *d);

const char *dataset_item_name(const Dataset *d, uint32_t id); /* id < n_items; "" for 0 */
const char *dataset_user_name(const Dataset *d, uint32_t id);

/* The events of a domain: items and times (seconds) side by side. A user's events are contiguous. */
const uint32_t *dataset_event_items(const Dataset *d, int domain, uint32_t *n);
const int64_t *dataset_event_times(const Dataset *d, int domain);
/* The event range of a user in a domain; n may be 0. user < n_users. */
void dataset_user_events(const Dataset *d, int domain, uint32_t user, uint32_t *first, uint32_t *n);
/* Events of the domain at or after this time belong to validation or test (leave_one_out: INT64_MAX). */
int64_t dataset_train_end(const Dataset *d, int domain);

/* Instances of a domain and split in layout order; the protocol chooses among those of VALID and TEST (a target that is
 * not warm has no place under PROTOCOL_WARM), SPLIT_TRAIN has one list. */
const Instance *dataset_instances(const Dataset *d, int domain, Split split, Protocol protocol, uint32_t *n);
/* Index of the chunk's first instance in that array; chunk = n_chunks gives the total. */
uint32_t dataset_chunk_start(const Dataset *d, uint32_t chunk, int domain, Split split, Protocol protocol);
/* Candidates 1..9 of evaluation instance i: (DATASET_NEGATIVES) item ids, distinct, not the target. */
const uint32_t *dataset_negatives(const Dataset *d, int domain, Split split, Protocol protocol, uint32_t i);

/* The domain's list of training targets, as often as they are targets: training negatives are drawn from it. */
const uint32_t *dataset_targets(const Dataset *d, int domain, uint32_t *n);

#endif
