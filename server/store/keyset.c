/* A scratch set of keys: open addressing, at most half full. */
#include "server/store/keyset.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/schema.h"

enum { FEWEST_PLACES = 64 };

void keyset_free(KeySet *s) {
    free(s->keys);
    free(s->places);
    *s = (KeySet){0};
}

void keyset_reset(KeySet *s, uint32_t n) {
    assert(n <= UINT32_MAX / 4);
    uint32_t n_places = FEWEST_PLACES;
    while (n_places < 2 * n)
        n_places *= 2;
    if (s->capacity < n_places) {
        keyset_free(s);
        s->keys = must_alloc(n_places / 2 * sizeof *s->keys);
        s->places = must_alloc(n_places * sizeof *s->places);
        s->capacity = n_places;
    }
    s->n_places = n_places;
    memset(s->places, 0, n_places * sizeof *s->places);
    s->n = 0;
}

uint32_t keyset_add(KeySet *s, uint64_t key, bool *is_new) {
    uint32_t i = (uint32_t)key_mix(key) & (s->n_places - 1);
    while (s->places[i] && s->keys[s->places[i] - 1] != key)
        i = (i + 1) & (s->n_places - 1);
    *is_new = !s->places[i];
    if (*is_new) {
        assert(s->n < s->n_places / 2);
        s->keys[s->n] = key;
        s->places[i] = ++s->n;
    }
    return s->places[i] - 1;
}
