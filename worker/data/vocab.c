/* Names and their ids: names side by side in one block, found through a hash table of ids. */
#include "worker/data/vocab.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/log.h"

enum { FIRST_SLOTS = 1024, FIRST_IDS = 512, FIRST_BYTES = 8192 };

void vocab_init(Vocab *v) {
    *v = (Vocab){.n = 1, .n_slots = FIRST_SLOTS, .ids_capacity = FIRST_IDS, .bytes_capacity = FIRST_BYTES};
    v->bytes = must_calloc(1, FIRST_BYTES);
    v->offsets = must_calloc(FIRST_IDS + 1, sizeof *v->offsets);
    v->slots = must_calloc(FIRST_SLOTS, sizeof *v->slots);
    v->offsets[1] = 1;
}

void vocab_free(Vocab *v) {
    free(v->bytes);
    free(v->offsets);
    free(v->slots);
    *v = (Vocab){0};
}

static uint64_t hash_tag(uint64_t hash) {
    return hash >> 32 << 32;
}

/* The slot that holds the name, or the empty one where it belongs. */
static uint32_t find_slot(const Vocab *v, uint64_t hash, const char *name, size_t length) {
    uint32_t mask = v->n_slots - 1, at = (uint32_t)hash & mask;
    while (v->slots[at]) {
        uint32_t id = (uint32_t)v->slots[at];
        if (hash_tag(v->slots[at]) == hash_tag(hash) && v->offsets[id + 1] - v->offsets[id] == length + 1 &&
            !memcmp(vocab_name(v, id), name, length))
            break;
        at = (at + 1) & mask;
    }
    return at;
}

static void grow_slots(Vocab *v) {
    free(v->slots);
    v->n_slots *= 2;
    v->slots = must_calloc(v->n_slots, sizeof *v->slots);
    uint32_t mask = v->n_slots - 1;
    for (uint32_t id = 1; id < v->n; id++) {
        uint64_t hash = XXH3_64bits(vocab_name(v, id), v->offsets[id + 1] - v->offsets[id] - 1);
        uint32_t at = (uint32_t)hash & mask;
        while (v->slots[at])
            at = (at + 1) & mask;
        v->slots[at] = hash_tag(hash) | id;
    }
}

static void append(Vocab *v, const char *name, size_t length) {
    if (v->n == v->ids_capacity) {
        v->ids_capacity += v->ids_capacity / 2;
        v->offsets = must_realloc(v->offsets, (v->ids_capacity + (size_t)1) * sizeof *v->offsets);
    }
    uint64_t at = v->offsets[v->n], end = at + length + 1;
    if (end > v->bytes_capacity) {
        v->bytes_capacity = end + v->bytes_capacity / 2;
        v->bytes = must_realloc(v->bytes, v->bytes_capacity);
    }
    memcpy(v->bytes + at, name, length);
    v->bytes[end - 1] = 0;
    v->offsets[++v->n] = end;
}

uint32_t vocab_intern(Vocab *v, const char *name, size_t length) {
    uint64_t hash = XXH3_64bits(name, length);
    uint32_t at = find_slot(v, hash, name, length);
    if (v->slots[at])
        return (uint32_t)v->slots[at];
    if (v->n == UINT32_MAX / 2)
        log_die(ERR_DATA, "the inputs hold more than %u users or items", UINT32_MAX / 2);
    append(v, name, length);
    v->slots[at] = hash_tag(hash) | (v->n - 1);
    if (v->n > v->n_slots / 4 * 3)
        grow_slots(v);
    return v->n - 1;
}

uint32_t vocab_find(const Vocab *v, const char *name, size_t length) {
    return (uint32_t)v->slots[find_slot(v, XXH3_64bits(name, length), name, length)];
}
