/* Protocol paper: a split evaluated as published. Every target is a positive; its nine negatives are drawn from all the
 * domain's interactions, of every period, distinct and not the positive; items and users that training has not seen are
 * id 0. Nothing of it is stored: the draw is a function of (seed, domain, split, instance). */
#ifndef MANGROVE_WORKER_DATA_PAPER_H
#define MANGROVE_WORKER_DATA_PAPER_H

#include "worker/data/evalset.h"

/* Like evalset_open; config->eval.protocol is PROTOCOL_ALL, whose instances these are. ERR_DATA where the domain has
 * fewer than ten items. */
Err paper_open(Evalset *out, const Dataset *data, const Geometry *geometry, const Config *config, int inputs,
               int domain, Split split, uint64_t seed) MUST_CHECK;

#endif
