/* Inside the scheduler: a state that all servers share. */
#ifndef MANGROVE_SERVER_SCHEDULER_CUT_H
#define MANGROVE_SERVER_SCHEDULER_CUT_H

#include "server/scheduler_members.h"

enum {
    MAX_MARKS = 100,           /* tries of one cut */
    STEPS_OF_PIECE = 64,       /* LEASE_STEPS */
    WRITE_MS = 30 * 60 * 1000, /* and has written its part of a snapshot within */
};

typedef enum CutReason {
    CUT_EPOCH, /* the epoch's work has been handed out: every bit must be set */
    CUT_STOP,  /* the run ends: any state that all servers share */
    CUT_DEAL,  /* sync: ranks are dealt anew from the step that all servers have reached */
} CutReason;

typedef enum CutStep {
    CUT_DRAIN,  /* leases end, or are revoked */
    CUT_REPORT, /* servers report their bitmaps */
    CUT_REPAIR, /* steps that only some servers have are leased */
    CUT_MARK,   /* servers write their files */
    CUT_COMMIT, /* the manifest is written */
} CutStep;

typedef struct CutState {
    CutReason reason;
    CutStep step;
    uint64_t number;  /* of the last MARK, never used twice */
    uint32_t n_marks; /* of this cut */
    uint64_t round;   /* of reports: only those count that answer it */
    bool is_committing, is_committed;
    Err commit_result;
    uint32_t *steps, n_steps; /* CUT_REPAIR: pairs (domain, step); owned */
    char dir[MESSAGE_TEXT];
    const char **files; /* (n_servers) while committing; owned */
} CutState;

void cut_begin(Scheduler *s, CutReason reason);
bool cut_advance(Scheduler *s);
void cut_ask_report(Scheduler *s, const Member *server);
void cut_on_report(Scheduler *s, Member *server, Message *m);
void cut_on_marked(Scheduler *s, Member *server, const Message *m);
void cut_on_written(Scheduler *s, Member *server, Message *m);
void cut_free(Scheduler *s);
bool cut_has_report(const Scheduler *s, const Member *server); /* of this epoch */
void cut_losses(const Scheduler *s, EpochResult *out);         /* from the last reports */

#endif
