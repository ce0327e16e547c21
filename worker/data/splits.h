/* Training, validation, test: which event is an instance of which split, and which users share a chunk. */
#ifndef MANGROVE_WORKER_DATA_SPLITS_H
#define MANGROVE_WORKER_DATA_SPLITS_H

#include "worker/data/prepared.h"

enum { DAY_SECONDS = 86400 };

/* Sets valid_start and test_start.
 *   quantile       the times of the events floor(.8 n) and floor(.9 n) of the domain in time order
 *   days           test is the last `days` before the newest event and that event's second, validation the days before
 *   leave_one_out  none: a user's last event is test, the one before validation */
void splits_find_cuts(PreparedDomain *d, SplitKind kind, int days);

/* Fills the lists, without negatives and chunks. An event is an instance if it has an earlier event of its user. */
void splits_make_lists(Prepared *p, int domain, SplitKind kind);

/* Cuts the layout into chunks of at least chunk_instances training instances (a smaller remainder joins the last) and
 * sets chunk_start of every list. */
void splits_make_chunks(Prepared *p, uint32_t chunk_instances);

#endif
