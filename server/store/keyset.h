/* Distinct keys of one push or of one step, each with a number in the order of first appearance. Kept from one to the
 * next, so that a steady stream of pushes allocates nothing. */
#ifndef MANGROVE_SERVER_STORE_KEYSET_H
#define MANGROVE_SERVER_STORE_KEYSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct KeySet { /* zeroed: empty */
    uint64_t *keys;     /* (n) by number */
    uint32_t *places; /* (n_places) number + 1 of the key that is there, 0: free; small, to stay in the nearest cache */
    uint32_t n_places, n, capacity; /* capacity: of places */
} KeySet;

void keyset_free(KeySet *s);
/* Empties it and makes room for up to n keys. */
void keyset_reset(KeySet *s, uint32_t n);
/* The key's number; is_new says whether it was given just now. */
uint32_t keyset_add(KeySet *s, uint64_t key, bool *is_new);

#endif
