/* Sub-tables: open addressing by tagged groups over a slab of chunks. */
#include "server/store/subtable.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/schema.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tag i is byte i of the word, also on the wire");

/* ---- seven tags in a word ------------------------------------------------------------------------------------- */

#define EACH_TAG   UINT64_C(0x0001010101010101)
#define EACH_START UINT64_C(0x0080808080808080)

static uint64_t tags_word(const SubTableGroup *g) {
    uint64_t word;
    memcpy(&word, g->tags, sizeof word);
    return word;
}

/* The top bit of each byte that may equal tag: none is missed, a byte above a true match may be reported too much. */
static uint64_t tags_match(uint64_t word, uint8_t tag) {
    uint64_t x = word ^ EACH_TAG * tag;
    return (x - EACH_TAG) & ~x & EACH_START;
}

/* Tags in use have their top bit set. */
static uint64_t tags_free(uint64_t word) {
    return ~word & EACH_START;
}

static int first_tag(uint64_t bits) {
    return __builtin_ctzll(bits) / 8;
}

/* The slot is bits 52..63 of the mix, the group comes from bits 0..31, the tag from what is between. */
static uint8_t tag_of(uint64_t mix) {
    return (uint8_t)(mix >> 40 | 0x80);
}

static SubTableGroup *next_group(const SubTable *s, SubTableGroup *g) {
    return ++g == s->groups + s->n_groups ? s->groups : g;
}

/* ---- the index ------------------------------------------------------------------------------------------------ */

int64_t subtable_find(const SubTable *s, uint64_t mix, uint32_t row) {
    for (SubTableGroup *g = subtable_group(s, mix);; g = next_group(s, g)) {
        uint64_t word = tags_word(g);
        for (uint64_t hits = tags_match(word, tag_of(mix)); hits; hits &= hits - 1) {
            int i = first_tag(hits);
            if (g->rows[i] == row)
                return g->places[i];
        }
        if (tags_free(word))
            return SUBTABLE_NONE;
    }
}

static void index_add(const SubTable *s, uint64_t mix, uint32_t row, uint32_t place) {
    SubTableGroup *g = subtable_group(s, mix);
    while (!tags_free(tags_word(g)))
        g = next_group(s, g);
    int i = first_tag(tags_free(tags_word(g)));
    g->tags[i] = tag_of(mix);
    g->rows[i] = row;
    g->places[i] = place;
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
            if (g->tags[i])
                index_add(s, key_mix(key_of(table, g->rows[i])), g->rows[i], g->places[i]);
    free(old.groups);
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

SubTable *subtable_new(void) {
    SubTable *s = must_calloc(1, sizeof *s);
    s->n_groups = 1;
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
    return sizeof *s + s->n_groups * sizeof *s->groups + s->chunk_capacity * sizeof *s->chunks;
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
    if ((uint64_t)(s->n_rows + 1) * 7 > (uint64_t)s->n_groups * SUBTABLE_GROUP * 6)
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
            if (g->tags[i] && g->places[i] < n_rows)
                places[n++] = (SubTablePlace){g->rows[i], g->places[i]};
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
