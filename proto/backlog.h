/* Messages that wait for peers which cannot take more: a queue for each such peer, first in, first out. */
#ifndef MANGROVE_PROTO_BACKLOG_H
#define MANGROVE_PROTO_BACKLOG_H

#include <stddef.h>
#include <stdint.h>

#include "proto/message.h"

typedef struct Backlog Backlog;
struct Backlog {
    uint64_t peer;
    uint32_t n_messages;
    uint64_t n_bytes;
    struct BacklogEntry *first, **end;
    Backlog *next;
};

Backlog *backlog_find(Backlog *list, uint64_t peer); /* or NULL */
/* Moves the message behind the others of this peer, whose queue is made if there is none. */
void backlog_add(Backlog **list, uint64_t peer, Message *m);
const Message *backlog_first(const Backlog *b); /* or NULL */
void backlog_drop_first(Backlog *b);
/* Frees the queue that *at points to, which is the list's head or another's next, and all its messages. */
void backlog_remove(Backlog **at);
/* The place of this peer's queue for backlog_remove, or NULL. */
Backlog **backlog_place(Backlog **list, uint64_t peer);

#endif
