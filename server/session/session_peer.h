/* The workers of a session: their connections, their credit, and the requests that wait. */
#ifndef MANGROVE_SERVER_SESSION_SESSION_PEER_H
#define MANGROVE_SERVER_SESSION_SESSION_PEER_H

#include "server/session/session.h"

enum { SESSION_MAX_PEERS = 1024 }; /* workers, those that died included; beyond it the most silent is forgotten */

typedef enum PeerState {
    PEER_GREETED, /* its HELLO waits for the VIEW */
    PEER_OPEN,    /* welcomed: has credit */
    PEER_DROPPED, /* refused, or dropped by the link: nothing but HELLO is heard */
} PeerState;

typedef struct Peer {
    uint64_t id; /* incarnation */
    PeerState state;
    uint32_t n_hellos;      /* parked requests of an earlier connection are void */
    uint32_t used_requests; /* credit taken and not yet returned */
    uint64_t used_bytes;
    uint64_t heard_ms;
} Peer;

/* A request that waits. Nodes are reused: no malloc once a run is under way. */
typedef struct Parked {
    struct Parked *next;
    uint64_t peer, cost_bytes;
    uint32_t n_hellos; /* of the peer when it was parked */
    Message m;
} Parked;

typedef struct ParkedList {
    Parked *first, **last;
} ParkedList;

void session_hello(Session *s, Message *m, uint64_t id);
void session_welcome_greeted(Session *s);
Peer *session_find_peer(Session *s, uint64_t id);
/* Takes the cost from the peer's credit. ERR_PROTOCOL where it has not so much left. */
Err session_charge(Session *s, Peer *p, uint64_t cost_bytes) MUST_CHECK;
void session_return(Session *s, uint64_t peer, uint64_t cost_bytes);
/* Answers REFUSE with the code and err_message(), and hears nothing but HELLO from it from now on. */
void session_refuse(Session *s, Peer *p, Err code);
void session_drop(Session *s, Peer *p);
void session_park(Session *s, ParkedList *list, const Peer *p, Message *m, uint64_t cost_bytes);
/* Calls serve for what is parked, in order; what parks again keeps its place. Skips requests of dropped peers. */
typedef Err (*SessionServe)(Session *s, Peer *p, Message *m, uint64_t cost_bytes);
void session_unpark(Session *s, ParkedList *list, SessionServe serve);
void session_unpark_in_order(Session *s, ParkedList *list, SessionServe serve); /* up to the first that parks again */
void session_free_parked(Session *s);

#endif
