/* Step memory: a list of blocks, newest first, that a reset melts into one. */
#include "common/arena.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

struct ArenaBlock {
    ArenaBlock *next;
    size_t size_bytes;
    size_t used_bytes;
    char *data;
};

static size_t round_up(size_t bytes) {
    return (bytes + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
}

static void add_block(Arena *a, size_t bytes) {
    size_t size = round_up(bytes);
    ArenaBlock *b = must_alloc(sizeof *b);
    char *data = aligned_alloc(ARENA_ALIGN, size);
    if (!data)
        log_die(ERR_MEMORY, "cannot allocate %zu bytes of step memory: use a smaller batch or a shorter history", size);
    *b = (ArenaBlock){.next = a->blocks, .size_bytes = size, .data = data};
    a->blocks = b;
}

static void free_blocks(ArenaBlock *b) {
    while (b) {
        ArenaBlock *next = b->next;
        free(b->data);
        free(b);
        b = next;
    }
}

void arena_init(Arena *a, size_t first_bytes) {
    *a = (Arena){0};
    add_block(a, first_bytes ? first_bytes : 1);
}

void arena_free(Arena *a) {
    free_blocks(a->blocks);
    *a = (Arena){0};
}

void *arena_alloc(Arena *a, size_t bytes) {
    assert(bytes < SIZE_MAX / 2);
    size_t need = round_up(bytes ? bytes : 1);
    if (!a->blocks || a->blocks->size_bytes - a->blocks->used_bytes < need) {
        size_t last = a->blocks ? a->blocks->size_bytes : 0;
        add_block(a, need > last ? need : last);
    }
    void *p = a->blocks->data + a->blocks->used_bytes;
    a->blocks->used_bytes += need;
    a->used_bytes += need;
    if (a->used_bytes > a->peak_bytes)
        a->peak_bytes = a->used_bytes;
    return p;
}

void *arena_calloc(Arena *a, size_t bytes) {
    return memset(arena_alloc(a, bytes), 0, bytes);
}

void arena_reset(Arena *a) {
    if (a->blocks && a->blocks->next) {
        size_t total = 0;
        for (ArenaBlock *b = a->blocks; b; b = b->next)
            total += b->size_bytes;
        free_blocks(a->blocks);
        a->blocks = NULL;
        add_block(a, total);
    }
    if (a->blocks)
        a->blocks->used_bytes = 0;
    a->used_bytes = 0;
}

ArenaMark arena_mark(const Arena *a) {
    return (ArenaMark){a->blocks, a->blocks ? a->blocks->used_bytes : 0, a->used_bytes};
}

void arena_return_to(Arena *a, const ArenaMark *mark) {
    if (!a->blocks || a->blocks != mark->block)
        return;
    a->blocks->used_bytes = mark->block_used_bytes;
    a->used_bytes = mark->used_bytes;
}
