/* Distinct keys of one push or of one step, each with a number in the order of first appearance. Emptied in O(1) and
 * kept, so that a steady stream of pushes allocates nothing. */
#ifndef MANGROVE_SERVER_STORE_KEYSET_H
#define MANGROVE_SERVER_STORE_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct KeySetPlace {
    uint64_t key;
    uint32_t number;
    uint32_t round; /* the place is free unless this is the set's */
} KeySetPlace;

typedef struct KeySet { /* zeroed: empty */
    KeySetPlace *places;
    uint32_t n_places, round, n;
} KeySet;

void keyset_free(KeySet *s);
/* Empties it and makes room for up to n keys. */
void keyset_reset(KeySet *s, uint32_t n);
/* The key's number; is_new says whether it was given just now. */
uint32_t keyset_add(KeySet *s, uint64_t key, bool *is_new);

#endif
