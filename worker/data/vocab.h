/* Names and their ids: the first name gets id 1, and so on; id 0 is the empty name. */
#ifndef MANGROVE_WORKER_DATA_VOCAB_H
#define MANGROVE_WORKER_DATA_VOCAB_H

#include <stddef.h>
#include <stdint.h>

typedef struct Vocab {
    char *bytes;       /* all names, each with a 0 behind it */
    uint64_t *offsets; /* (n+1) of the names in bytes */
    uint64_t *slots;   /* open addressing: upper half of the name's hash << 32 | id; 0 = empty */
    uint32_t n;        /* ids are smaller */
    uint32_t n_slots;  /* a power of two */
    uint32_t ids_capacity;
    size_t bytes_capacity;
} Vocab;

void vocab_init(Vocab *v);
void vocab_free(Vocab *v);

/* The id of the name, a new one if it is not known. length > 0. Dies when 2^31 names are there. */
uint32_t vocab_intern(Vocab *v, const char *name, size_t length);
/* The id, or 0. */
uint32_t vocab_find(const Vocab *v, const char *name, size_t length);

static inline const char *vocab_name(const Vocab *v, uint32_t id) {
    return v->bytes + v->offsets[id];
}

#endif
