/* The workers of a server: their credit, and the requests that wait. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "server/session/session_parts.h"

Peer *session_find_peer(Session *s, uint64_t id) {
    for (int i = 0; i < s->n_peers; i++) {
        if (s->peers[i].id == id)
            return &s->peers[i];
    }
    return NULL;
}

/* ---- requests that wait ----------------------------------------------------------------------------------------- */

void session_park(Session *s, ParkedList *list, const Peer *p, Message *m, uint64_t cost_bytes) {
    Parked *node = s->unused;
    if (node)
        s->unused = node->next;
    else
        node = must_calloc(1, sizeof *node);
    *node = (Parked){.peer = p->id, .cost_bytes = cost_bytes, .n_hellos = p->n_hellos};
    message_move(&node->m, m);
    *list->last = node;
    list->last = &node->next;
    s->stats.n_parked++;
    s->stats.parked_bytes += cost_bytes;
}

static void recycle(Session *s, Parked *node) {
    message_free(&node->m);
    node->next = s->unused;
    s->unused = node;
}

static void serve_parked(Session *s, Parked *node, SessionServe serve) {
    s->stats.n_parked--;
    s->stats.parked_bytes -= node->cost_bytes;
    Peer *p = session_find_peer(s, node->peer);
    if (p && p->state == PEER_OPEN && p->n_hellos == node->n_hellos) {
        Err err = serve(s, p, &node->m, node->cost_bytes);
        if (err)
            session_refuse(s, p, err);
    }
    recycle(s, node);
}

/* Takes the whole list out first: serve may park again, and may drop peers. */
void session_unpark(Session *s, ParkedList *list, SessionServe serve) {
    Parked *node = list->first;
    *list = (ParkedList){.last = &list->first};
    while (node) {
        Parked *next = node->next;
        serve_parked(s, node, serve);
        node = next;
    }
}

/* What parks again is alone in the list by then: the rest goes behind it. */
void session_unpark_in_order(Session *s, ParkedList *list, SessionServe serve) {
    Parked *node = list->first, **last = list->last;
    *list = (ParkedList){.last = &list->first};
    while (node && !list->first) {
        Parked *next = node->next;
        serve_parked(s, node, serve);
        node = next;
    }
    if (node) {
        *list->last = node;
        list->last = last;
    }
}

static void forget_parked(Session *s, ParkedList *list, uint64_t peer) {
    for (Parked **at = &list->first; *at;) {
        Parked *node = *at;
        if (node->peer != peer) {
            at = &node->next;
            continue;
        }
        *at = node->next;
        s->stats.n_parked--;
        s->stats.parked_bytes -= node->cost_bytes;
        recycle(s, node);
    }
    list->last = &list->first;
    while (*list->last)
        list->last = &(*list->last)->next;
}

void session_free_parked(Session *s) {
    ParkedList *lists[] = {&s->pulls, &s->pushes};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        while (lists[i]->first) {
            Parked *node = lists[i]->first;
            lists[i]->first = node->next;
            recycle(s, node);
        }
    }
    while (s->unused) {
        Parked *node = s->unused;
        s->unused = node->next;
        free(node);
    }
}

/* ---- credit ----------------------------------------------------------------------------------------------------- */

Err session_charge(Session *s, Peer *p, uint64_t cost_bytes) {
    if (cost_bytes > s->credit_bytes - p->used_bytes || p->used_requests == SESSION_CREDIT_REQUESTS)
        return err_fail(
            ERR_PROTOCOL,
            "a request of %lu bytes exceeds the credit: %lu of %lu bytes and %u of %d requests are under way "
            "(cluster.credit_mb bounds it)",
            (unsigned long)cost_bytes, (unsigned long)p->used_bytes, (unsigned long)s->credit_bytes, p->used_requests,
            SESSION_CREDIT_REQUESTS);
    p->used_bytes += cost_bytes;
    p->used_requests++;
    return OK;
}

void session_return(Session *s, uint64_t peer, uint64_t cost_bytes) {
    Peer *p = session_find_peer(s, peer);
    if (!p || p->state != PEER_OPEN)
        return;
    assert(p->used_bytes >= cost_bytes && p->used_requests > 0);
    p->used_bytes -= cost_bytes;
    p->used_requests--;
}

/* ---- coming and going ------------------------------------------------------------------------------------------- */

static void send_welcome(Session *s, const Peer *p, uint64_t sequence) {
    MessageWELCOME *w = &session_message(s, MESSAGE_WELCOME, sequence)->welcome;
    w->rank = s->up.rank;
    w->config = s->up.config_fingerprint;
    w->heartbeat_ms = s->up.heartbeat_ms;
    w->dead_ms = s->up.dead_ms;
    w->credit_bytes = s->credit_bytes;
    w->credit_requests = SESSION_CREDIT_REQUESTS;
    snprintf(w->version, sizeof w->version, "%s", MANGROVE_VERSION);
    session_send(s, p->id);
}

/* A worker may be quicker than the scheduler's VIEW: it is welcomed as soon as there is a store. */
void session_welcome_greeted(Session *s) {
    for (int i = 0; i < s->n_peers; i++) {
        if (s->peers[i].state == PEER_GREETED) {
            s->peers[i].state = PEER_OPEN;
            send_welcome(s, &s->peers[i], 0);
        }
    }
}

static Peer *add_peer(Session *s, uint64_t id) {
    Peer *p = s->peers;
    if (s->n_peers < SESSION_MAX_PEERS) {
        p = &s->peers[s->n_peers++];
    } else {
        for (int i = 1; i < s->n_peers; i++) {
            if (s->peers[i].heard_ms < p->heard_ms)
                p = &s->peers[i];
        }
        session_drop(s, p);
    }
    *p = (Peer){.id = id};
    return p;
}

static Err check_hello(const Session *s, const Message *m) {
    if (m->hello.role != ROLE_WORKER)
        return err_fail(ERR_PROTOCOL, "only workers connect to a server; the HELLO says role %lu",
                        (unsigned long)m->hello.role);
    if (strcmp(m->hello.version, MANGROVE_VERSION))
        return err_fail(ERR_PROTOCOL, "the worker is mangrove %.32s, the server is %s: start one version everywhere",
                        m->hello.version, MANGROVE_VERSION);
    if (s->state >= SESSION_WAITING && m->job != s->up.job)
        return err_fail(ERR_PROTOCOL, "the worker belongs to job %u, the server to job %u", m->job, s->up.job);
    return OK;
}

void session_hello(Session *s, Message *m, uint64_t id) {
    Peer *p = session_find_peer(s, id);
    if (!p)
        p = add_peer(s, id);
    session_drop(s, p);
    *p = (Peer){.id = id, .n_hellos = p->n_hellos + 1, .heard_ms = s->now_ms};
    Err err = check_hello(s, m);
    if (err) {
        session_refuse(s, p, err);
    } else if (s->state == SESSION_SERVING) {
        p->state = PEER_OPEN;
        send_welcome(s, p, m->sequence);
    }
}

void session_drop(Session *s, Peer *p) {
    p->state = PEER_DROPPED;
    p->used_bytes = 0;
    p->used_requests = 0;
    forget_parked(s, &s->pulls, p->id);
    forget_parked(s, &s->pushes, p->id);
}

void session_refuse(Session *s, Peer *p, Err code) {
    session_drop(s, p);
    s->stats.n_refused++;
    MessageREFUSE *r = &session_message(s, MESSAGE_REFUSE, 0)->refuse;
    r->code = (uint64_t)-code;
    snprintf(r->text, sizeof r->text, "%.*s", MESSAGE_TEXT - 1, err_message());
    session_send(s, p->id);
}

void session_on_fault(Session *s, uint64_t peer) {
    Peer *p = session_find_peer(s, peer);
    if (p)
        session_drop(s, p);
}
