#include "deploy/local_mail.h"

#include <stdlib.h>

#include "common/log.h"

void mail_init(Mail *mail) {
    *mail = (Mail){.last = &mail->first};
}

static void free_list(Envelope *e) {
    for (Envelope *next; e; e = next) {
        next = e->next;
        message_free(&e->m);
        free(e);
    }
}

void mail_free(Mail *mail) {
    free_list(mail->first);
    free_list(mail->unused);
    mail_init(mail);
}

void mail_post(Mail *mail, Place from, Place to, Message *m) {
    Envelope *e = mail->unused;
    if (e)
        mail->unused = e->next;
    else
        e = must_calloc(1, sizeof *e);
    e->next = NULL;
    e->to = to;
    message_move(&e->m, m);
    e->m.incarnation = (uint64_t)from;
    *mail->last = e;
    mail->last = &e->next;
}

Envelope *mail_take(Mail *mail) {
    Envelope *e = mail->first;
    if (!e)
        return NULL;
    mail->first = e->next;
    if (!e->next)
        mail->last = &mail->first;
    return e;
}

void mail_recycle(Mail *mail, Envelope *e) {
    message_free(&e->m);
    e->next = mail->unused;
    mail->unused = e;
}
