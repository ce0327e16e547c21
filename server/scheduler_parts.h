/* The inside of the scheduler, shared by scheduler*.c alone.
 *
 *   scheduler.c             phases, dispatch, time, the end
 *   scheduler_members.c     HELLO, VIEW, silence, BYE: who takes part
 *   scheduler_leases.c      LEASE_ASK .. LEASE_END: who works on what
 *   scheduler_cut.c         REPORT_ASK .. RESUME: a state that all servers share
 *   scheduler_evaluation.c  SCORES, metrics, early stopping
 *   scheduler_status.c      STATUS, progress
 *
 * DESIGN. Messages and ticks only write down facts; scheduler_advance() then looks at the facts and moves on as far as
 * they allow, so it does not matter in which order they came, or whether an effect is answered at once or later.
 * Questions to servers are repeated until answered, except MARK, which a server takes once. All deadlines are measured
 * on clock_ms, which ticks advance by at most a second each: a scheduler that was stopped blames nobody for it. */
#ifndef MANGROVE_SERVER_SCHEDULER_PARTS_H
#define MANGROVE_SERVER_SCHEDULER_PARTS_H

#include "server/lease.h"
#include "server/scheduler.h"

enum {
    MAX_MEMBERS = 4096,
    MAX_STEPS = MESSAGE_FRAME_BYTES * 8, /* of a domain's epoch: a bitmap is one frame */
    MAX_CLOCK_STEP_MS = 1000,
    ASK_AGAIN_MS = 1000,
    ANSWER_MS = 60 * 1000,     /* a server that lives answers a question within */
    WRITE_MS = 30 * 60 * 1000, /* and has written its part of a snapshot within */
    DEAL_MS = 1000,            /* sync: the epoch's first deal waits so long for workers that have not asked */
    BYE_MS = 3000,             /* the end waits so long for everybody to leave */
    MAX_MARKS = 100,           /* tries of one cut */
    STEPS_OF_PIECE = 64,       /* LEASE_STEPS */
};

typedef enum Phase {
    PHASE_JOINING,    /* waits for the roles of the configuration */
    PHASE_OPENING,    /* servers take the view and open the epoch */
    PHASE_TRAINING,   /* chunks, or ranks, are leased */
    PHASE_CUTTING,    /* servers come to one state; see CutStep */
    PHASE_EVALUATING, /* evaluation pieces are leased */
    PHASE_ENDING,     /* FINISH has been said, BYE is waited for */
    PHASE_OVER,       /* finished() has been called; deaf */
    N_PHASES,
} Phase;

typedef enum MemberState {
    MEMBER_PRESENT,
    MEMBER_SILENT, /* a worker that counts as dead; comes back if it is heard */
    MEMBER_GONE,   /* said BYE or was refused: not heard any more */
} MemberState;

/* What a server has answered. */
typedef struct ServerAnswers {
    bool is_ready;
    uint32_t epoch;                                                  /* that it has open */
    bool is_reported, is_marked, is_refused, is_written, has_failed; /* in this try of the cut */
    uint32_t report_epoch;                                           /* of its last report; what follows is from it */
    uint8_t *bitmap[N_DOMAINS];                                      /* owned */
    uint64_t t[N_DOMAINS];
    double loss[N_DOMAINS][4]; /* LOSS_*: sums of the steps that it holds */
    char *files;               /* JSON text for the manifest; owned */
} ServerAnswers;

/* What heartbeats say. */
typedef struct MemberFigures {
    uint64_t lease, n_steps, n_instances; /* of a worker's lease in hand */
    uint64_t n_rows, used_bytes;          /* of a server's store */
    uint64_t sent_bytes, received_bytes;
} MemberFigures;

typedef struct Member {
    uint64_t peer; /* incarnation */
    Role role;
    MemberState state;
    uint32_t id, rank;
    uint64_t heard_ms;
    bool is_asking; /* worker: its LEASE_ASK waits */
    char name[24], host[64];
    char *endpoint; /* server; owned */
    ServerAnswers answers;
    MemberFigures figures;
} Member;

typedef struct Members {
    Member *list[MAX_MEMBERS];      /* owned */
    uint32_t n, n_workers, last_id; /* n_workers: ever admitted */
    uint64_t heartbeat_ms;          /* when the last one was sent */
    uint64_t no_worker_ms;          /* since when no worker lives; 0: one does */
    char last_words[MESSAGE_TEXT];  /* of the last worker that left */
} Members;

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

typedef enum SheetState { SHEET_UNUSED, SHEET_SCORING, SHEET_RANKING, SHEET_RANKED } SheetState;

/* The scores of one (domain, split), in the order of the batches. */
typedef struct Sheet {
    SheetState state;
    uint32_t n, n_steps, n_received;
    float *scores;
    uint32_t *users;
    uint8_t *received;        /* bit per batch */
    uint32_t *first_instance; /* (n_chunks) */
    RankJob job;
} Sheet;

typedef struct Evaluation {
    uint32_t pass; /* of the whole run, from 1 */
    Sheet sheets[N_DOMAINS][N_SPLITS];
    EpochResult result;
    bool is_judged[N_DOMAINS]; /* validation ranked, test wanted or not */
    double best_wauc[N_DOMAINS];
    bool is_committed; /* the epoch's snapshot, in cut.dir */
    bool is_complete;
} Evaluation;

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
    SchedulerEnv env;
    char *config_text;
    uint64_t config_fingerprint, incarnation;
    uint32_t job, n_ranks;
    bool is_sync;

    uint64_t now_ms, tick_ms, clock_ms, phase_ms, ask_ms; /* ask_ms: when questions are due again */
    Phase phase;
    bool is_advancing, is_stopping;
    uint32_t epoch;
    uint64_t map; /* version, 0 before the view */
    uint16_t slots[N_SLOTS];
    uint64_t order;      /* sync: step from which ranks are dealt */
    bool is_order_known; /* no lease has been dealt from it yet */

    Members members;
    DataState data;
    LeaseBook book;
    CutState cut;
    Evaluation evaluation;
    Totals totals;
    Ending ending;
    Message out; /* the message that is being sent */
};

/* scheduler.c */
void scheduler_enter(Scheduler *s, Phase phase);
void scheduler_advance(Scheduler *s);
/* FINISH to all; finished() once they have left. The first cause wins. */
void scheduler_end(Scheduler *s, Err code, const char *format, ...) PRINTF_LIKE(3, 4);
/* The message under way, with header fields; then to one or all. */
Message *scheduler_message(Scheduler *s, MessageType type);
void scheduler_send(Scheduler *s, uint64_t peer);
/* True if questions without answer are to be asked now: at once in a new step, then every second. */
bool scheduler_asks(Scheduler *s);
void scheduler_ask_at_once(Scheduler *s);
uint64_t scheduler_elapsed_ms(const Scheduler *s); /* in this phase, or step of a cut */

/* scheduler_members.c */
enum { ROLE_ANY = -1 };
Member *members_find(Scheduler *s, uint64_t peer);
/* Iterates over those present: for (uint32_t i = 0; (m = members_next(s, ROLE_SERVER, &i));) */
Member *members_next(const Scheduler *s, int role, uint32_t *i);
uint32_t members_count(const Scheduler *s, int role);
void members_hello(Scheduler *s, uint64_t peer, Message *m);
void members_bye(Scheduler *s, Member *member, Message *m);
void members_refuse(Scheduler *s, uint64_t peer, Err code, const char *sentence);
void members_drop(Scheduler *s, Member *member, Err code, const char *sentence); /* refuse, take its lease back */
void members_heard(Scheduler *s, Member *member);
void members_tick(Scheduler *s);
void members_send_view(Scheduler *s, const Member *member);
void members_free(Scheduler *s);
bool members_complete(const Scheduler *s);
void members_missing(const Scheduler *s, char *out, size_t size); /* "1 of 2 servers and 0 of 2 workers" */

/* scheduler_leases.c */
void leases_start_epoch(Scheduler *s);  /* enters TRAINING with every chunk, or rank */
void leases_resume_epoch(Scheduler *s); /* with what some server lacks */
bool leases_training(Scheduler *s);
void leases_grant_all(Scheduler *s); /* pieces to those that ask */
void leases_revoke_all(Scheduler *s);
void leases_on_ask(Scheduler *s, Member *member);
void leases_on_end(Scheduler *s, Member *member, const Message *m);
void leases_take_back(Scheduler *s, const Member *member);
void leases_expire(Scheduler *s);

/* scheduler_cut.c */
void cut_begin(Scheduler *s, CutReason reason);
bool cut_advance(Scheduler *s);
void cut_ask_report(Scheduler *s, const Member *server);
void cut_on_report(Scheduler *s, Member *server, Message *m);
void cut_on_marked(Scheduler *s, Member *server, const Message *m);
void cut_on_written(Scheduler *s, Member *server, Message *m);
void cut_free(Scheduler *s);
bool cut_has_report(const Scheduler *s, const Member *server); /* of this epoch */
void cut_losses(const Scheduler *s, EpochResult *out); /* from the last reports */

/* scheduler_evaluation.c */
void evaluation_begin(Scheduler *s);
bool evaluation_advance(Scheduler *s); /* true: something has moved */
void evaluation_on_scores(Scheduler *s, Member *worker, Message *m);
bool evaluation_has(const Scheduler *s, const Piece *piece); /* every score of it has come */
void evaluation_free(Scheduler *s);

/* scheduler_status.c */
void status_answer(Scheduler *s, uint64_t peer, const Message *m);
void status_progress(Scheduler *s);
void status_tick(Scheduler *s);

#endif
