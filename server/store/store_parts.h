/* The inside of a store, shared by store.c (what is applied, what is held) and store_cut.c (its rows at one moment). */
#ifndef MANGROVE_SERVER_STORE_STORE_PARTS_H
#define MANGROVE_SERVER_STORE_STORE_PARTS_H

#include "server/store/held.h"
#include "server/store/rowtable.h"
#include "server/store/store_cut.h"

struct Store {
    const Schema *schema;
    OptimizerConfig optimizer;
    uint32_t n_ranks;
    uint32_t epoch;
    uint32_t n_steps[N_DOMAINS];
    uint32_t n_applied[N_DOMAINS];  /* bits that are set */
    uint8_t *bits[N_DOMAINS];       /* of steps */
    uint8_t *group_bits[N_DOMAINS]; /* a bit for each step of a group that is applied; NULL: there are no groups */
    uint64_t t[N_DOMAINS];
    Held held;
    KeySet keys; /* scratch: the keys of the push at hand */
    /* Each cut begins a generation; a chunk bears the one in which it was last changed. So "touched since the base" is
     * a comparison, and neither a cut that ends nor one that fails has marks to clear. */
    uint32_t generation, base; /* base: the one that the last full snapshot began, 0: there is none */
    StoreCut *cut;             /* the one that lives, or NULL */
    RowTable tables[SCHEMA_MAX_TABLES];
};

/* Nothing needs protection any more. The store's thread. */
bool store_cut_is_read(const StoreCut *cut);
/* A copy of each of n rows, of whatever tables, would fit, and is there for sure. The store's thread. */
bool store_cut_has_room(const StoreCut *cut, uint64_t n_rows);

/* store_groups.c. After the bits of steps have been set anew: the groups are those of the steps. */
void groups_reset(Store *s, int domain);
/* A group comes after all its steps; true for a step. */
bool groups_are_begun(const Store *s, const Work *work);
/* Whether this kind of push may change the table. */
bool groups_allow(const Store *s, const Work *work, const Table *table);
void groups_set(Store *s, const Work *work);

#endif
