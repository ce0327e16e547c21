/* The queue between the state machines of `train --local`. */
#ifndef MANGROVE_DEPLOY_LOCAL_MAIL_H
#define MANGROVE_DEPLOY_LOCAL_MAIL_H

#include "proto/message.h"

/* Who a message is from or for; the value is its incarnation. The session calls the scheduler PEER_SCHEDULER. */
typedef enum Place { AT_SCHEDULER = 1, AT_SERVER, AT_WORKER } Place;

typedef struct Envelope {
    struct Envelope *next;
    Place to;
    Message m;
} Envelope;

typedef struct Mail {
    Envelope *first, **last, *unused; /* unused ones are kept: no malloc once a run is under way */
} Mail;

void mail_init(Mail *mail);
void mail_free(Mail *mail); /* of one that was zeroed is legal */
/* Moves the message out. */
void mail_post(Mail *mail, Place from, Place to, Message *m);
/* The oldest, to be recycled; NULL: none. */
Envelope *mail_take(Mail *mail);
void mail_recycle(Mail *mail, Envelope *e);

#endif
