#include "worker/data/seen.h"

#include <stdlib.h>

#include "common/log.h"

/* Training events are the first of a user, so each is the target of an instance or the first of a history. */
static void mark_domain(Seen *s, const Dataset *data, int domain) {
    uint32_t n, n_events;
    const Instance *instances = dataset_instances(data, domain, SPLIT_TRAIN, PROTOCOL_WARM, &n);
    const uint32_t *items = dataset_event_items(data, domain, &n_events);
    uint8_t bit = (uint8_t)(1 << domain);
    for (uint32_t i = 0; i < n; i++) {
        s->items[items[instances[i].first]] |= bit;
        s->items[items[instances[i].target]] |= bit;
        s->users[instances[i].user] |= bit;
    }
    s->items[0] = s->users[0] = 0;
}

void seen_find(Seen *out, const Dataset *data) {
    const DataInfo *info = dataset_info(data);
    *out =
        (Seen){.items = must_calloc(info->n_items + (size_t)1, 1), .users = must_calloc(info->n_users + (size_t)1, 1)};
    for (int domain = 0; domain < N_DOMAINS; domain++)
        mark_domain(out, data, domain);
}

void seen_free(Seen *s) {
    free(s->items);
    free(s->users);
    *s = (Seen){0};
}
