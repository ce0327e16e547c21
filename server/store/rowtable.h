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

typedef struct RowTable {
    const Schema *schema;
    uint64_t seed; /* of initial values */
    int table;     /* its number in the schema */
    uint32_t width, set_reals, n_sets;
    uint32_t generation; /* of the store: what a changed chunk bears */
    RowShape shape;
    Slab slab;
    Copies copies;       /* of rows, while a cut lives */
    RowRule sparse_rule; /* of every row of a sparse table */
    uint8_t *rules;      /* (n_rows) RowRule of each row of a dense or stats table, else NULL */
    SubTable *slots[N_SLOTS];
} RowTable;

void rowtable_init(RowTable *t, const Schema *schema, int table, OptimizerKind optimizer, uint64_t seed);
void rowtable_free(RowTable *t);

/* In all of these, keys name rows of any of tables, which go by their number. */

/* Values of the rows, one behind the other; initial values where a row does not exist. */
void rowtable_pull(const RowTable *tables, const uint64_t *keys, uint32_t n_keys, real *values);
/* Updates the rows in a step of this domain by their gradients, one behind the other, and creates those that are not
 * there. What a cut still needs of them is copied aside. False: no memory for a copy; rows before it have changed. */
bool rowtable_push(RowTable *tables, const Update *update, int domain, const uint64_t *keys, uint32_t n_keys,
                   const real *grads);
/* Copies aside what a cut still needs of rows that will change or be created. False: there is no room for a copy; those
 * that were made help the next try. */
bool rowtable_protect(RowTable *tables, const uint64_t *keys, uint32_t n_keys, bool is_bounded);

/* The row, which will change and was protected; NULL if it is not there. */
real *rowtable_change(RowTable *tables, uint64_t key);
/* Creates or overwrites a row, which was protected. values: with its state. */
void rowtable_put(RowTable *t, uint64_t row, const real *values);
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
