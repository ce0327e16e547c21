/* Inside the scheduler: who works on what. */
#ifndef MANGROVE_SERVER_SCHEDULER_SCHEDULER_LEASES_H
#define MANGROVE_SERVER_SCHEDULER_SCHEDULER_LEASES_H

#include "server/scheduler/scheduler_members.h"

void leases_start_epoch(Scheduler *s);  /* enters TRAINING with every part, or rank */
void leases_resume_epoch(Scheduler *s); /* with what some server lacks */
bool leases_training(Scheduler *s);
void leases_grant_all(Scheduler *s); /* pieces to those that ask */
void leases_revoke_all(Scheduler *s);
void leases_on_ask(Scheduler *s, Member *member);
void leases_on_end(Scheduler *s, Member *member, const Message *m);
void leases_take_back(Scheduler *s, const Member *member);
void leases_expire(Scheduler *s);

#endif
