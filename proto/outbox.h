/* Where a state machine puts what it wants sent: the link in the product, a simulated network in the tests. */
#ifndef MANGROVE_PROTO_OUTBOX_H
#define MANGROVE_PROTO_OUTBOX_H

#include <stdint.h>

#include "proto/message.h"

typedef struct Outbox {
    void *ctx;
    void (*send)(void *ctx, uint64_t peer, Message *m); /* takes the message's frames; the struct stays the caller's */
} Outbox;

#endif
