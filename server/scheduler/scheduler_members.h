/* Inside the scheduler: who takes part. */
#ifndef MANGROVE_SERVER_SCHEDULER_SCHEDULER_MEMBERS_H
#define MANGROVE_SERVER_SCHEDULER_SCHEDULER_MEMBERS_H

#include "common/losses.h"
#include "server/scheduler/scheduler.h"

enum {
    MAX_MEMBERS = 4096,
};

typedef enum MemberState {
    MEMBER_PRESENT,
    MEMBER_SILENT, /* a worker that counts as dead; comes back if it is heard */
    MEMBER_GONE,   /* said BYE or was refused: not heard any more */
} MemberState;

/* What a server has answered. */
typedef struct ServerAnswers {
    bool is_ready;
    uint32_t epoch;                                     /* that it has open */
    bool is_reported;                                   /* in this round */
    bool is_marked, is_refused, is_written, has_failed; /* of the last MARK */
    uint32_t report_epoch;                              /* of its last report; what follows is from it */
    uint8_t *bitmap[N_DOMAINS];                         /* owned */
    uint8_t *begun[N_DOMAINS];                          /* likewise; NULL without groups: nothing is half applied */
    uint64_t t[N_DOMAINS];
    double loss[N_DOMAINS][LOSS_N]; /* the sums that it holds (losses.h) */
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
    bool is_deserted;               /* no worker lives */
    uint64_t deserted_ms;           /* for so long work has waited for one */
    uint64_t checked_ms;            /* clock of the last look */
    char last_words[MESSAGE_TEXT];  /* of the last worker that left */
} Members;

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

#endif
