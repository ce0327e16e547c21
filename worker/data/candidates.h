/* Evaluation candidates, matched to their split, and the probes that prove it. */
#ifndef MANGROVE_WORKER_DATA_CANDIDATES_H
#define MANGROVE_WORKER_DATA_CANDIDATES_H

#include "worker/data/prepared.h"

/* Draws the negatives of every evaluation instance: uniformly from the targets of its own list, distinct, never the
 * positive. ERR_DATA if a list has fewer than ten distinct targets, or training has. */
Err candidates_draw(Prepared *p, uint64_t seed) MUST_CHECK;

/* Scores every list by the rules that are blind to the user; sets p->probes. */
void candidates_probe(Prepared *p);

#endif
