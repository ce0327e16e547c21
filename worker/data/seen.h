/* What training has seen of a data set: items and users that stand in a training instance, as history or target. */
#ifndef MANGROVE_WORKER_DATA_SEEN_H
#define MANGROVE_WORKER_DATA_SEEN_H

#include "worker/data/dataset.h"

typedef struct Seen {
    uint8_t *items; /* (n_items) bit d: in domain d */
    uint8_t *users; /* (n_users) likewise */
} Seen;

void seen_find(Seen *out, const Dataset *data);
void seen_free(Seen *s); /* of a zeroed struct is legal */

/* The id, or 0 where neither domain's training has seen it: the vocabulary of a training's own files. */
static inline uint32_t seen_item(const Seen *s, uint32_t id) {
    return s->items[id] ? id : 0;
}
static inline uint32_t seen_user(const Seen *s, uint32_t id) {
    return s->users[id] ? id : 0;
}

#endif
