#include "proto/quarantine.h"

#include <stdio.h>

static bool is_listed(const Quarantine *q, uint64_t peer) {
    for (uint64_t i = 0; i < q->n_added && i < QUARANTINE_PEERS; i++)
        if (q->entries[i].peer == peer)
            return true;
    return false;
}

bool quarantine_add(Quarantine *q, uint64_t peer, const char *sentence) {
    if (is_listed(q, peer))
        return false;
    QuarantineEntry *entry = &q->entries[q->n_added++ % QUARANTINE_PEERS];
    entry->peer = peer;
    snprintf(entry->sentence, sizeof entry->sentence, "%s", sentence);
    return true;
}

bool quarantine_has(const Quarantine *q, uint64_t peer) {
    return peer && is_listed(q, peer);
}

bool quarantine_news(const Quarantine *q) {
    return q->n_reported < q->n_added;
}

const QuarantineEntry *quarantine_next_news(Quarantine *q) {
    if (q->n_added - q->n_reported > QUARANTINE_PEERS)
        q->n_reported = q->n_added - QUARANTINE_PEERS;
    return quarantine_news(q) ? &q->entries[q->n_reported++ % QUARANTINE_PEERS] : NULL;
}
