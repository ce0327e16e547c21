/* Inside the scheduler: snapshots. When one is due, what kind it is, and how it becomes one while training goes on. */
#ifndef MANGROVE_SERVER_SCHEDULER_SCHEDULER_SAVING_H
#define MANGROVE_SERVER_SCHEDULER_SCHEDULER_SAVING_H

#include "server/scheduler/scheduler_members.h"

enum {
    WRITE_MS = 30 * 60 * 1000,  /* a server has written its part, or loaded its rows, within */
    ASK_WRITTEN_MS = 10 * 1000, /* one that writes is asked again so often: its answer may be lost */
    MAX_REQUESTS = 16,
};

typedef enum SavingState {
    SAVING_NOTHING,
    SAVING_FILES,    /* MARK was said: servers mark, then write */
    SAVING_MANIFEST, /* env.commit is under way */
    SAVING_LATE,     /* given up, but a server still writes: nobody marks until it has answered */
} SavingState;

/* A state of the tables that all servers shared. Within an epoch bits are only ever set: equal numbers, equal bits. */
typedef struct SavedState {
    uint64_t cut; /* 0: there is none */
    uint32_t epoch, n_done;
    bool is_epoch_end;
    char dir[MESSAGE_TEXT];
} SavedState;

typedef enum RequestState {
    REQUEST_PENDING,
    REQUEST_WRITING, /* the snapshot that is being written is its */
    REQUEST_COMMITTED,
    REQUEST_FAILED,
} RequestState;

/* Somebody has asked for a snapshot. */
typedef struct SnapshotRequest {
    uint64_t peer; /* asks again as often as it likes; 0: unused */
    RequestState state;
    char text[MESSAGE_TEXT]; /* committed: its directory; failed: why */
} SnapshotRequest;

typedef enum Marks {
    MARKS_AWAITED,
    MARKS_SET,     /* every server has marked: its rows of this moment are safe */
    MARKS_REFUSED, /* a server refused */
} Marks;

typedef struct Saving {
    SavingState state;
    uint64_t number;             /* of the last MARK, never used twice */
    uint64_t begun_ms, asked_ms; /* of this try: since when, and when servers were last asked (0: not yet) */
    bool is_doomed;              /* a server refused: what the others write is of no use */
    bool is_due_again;           /* likewise, and it is to be tried again */
    uint32_t n_refused;          /* tries of one snapshot that were refused */
    SavedState now, base;        /* being saved; the full one that it goes on from (cut 0: it is full itself) */
    SavedState last, full;       /* the last one committed; the last full one (cut 0: the next one is full) */
    uint32_t n_since_full;
    uint32_t tried_epoch, tried_done; /* the state when it was last tried */
    uint64_t tried_ms;                /* likewise, or since when the run goes on */
    uint8_t *bitmaps[N_DOMAINS];      /* of `now`; owned, as are the files' texts (n_servers) */
    uint64_t t[N_DOMAINS];
    char **files;
    char failure[MESSAGE_TEXT]; /* the last one; "": none yet */
    SnapshotRequest requests[MAX_REQUESTS];
} Saving;

/* The run begins: time runs, and cuts are numbered on from the snapshot's. */
void saving_start(Scheduler *s);
/* Servers have loaded and reported the state of the snapshot that is resumed: it is on disk. */
void saving_restored(Scheduler *s, bool is_full);
/* A snapshot in the middle of the epoch is due. */
bool saving_is_due(const Scheduler *s);
/* The state that all servers have just reported is on disk, in saving.last. */
bool saving_is_current(const Scheduler *s, uint32_t n_done);
bool saving_is_under_way(const Scheduler *s);
/* MARK to all, for the state that they have just reported; state SAVING_NOTHING. */
void saving_begin(Scheduler *s, bool is_epoch_end, uint32_t n_done);
Marks saving_marks(const Scheduler *s);
/* Nothing is to be saved: the state is on disk, or there is none, or a server still writes what was given up. */
void saving_skip(Scheduler *s, uint32_t n_done);
/* Whoever has asked for a snapshot gets the last one: nothing was trained since. */
void saving_answer(Scheduler *s);
bool saving_advance(Scheduler *s); /* true: something has moved */
void saving_on_marked(Scheduler *s, Member *server, Message *m);
void saving_on_written(Scheduler *s, Member *server, Message *m);
void saving_on_committed(Scheduler *s, Err result);
void saving_on_ask(Scheduler *s, uint64_t peer); /* SNAPSHOT_ASK */
/* How the request of this peer stands, or NULL. */
const SnapshotRequest *saving_request(const Scheduler *s, uint64_t peer);
/* The run ends: nobody gets a snapshot any more. */
void saving_end(Scheduler *s, const char *sentence);
void saving_free(Scheduler *s);

#endif
