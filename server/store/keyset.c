/* A scratch set of keys: open addressing, at most half full, emptied by counting rounds. */
#include "server/store/keyset.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/schema.h"

void keyset_free(KeySet *s) {
    free(s->places);
    *s = (KeySet){0};
}

void keyset_reset(KeySet *s, uint32_t n) {
    assert(n <= UINT32_MAX / 4);
    if (s->n_places < 2 * n || !s->places) {
        uint32_t n_places = 64;
        while (n_places < 2 * n)
            n_places *= 2;
        keyset_free(s);
        s->places = must_calloc(n_places, sizeof *s->places);
        s->n_places = n_places;
    }
    if (++s->round == 0) { /* once in 2^32 rounds the old marks could be taken for new ones */
        memset(s->places, 0, s->n_places * sizeof *s->places);
        s->round = 1;
    }
    s->n = 0;
}

uint32_t keyset_add(KeySet *s, uint64_t key, bool *is_new) {
    uint32_t i = (uint32_t)key_mix(key) & (s->n_places - 1);
    while (s->places[i].round == s->round && s->places[i].key != key)
        i = (i + 1) & (s->n_places - 1);
    *is_new = s->places[i].round != s->round;
    if (*is_new)
        s->places[i] = (KeySetPlace){.key = key, .number = s->n++, .round = s->round};
    assert(s->n <= s->n_places / 2);
    return s->places[i].number;
}
