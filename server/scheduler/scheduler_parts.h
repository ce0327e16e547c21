/* The inside of the scheduler, shared by scheduler*.c alone. Subjects with state of their own have a header too.
 *
 *   scheduler.c             phases, dispatch, time, the end
 *   scheduler_opening.c     JOINING and OPENING: how a run and each epoch begin
 *   scheduler_members.c     HELLO, VIEW, silence, BYE: who takes part
 *   scheduler_leases.c      LEASE_ASK .. LEASE_END: who works on what
 *   scheduler_reports.c     REPORT: what each server has applied
 *   scheduler_cut.c         REPORT_ASK .. RESUME: a state that all servers share
 *   scheduler_saving.c      MARK .. the commit: snapshots, beside everything else
 *   scheduler_evaluation.c  SCORES, metrics, early stopping
 *   scheduler_status.c      STATUS, progress
 *
 * DESIGN. Messages and ticks only write down facts; scheduler_advance() then looks at the facts and moves on as far as
 * they allow, so it does not matter in which order they came, or whether an effect is answered at once or later.
 * Servers are asked until they answer. Deadlines are measured on clock_ms, which ticks advance by at most a second
 * each: a scheduler that was stopped blames nobody for it. */
#ifndef MANGROVE_SERVER_SCHEDULER_SCHEDULER_PARTS_H
#define MANGROVE_SERVER_SCHEDULER_SCHEDULER_PARTS_H

#include "server/scheduler/lease.h"
#include "server/scheduler/scheduler.h"
#include "server/scheduler/scheduler_cut.h"
#include "server/scheduler/scheduler_evaluation.h"
#include "server/scheduler/scheduler_leases.h"
#include "server/scheduler/scheduler_members.h"
#include "server/scheduler/scheduler_opening.h"
#include "server/scheduler/scheduler_reports.h"
#include "server/scheduler/scheduler_saving.h"

enum {
    MAX_STEPS = MESSAGE_FRAME_BYTES * 8, /* of a domain's epoch: a bitmap is one frame */
    MAX_CLOCK_STEP_MS = 1000,
    ASK_AGAIN_MS = 1000,
    ANSWER_MS = 60 * 1000, /* a server that lives answers a question within */
    DEAL_MS = 1000,        /* sync: the epoch's first deal waits so long for workers that have not asked */
    BYE_MS = 3000,         /* the end waits so long for everybody to leave */
};

typedef enum Phase {
    PHASE_JOINING,    /* waits for the roles of the configuration */
    PHASE_OPENING,    /* servers take the view and open the epoch */
    PHASE_TRAINING,   /* parts, or ranks, are leased */
    PHASE_CUTTING,    /* servers come to one state; see CutStep */
    PHASE_EVALUATING, /* evaluation pieces are leased */
    PHASE_ENDING,     /* FINISH has been said, BYE is waited for */
    PHASE_OVER,       /* finished() has been called; deaf */
    N_PHASES,
} Phase;

typedef struct Totals {
    uint64_t n_instances; /* of leases that ended */
    uint64_t shown_ms, shown_instances, report_ms;
    double rate;
} Totals;

typedef struct Ending {
    Err code;
    char sentence[MESSAGE_TEXT];
} Ending;

/* The data set, as the first worker told. */
typedef struct DataState {
    bool is_known;
    DataInfo info;
    char *manifest; /* 0-terminated */
    size_t manifest_bytes;
    Schema schema;
    Geometry geometry;
    uint32_t n_steps[N_DOMAINS];
} DataState;

struct Scheduler {
    const Config *config;
    SchedulerStart start; /* restore RESTORE_NONE: from nothing */
    SchedulerEnv env;
    char *config_text;
    uint64_t config_fingerprint, incarnation;
    uint32_t job, n_ranks;
    bool is_sync;
    uint64_t now_ms, tick_ms, clock_ms, phase_ms, ask_ms; /* ask_ms: when questions are due again */
    Phase phase;
    bool is_advancing, is_stopping, is_signalled, is_viewed; /* signalled: not by STOP_ASK; viewed: by workers */
    uint32_t epoch;
    uint64_t map; /* version, 0 before the view */
    uint16_t slots[N_SLOTS];
    uint64_t order;      /* sync: step from which ranks are dealt */
    bool is_order_known; /* no lease has been dealt from it yet */

    Members members;
    DataState data;
    LeaseBook book;
    CutState cut;
    Saving saving;
    Evaluation evaluation;
    Totals totals;
    Ending stop, ending; /* stop: where is_stopping, why */
    Message out;         /* the message that is being sent */
};

/* scheduler.c */
void scheduler_enter(Scheduler *s, Phase phase);
void scheduler_advance(Scheduler *s);
/* FINISH to all; finished() once they have left. The first cause wins. */
void scheduler_end(Scheduler *s, Err code, const char *format, ...) PRINTF_LIKE(3, 4);
/* Cut, snapshot, end with this code; the sentence is followed by "in epoch ..". The first cause wins. */
void scheduler_stop(Scheduler *s, Err code, const char *sentence);
/* The message under way, with header fields; then to one or all. */
Message *scheduler_message(Scheduler *s, MessageType type);
void scheduler_send(Scheduler *s, uint64_t peer);
/* True if questions without answer are to be asked now: at once in a new step, then every second. */
bool scheduler_asks(Scheduler *s);
void scheduler_ask_at_once(Scheduler *s);
uint64_t scheduler_elapsed_ms(const Scheduler *s); /* in this phase, or step of a cut */

/* scheduler_status.c */
void status_answer(Scheduler *s, uint64_t peer, const Message *m);
void status_progress(Scheduler *s);
void status_tick(Scheduler *s);

#endif
