/* A sub-table: the rows of one table that share a slot, found by their row number.
 *
 * DESIGN. An index of groups, each one cache line of eight places: the row numbers and where the rows are in the slab.
 * A lookup compares the eight row numbers at once and takes no branch but for a row that is not in its own group.
 * Probing goes from group to group and ends at the first that is not full, which is enough because rows are never
 * removed. The index grows by half and stays under 3/4 full: fuller, and more rows are in the next group, which nobody
 * has asked for.
 *
 * The rows lie in chunks of a fixed number of rows, cut from the table's slab: rows do not move, growth copies nothing
 * but the index, and the chunk is what remembers its last change. What lies in a row is the caller's business. */
#ifndef MANGROVE_SERVER_STORE_SUBTABLE_H
#define MANGROVE_SERVER_STORE_SUBTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/real.h"
#include "server/store/slab.h"

enum { SUBTABLE_GROUP = 8, SUBTABLE_ALIGN = 64, SUBTABLE_NONE = -1 };

typedef struct SubTableGroup {
    uint32_t rows[SUBTABLE_GROUP];
    uint32_t places[SUBTABLE_GROUP]; /* + 1; 0: free */
} SubTableGroup;
_Static_assert(sizeof(SubTableGroup) == 64, "a group is a cache line");

typedef struct Chunk {
    real *rows;
    uint32_t touched; /* the generation of the store (store_parts.h) in which it was last changed */
    uint32_t copy;    /* where it was touched while a cut lives: the first copy of a row of it (guard.h), 0: none */
} Chunk;

typedef struct SubTable {
    SubTableGroup *groups; /* (n_groups), aligned to 64 */
    Chunk *chunks;
    struct Guard *guard; /* NULL unless a cut lives that holds rows of it */
    uint32_t n_groups, n_rows, n_chunks, chunk_capacity;
} SubTable;

/* How the rows of a table lie: the same for all of its sub-tables. */
typedef struct RowShape {
    uint32_t row_reals;
    uint32_t chunk_shift; /* a chunk holds 1 << chunk_shift rows */
} RowShape;

SubTable *subtable_new(void);
void subtable_free(SubTable *s);          /* not its rows, which belong to the slab */
size_t subtable_bytes(const SubTable *s); /* what it has allocated beside the rows */

/* mix: key_mix of the row's key. */
/* Adds a row that is not there and gives its place; its contents, and `touched` of a new chunk, are undefined. table:
 * number in the schema. */
int64_t subtable_add(SubTable *s, RowShape shape, Slab *slab, int table, uint64_t mix, uint32_t row);

static inline SubTableGroup *subtable_group(const SubTable *s, uint64_t mix) {
    return &s->groups[(uint32_t)mix * (uint64_t)s->n_groups >> 32];
}
typedef uint32_t SubTableLanes __attribute__((vector_size(16), may_alias, aligned(16)));
/* The row's place + 1, 0 if it is not in the group. */
static inline uint32_t subtable_in_group(const SubTableGroup *g, uint32_t row) {
    const SubTableLanes *rows = (const SubTableLanes *)g->rows, *places = (const SubTableLanes *)g->places;
    SubTableLanes wanted = {row, row, row, row};
    SubTableLanes found =
        ((SubTableLanes)(rows[0] == wanted) & places[0]) | ((SubTableLanes)(rows[1] == wanted) & places[1]);
    return found[0] | found[1] | found[2] | found[3];
}
/* Where it would be if its own group is full. */
int64_t subtable_find_on(const SubTable *s, const SubTableGroup *group, uint32_t row);
/* The place of the row, or SUBTABLE_NONE. */
static inline int64_t subtable_find(const SubTable *s, uint64_t mix, uint32_t row) {
    const SubTableGroup *g = subtable_group(s, mix);
    uint32_t place = subtable_in_group(g, row);
    return place ? (int64_t)place - 1 : subtable_find_on(s, g, row);
}
static inline Chunk *subtable_chunk(const SubTable *s, RowShape shape, int64_t place) {
    return &s->chunks[(uint64_t)place >> shape.chunk_shift];
}
static inline real *subtable_row(const SubTable *s, RowShape shape, int64_t place) {
    size_t in_chunk = (size_t)place & (((size_t)1 << shape.chunk_shift) - 1);
    return subtable_chunk(s, shape, place)->rows + in_chunk * shape.row_reals;
}

typedef struct SubTablePlace {
    uint32_t row, place;
} SubTablePlace;
/* Every row whose place is below n_rows, in the order of the index: places (n_rows) out. */
void subtable_list(const SubTable *s, uint32_t n_rows, SubTablePlace *places);
/* Rows ascending. scratch: (n) too. */
void subtable_sort(SubTablePlace *places, SubTablePlace *scratch, uint32_t n);

#endif
