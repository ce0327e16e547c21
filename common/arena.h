/* Step memory: allocate forward, free all at once. After the first steps an arena holds one block and a reset costs
 * nothing, so a training step never calls malloc. Not thread-safe. */
#ifndef MANGROVE_COMMON_ARENA_H
#define MANGROVE_COMMON_ARENA_H

#include <stddef.h>

enum { ARENA_ALIGN = 64 }; /* bytes; a cache line, and the widest vector */

typedef struct ArenaBlock ArenaBlock;

typedef struct Arena {
    ArenaBlock *blocks;  /* newest first */
    size_t used_bytes;   /* since the last reset, over all blocks */
    size_t peak_bytes;   /* the most that was used between two resets */
} Arena;

void arena_init(Arena *a, size_t first_bytes);
void arena_free(Arena *a);

/* Aligned to ARENA_ALIGN, contents undefined, valid until the next reset. Never NULL (dies without memory). */
void *arena_alloc(Arena *a, size_t bytes);
void *arena_calloc(Arena *a, size_t bytes); /* the same, zeroed */

/* Frees everything that was allocated; several blocks become one of their joint size. */
void arena_reset(Arena *a);

/* What is allocated between a mark and the return to it may be given up early. The return does nothing where the arena
 * has grown by a block in between. */
typedef struct ArenaMark {
    ArenaBlock *block;
    size_t block_used_bytes, used_bytes;
} ArenaMark;
ArenaMark arena_mark(const Arena *a);
void arena_return_to(Arena *a, const ArenaMark *mark);

#define arena_array(a, type, n) ((type *)arena_alloc((a), sizeof(type) * (size_t)(n)))
#define arena_zeros(a, type, n) ((type *)arena_calloc((a), sizeof(type) * (size_t)(n)))

#endif
