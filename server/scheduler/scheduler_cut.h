/* Inside the scheduler: a state that all servers share. */
#ifndef MANGROVE_SERVER_SCHEDULER_SCHEDULER_CUT_H
#define MANGROVE_SERVER_SCHEDULER_SCHEDULER_CUT_H

#include "server/scheduler/scheduler_members.h"

enum {
    MAX_MARKS = 100,     /* tries of one snapshot */
    STEPS_OF_PIECE = 64, /* LEASE_STEPS */
};

typedef enum CutReason {
    CUT_EPOCH,    /* the epoch's work has been handed out: every bit must be set */
    CUT_STOP,     /* the run ends: any state that all servers share */
    CUT_SNAPSHOT, /* likewise, but training goes on as soon as all have marked */
    CUT_DEAL,     /* sync: ranks are dealt anew from the step that all servers have reached */
    CUT_RESTORED, /* servers have loaded a snapshot: training goes on from what they have */
} CutReason;

typedef enum CutStep {
    CUT_DRAIN,  /* leases end, or are revoked */
    CUT_REPORT, /* servers report their bitmaps */
    CUT_REPAIR, /* steps that only some servers have are leased */
    CUT_WAIT,   /* an earlier snapshot is still being written */
    CUT_MARK,   /* servers mark: their rows of this moment are safe */
    CUT_SAVE,   /* an epoch's end, or a stop: until the snapshot is committed, or given up */
} CutStep;

typedef struct CutState {
    CutReason reason;
    CutStep step;
    uint64_t round; /* of reports: only those count that answer it */
} CutState;

void cut_begin(Scheduler *s, CutReason reason);
bool cut_advance(Scheduler *s);

#endif
