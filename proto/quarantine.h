/* Peers that a link has dropped, with the sentence that says why: who they are, and which were not reported yet.
 * A ring: the oldest is forgotten, would be a peer again, and be dropped again. */
#ifndef MANGROVE_PROTO_QUARANTINE_H
#define MANGROVE_PROTO_QUARANTINE_H

#include <stdbool.h>
#include <stdint.h>

enum { QUARANTINE_PEERS = 64 };

typedef struct QuarantineEntry {
    uint64_t peer;
    char sentence[256];
} QuarantineEntry;

typedef struct Quarantine {
    uint64_t n_added, n_reported; /* ever */
    QuarantineEntry entries[QUARANTINE_PEERS];
} Quarantine;

/* True if it was not there. Peer 0, somebody without a name, is there once too, but quarantine_has denies it. */
bool quarantine_add(Quarantine *q, uint64_t peer, const char *sentence);
bool quarantine_has(const Quarantine *q, uint64_t peer);
bool quarantine_news(const Quarantine *q);
/* The oldest entry that was not reported; it is now. NULL: none. */
const QuarantineEntry *quarantine_next_news(Quarantine *q);

#endif
