/* The inside of the session, shared by session*.c alone.
 *
 *   session.c         life: HELLO, WELCOME, VIEW, epochs, heartbeats, the end
 *   session_cut.c     REPORT, MARK, written, RESUME
 *   session_load.c    the rows that it begins with
 *   session_peer.c    workers: HELLO, credit, refusal, requests that wait
 *   session_pull.c    PULL and its VALUES
 *   session_push.c    PUSH
 *   session_rows.c    the keys of either
 *   session_undo.c    sync: the rows as they were before the last step
 *   session_credit.c  how much credit a worker gets */
#ifndef MANGROVE_SERVER_SESSION_SESSION_PARTS_H
#define MANGROVE_SERVER_SESSION_SESSION_PARTS_H

#include "server/session/session.h"
#include "server/session/session_peer.h"
#include "server/session/session_undo.h"

enum {
    SESSION_ROW_BYTES = 256 << 10, /* widest row: a frame of values is then at least 3/4 full */
    SESSION_MAX_STEPS = 8 << 20,   /* of a domain's epoch: a bitmap is one frame */
    SESSION_TEXT_BYTES = 4 << 20,  /* of the configuration */
};

typedef enum SessionState {
    SESSION_JOINING, /* says HELLO each second until the scheduler's WELCOME */
    SESSION_WAITING, /* welcomed, waits for VIEW */
    SESSION_LOADING, /* has the view; the rows of a snapshot are being read */
    SESSION_SERVING, /* holds the store, answers workers */
    SESSION_ENDED,   /* finished() has been called; deaf */
} SessionState;

typedef struct Cut {
    uint64_t tried;  /* the highest number of a MARK, whatever the answer: each try has a new one */
    uint64_t number; /* of the MARK that was taken last; 0: none */
    uint64_t base;   /* the last full cut whose files were written: what an incremental one goes on from; 0: none */
    bool is_full;
    bool is_writing; /* from MARKED to written */
    StoreCut *rows;  /* while it is written */
    char *files;     /* what was written, for the manifest; NULL: nothing, sentence says why */
    char sentence[MESSAGE_TEXT];
} Cut;

/* What the scheduler said, and what is known of its life. */
typedef struct Upstream {
    uint64_t incarnation, hello_ms, tick_ms, silent_ms, waited_ms, heartbeat_sent_ms;
    uint64_t heartbeat_ms, dead_ms, config_fingerprint;
    uint32_t job, id, rank;
} Upstream;

typedef struct SessionView {
    uint64_t map; /* version, 0 before VIEW */
    uint64_t sequence;
    char snapshot[MESSAGE_TEXT];
    uint32_t n_servers;
    uint16_t slots[N_SLOTS];
} SessionView;

struct Session {
    SessionEnv env;
    SessionState state;
    uint64_t incarnation, now_ms;
    char endpoint[MESSAGE_TEXT];
    Upstream up;
    Config config;
    bool is_sync;
    uint32_t n_ranks;
    SessionView view;
    Schema schema;
    SessionLoad load;
    Store *store; /* NULL before SERVING */
    Cut cut;
    uint64_t credit_bytes;
    Peer peers[SESSION_MAX_PEERS];
    int n_peers;
    ParkedList pulls;  /* sync: ahead of the steps */
    ParkedList pushes; /* that a cut has no room for, and what their workers sent after them */
    Parked *unused;
    Undo undo_pending, undo_last; /* of the step whose pushes are held, of the last step applied */
    SessionStats stats;
    float *scratch; /* values between the store and the wire, as many as the largest request needed */
    size_t scratch_bytes;
    Message out; /* the message that is being sent */
};

/* session.c */
Message *session_message(Session *s, MessageType type, uint64_t sequence); /* s->out, with job and sender */
void session_send(Session *s, uint64_t peer);
void session_end(Session *s, Err code, const char *sentence);
uint32_t session_n_steps(const Session *s, int domain);
bool session_is_full(const Session *s); /* every bit of the epoch is set */
void session_say_ready(Session *s);
float *session_scratch(Session *s, size_t size_bytes); /* s->scratch, with room for so much */

/* session_load.c: the store, from nothing or from the snapshot of the VIEW. */
Err session_begin(Session *s, const MessageVIEW *v) MUST_CHECK;

/* session_cut.c */
Err session_report(Session *s, Message *m);
Err session_mark(Session *s, Message *m);
Err session_resume(Session *s, Message *m);

/* session_pull.c, session_push.c. on_*: a new request; serve_*: one whose cost has been taken. An error: refuse. */
Err session_on_pull(Session *s, Peer *p, Message *m) MUST_CHECK;
Err session_serve_pull(Session *s, Peer *p, Message *m, uint64_t cost_bytes) MUST_CHECK;
Err session_on_push(Session *s, Peer *p, Message *m) MUST_CHECK;
Err session_serve_push(Session *s, Peer *p, Message *m, uint64_t cost_bytes) MUST_CHECK;
/* A worker's requests are served in the order that it sent them: while a push of it waits, so does all training behind.
 */
bool session_is_behind_push(const Session *s, const Peer *p);
void session_retry_pushes(Session *s);

/* session_rows.c: the key array of a PULL or PUSH, from checked frame sizes, every key of which names a row. */
typedef struct SessionRows {
    const uint64_t *keys;
    uint32_t n_keys, n_foreign; /* n_foreign: lie in slots of other servers */
    int n_frames;               /* of the keys */
    size_t n_values, wire_bytes;
} SessionRows;
Err session_rows(const Session *s, Message *m, uint64_t n_keys, Wire wire, SessionRows *out) MUST_CHECK;
Err session_check_owner(const Session *s, const SessionRows *rows) MUST_CHECK; /* none is foreign */

/* session_credit.c: bytes of credit for one worker, from the largest step it may plan. */
uint64_t session_plan_credit(const Config *config, const Schema *schema);
uint64_t session_plan_step(const Config *config, const Schema *schema); /* of that step: its pull and its push */

#endif
