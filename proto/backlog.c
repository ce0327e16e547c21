/* Queues of blocked peers. They are few, normally none: a list is searched from its head. */
#include "proto/backlog.h"

#include <stdlib.h>

#include "common/log.h"

typedef struct BacklogEntry {
    struct BacklogEntry *next;
    Message message;
} BacklogEntry;

Backlog **backlog_place(Backlog **list, uint64_t peer) {
    for (Backlog **at = list; *at; at = &(*at)->next)
        if ((*at)->peer == peer)
            return at;
    return NULL;
}

Backlog *backlog_find(Backlog *list, uint64_t peer) {
    Backlog **at = backlog_place(&list, peer);
    return at ? *at : NULL;
}

static Backlog *backlog_new(Backlog **list, uint64_t peer) {
    Backlog *b = must_calloc(1, sizeof *b);
    *b = (Backlog){.peer = peer, .end = &b->first, .next = *list};
    return *list = b;
}

void backlog_add(Backlog **list, uint64_t peer, Message *m) {
    Backlog *b = backlog_find(*list, peer);
    if (!b)
        b = backlog_new(list, peer);
    BacklogEntry *entry = must_alloc(sizeof *entry);
    entry->next = NULL;
    b->n_messages++;
    b->n_bytes += message_frame_bytes(m);
    message_move(&entry->message, m);
    *b->end = entry;
    b->end = &entry->next;
}

const Message *backlog_first(const Backlog *b) {
    return b->first ? &b->first->message : NULL;
}

void backlog_drop_first(Backlog *b) {
    BacklogEntry *entry = b->first;
    b->first = entry->next;
    if (!b->first)
        b->end = &b->first;
    b->n_messages--;
    b->n_bytes -= message_frame_bytes(&entry->message);
    message_free(&entry->message);
    free(entry);
}

void backlog_remove(Backlog **at) {
    Backlog *b = *at;
    while (b->first)
        backlog_drop_first(b);
    *at = b->next;
    free(b);
}
