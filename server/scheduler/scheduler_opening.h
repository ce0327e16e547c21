/* Inside the scheduler: how a run begins, from nothing or from a snapshot, and how each epoch does. */
#ifndef MANGROVE_SERVER_SCHEDULER_SCHEDULER_OPENING_H
#define MANGROVE_SERVER_SCHEDULER_SCHEDULER_OPENING_H

#include "server/scheduler/scheduler_members.h"

bool opening_joining(Scheduler *s); /* PHASE_JOINING */
bool opening_advance(Scheduler *s); /* PHASE_OPENING */
/* The epoch is over: the next one, or the end of the run. */
void opening_next(Scheduler *s);
void opening_on_ready(Scheduler *s, Member *server, Message *m);
void opening_on_opened(Scheduler *s, Member *server, Message *m);
/* The data set is known: it must be that of the snapshot. */
Err opening_check_data(const Scheduler *s) MUST_CHECK;
/* Servers have loaded the snapshot and reported: equal and full bits or not. False: what comes next is settled. */
bool opening_restored(Scheduler *s, bool is_full);
uint64_t opening_seed(const Scheduler *s); /* of initial values */

#endif
