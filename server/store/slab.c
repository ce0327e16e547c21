/* Regions of memory, mapped at multiples of their size. */
#include "server/store/slab.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/log.h"

static size_t region_bytes(uint32_t region) {
    return region == 0 ? SLAB_FIRST_REGION : SLAB_REGION;
}

/* Maps twice as much as is asked for and gives back what does not lie within the aligned half. */
static void *map_aligned(size_t bytes) {
    char *map = mmap(NULL, 2 * bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        log_die(ERR_MEMORY, "cannot map %zu bytes for rows (%s): use more servers", bytes, strerror(errno));
    char *aligned = (char *)(((uintptr_t)map + bytes - 1) & ~(uintptr_t)(bytes - 1));
    size_t before = (size_t)(aligned - map), behind = bytes - before;
    if (before)
        munmap(map, before);
    if (behind)
        munmap(aligned + bytes, behind);
    return aligned;
}

static void add_region(Slab *s) {
    size_t bytes = region_bytes(s->n_regions);
    s->regions = must_realloc(s->regions, (s->n_regions + 1) * sizeof *s->regions);
    void *region = map_aligned(bytes);
    if (bytes == SLAB_REGION)
        madvise(region, bytes, MADV_HUGEPAGE); /* a wish: small pages do as well */
    s->regions[s->n_regions++] = region;
    s->left_bytes = bytes;
    s->total_bytes += bytes;
}

void *slab_alloc(Slab *s, size_t bytes) {
    assert(bytes > 0 && bytes <= SLAB_MAX_CHUNK);
    if (s->left_bytes < bytes)
        add_region(s);
    char *end = (char *)s->regions[s->n_regions - 1] + region_bytes(s->n_regions - 1);
    void *chunk = end - s->left_bytes;
    s->left_bytes -= bytes;
    return chunk;
}

void slab_free(Slab *s) {
    for (uint32_t i = 0; i < s->n_regions; i++)
        munmap(s->regions[i], region_bytes(i));
    free(s->regions);
    *s = (Slab){0};
}
