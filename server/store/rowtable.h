/* A table of the schema as the store keeps it: one sub-table per slot, and what a push does to each of its rows.
 *
 * A row is [values (width) | m v of the first moment set | m v of the second]; which sets there are follows from the
 * domains that reach the table and from the optimizer. */
#ifndef MANGROVE_SERVER_STORE_ROWTABLE_H
#define MANGROVE_SERVER_STORE_ROWTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/schema.h"
#include "server/store/copies.h"
#include "server/store/optimizer.h"
#include "server/store/subtable.h"

enum { ROWTABLE_BLOCK = 64 }; /* rows that are on their way from memory at once */

typedef struct RowTable {
    const Schema *schema;
    uint64_t seed; /* of initial values */
    int table;     /* its number in the schema */
    uint32_t width, set_reals, n_sets;
    uint32_t generation; /* of the store: what a changed chunk bears */
    RowShape shape;
    Slab slab;
    Copies copies; /* of rows, while a cut lives */
    RowRule sparse_rule; /* of every row of a sparse table */
    uint8_t *rules;      /* (n_rows) RowRule of each row of a dense or stats table, else NULL */
    SubTable *slots[N_SLOTS];
} RowTable;

void rowtable_init(RowTable *t, const Schema *schema, int table, OptimizerKind optimizer, uint64_t seed);
void rowtable_free(RowTable *t);

/* The row of each of at most ROWTABLE_BLOCK keys of any tables, NULL where it does not exist; the memory of its values
 * is on its way into the cache. tables: by number. */
void rowtable_locate(const RowTable *tables, const uint64_t *keys, uint32_t n, const real **rows);
/* The same for rows that will change, in a step of this domain (its moments are on their way too) or, -1, otherwise.
 * What a cut still needs of them is copied aside. False: no memory for a copy, and no row may change. */
bool rowtable_change(RowTable *tables, const uint64_t *keys, uint32_t n, int domain, real **rows);
/* Copies aside what a cut still needs of rows of these keys that will change or be created. At most ROWTABLE_BLOCK keys.
 * False: there is no room for a copy; those that were made help the next try. */
bool rowtable_protect(RowTable *tables, const uint64_t *keys, uint32_t n, bool is_bounded);

/* The row, which will change; created with its initial values and zero moments if it is not there. */
real *rowtable_obtain(RowTable *t, uint64_t row);
/* The initial values of a row: (width) out. */
void rowtable_initial(const RowTable *t, uint64_t row, real *values);

/* The moments of a domain within a row; NULL if there are none. */
static inline real *rowtable_moments(const RowTable *t, real *row, int domain) {
    if (!t->n_sets)
        return NULL;
    return row + t->width + (t->n_sets == 2 ? (size_t)domain * t->set_reals : 0);
}
static inline RowRule rowtable_rule(const RowTable *t, uint64_t row) {
    return t->rules ? (RowRule)t->rules[row] : t->sparse_rule;
}

#endif
