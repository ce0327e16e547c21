/* Sub-tables: open addressing by groups over a slab of chunks. */
#include "server/store/subtable.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/schema.h"

_Static_assert(sizeof(SubTable) <= SUBTABLE_ALIGN, "a lookup takes one cache line of it");

/* ---- the index ------------------------------------------------------------------------------------------------ */

static SubTableGroup *next_group(const SubTable *s, const SubTableGroup *g) {
    size_t next = (size_t)(g - s->groups) + 1;
    return s->groups + (next == s->n_groups ? 0 : next);
}

/* The first free place of a group, SUBTABLE_GROUP if it is full: places fill from the first on. */
static int first_free(const SubTableGroup *g) {
    int i = 0;
    while (i < SUBTABLE_GROUP && g->places[i])
        i++;
    return i;
}

int64_t subtable_find_on(const SubTable *s, const SubTableGroup *g, uint32_t row) {
    while (g->places[SUBTABLE_GROUP - 1]) { /* full */
        g = next_group(s, g);
        uint32_t place = subtable_in_group(g, row);
        if (place)
            return (int64_t)place - 1;
    }
    return SUBTABLE_NONE;
}

static void index_add(const SubTable *s, uint64_t mix, uint32_t row, uint32_t place) {
    SubTableGroup *g = subtable_group(s, mix);
    while (first_free(g) == SUBTABLE_GROUP)
        g = next_group(s, g);
    int i = first_free(g);
    g->rows[i] = row;
    g->places[i] = place + 1;
}

static SubTableGroup *groups_alloc(uint32_t n) {
    size_t bytes = n * sizeof(SubTableGroup);
    SubTableGroup *groups = aligned_alloc(sizeof(SubTableGroup), bytes);
    if (!groups)
        log_die(ERR_MEMORY, "cannot allocate %zu bytes for an index of rows: use more servers", bytes);
    memset(groups, 0, bytes);
    return groups;
}

static void index_grow(SubTable *s, int table) {
    SubTable old = *s;
    s->n_groups += s->n_groups / 2 + 1;
    s->groups = groups_alloc(s->n_groups);
    for (const SubTableGroup *g = old.groups; g < old.groups + old.n_groups; g++)
        for (int i = 0; i < SUBTABLE_GROUP; i++)
            if (g->places[i])
                index_add(s, key_mix(key_of(table, g->rows[i])), g->rows[i], g->places[i] - 1);
    free(old.groups);
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

SubTable *subtable_new(void) {
    SubTable *s = aligned_alloc(SUBTABLE_ALIGN, SUBTABLE_ALIGN);
    if (!s)
        log_die(ERR_MEMORY, "cannot allocate %d bytes for a table of rows: use more servers", SUBTABLE_ALIGN);
    *s = (SubTable){.n_groups = 1};
    s->groups = groups_alloc(s->n_groups);
    return s;
}

void subtable_free(SubTable *s) {
    if (!s)
        return;
    free(s->chunks);
    free(s->groups);
    free(s);
}

size_t subtable_bytes(const SubTable *s) {
    return SUBTABLE_ALIGN + s->n_groups * sizeof *s->groups + s->chunk_capacity * sizeof *s->chunks;
}

static void add_chunk(SubTable *s, RowShape shape, Slab *slab) {
    if (s->n_chunks == s->chunk_capacity) {
        s->chunk_capacity += s->chunk_capacity / 8 + 1; /* wide rows are few to a chunk: each would pay for the slack */
        s->chunks = must_realloc(s->chunks, s->chunk_capacity * sizeof *s->chunks);
    }
    size_t bytes = ((size_t)shape.row_reals << shape.chunk_shift) * sizeof(real);
    s->chunks[s->n_chunks++] = (Chunk){.rows = slab_alloc(slab, bytes)};
}

int64_t subtable_add(SubTable *s, RowShape shape, Slab *slab, int table, uint64_t mix, uint32_t row) {
    if ((uint64_t)(s->n_rows + 1) * 4 > (uint64_t)s->n_groups * SUBTABLE_GROUP * 3)
        index_grow(s, table);
    if (s->n_rows >> shape.chunk_shift == s->n_chunks)
        add_chunk(s, shape, slab);
    index_add(s, mix, row, s->n_rows);
    return s->n_rows++;
}

void subtable_list(const SubTable *s, uint32_t n_rows, SubTablePlace *places) {
    uint32_t n = 0;
    for (const SubTableGroup *g = s->groups; g < s->groups + s->n_groups; g++)
        for (int i = 0; i < SUBTABLE_GROUP; i++)
            if (g->places[i] && g->places[i] <= n_rows)
                places[n++] = (SubTablePlace){g->rows[i], g->places[i] - 1};
    assert(n == n_rows);
}

/* Byte by byte from the lowest, each pass stable; an even number of passes ends where it began. */
void subtable_sort(SubTablePlace *places, SubTablePlace *scratch, uint32_t n) {
    SubTablePlace *from = places, *to = scratch;
    for (int shift = 0; shift < 32; shift += 8) {
        uint32_t starts[257] = {0};
        for (uint32_t i = 0; i < n; i++)
            starts[(from[i].row >> shift & 255) + 1]++;
        for (int b = 0; b < 256; b++)
            starts[b + 1] += starts[b];
        for (uint32_t i = 0; i < n; i++)
            to[starts[from[i].row >> shift & 255]++] = from[i];
        SubTablePlace *other = from;
        from = to;
        to = other;
    }
}
