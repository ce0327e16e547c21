/* Inside the scheduler: what servers report of themselves, and what the reports say together. */
#ifndef MANGROVE_SERVER_SCHEDULER_SCHEDULER_REPORTS_H
#define MANGROVE_SERVER_SCHEDULER_SCHEDULER_REPORTS_H

#include "server/scheduler/scheduler_members.h"

/* A new round: only answers to questions that are asked from now on count. */
void reports_begin(Scheduler *s);
void reports_ask(Scheduler *s, const Member *server);
void reports_on_report(Scheduler *s, Member *server, Message *m);

/* From here on: from the last reports. */
const Member *reports_first_server(const Scheduler *s);
bool reports_has(const Scheduler *s, const Member *server); /* of this epoch */
bool reports_are_equal(const Scheduler *s);
/* Equal bits mean as many updates: a server that counted otherwise has applied a step twice, or not at all. Ends the
 * run, false. */
bool reports_check_t(Scheduler *s);
uint32_t reports_count(const Scheduler *s, const Member *server);   /* steps of the epoch that it has applied */
uint32_t reports_least(const Scheduler *s);                         /* of the server that has applied least */
bool reports_lack(const Scheduler *s, int domain, uint32_t step);   /* some server has not applied it */
bool reports_differ(const Scheduler *s, int domain, uint32_t step); /* some have, some have not */
void reports_losses(const Scheduler *s, EpochResult *out);

#endif
