/* The memory of a table's rows: chunks of one size, cut from regions that the system may back with huge pages (a gather
 * of random rows waits for address translation as long as for the data). Chunks live as long as their slab. */
#ifndef MANGROVE_SERVER_STORE_SLAB_H
#define MANGROVE_SERVER_STORE_SLAB_H

#include <stddef.h>
#include <stdint.h>

enum {
    SLAB_REGION = 2 << 20,       /* bytes; a huge page */
    SLAB_FIRST_REGION = 1 << 16, /* most tables are small */
    SLAB_MAX_CHUNK = 1 << 16,
};

typedef struct Slab { /* zeroed: empty */
    void **regions;
    uint32_t n_regions;
    size_t left_bytes; /* behind the last chunk of the last region */
    size_t total_bytes;
} Slab;

/* bytes: at most SLAB_MAX_CHUNK, the same in every call. Contents undefined, aligned to 64 where bytes are a multiple
 * of 64. Never NULL (dies without memory). */
void *slab_alloc(Slab *s, size_t bytes);
void slab_free(Slab *s);

#endif
