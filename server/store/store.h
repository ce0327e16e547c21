/* The store: the tables' rows with their optimizer state, the applied bits, and t. Everything that changes a parameter
 * happens here, for the cluster's servers, for `train --local` and for the proofs in double alike. No I/O, no threads.
 *
 * A push is applied at most once: it is named by its work (epoch, domain, step), and the store keeps one bit for each.
 * t of a domain (Adam's bias correction) = steps of that domain applied here + 1, also where a push carried no row.
 * In sync a step's R pushes are held until all are here, then added in rank order and applied as one.
 *
 * With groups (work.h) a step's push has no dense rows, and a group's nothing else; it is applied at most once too, after
 * its steps, and t stays what it is.
 *
 * Rows appear on their first push, with their seeded initial value; a pull never creates one. */
#ifndef MANGROVE_SERVER_STORE_STORE_H
#define MANGROVE_SERVER_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/err.h"
#include "common/real.h"
#include "common/schema.h"
#include "common/work.h"

typedef struct Store Store;

typedef enum PushResult {
    PUSH_APPLIED,   /* the rows have changed */
    PUSH_HELD,      /* sync: waits for the other ranks of its step; a second copy of it is dropped */
    PUSH_DUPLICATE, /* applied before: nothing has changed */
    PUSH_RETRY,     /* of a later epoch than the store's; a group before its steps */
    PUSH_WAIT,      /* a cut's copies have no room (store_cut.h): nothing has changed, to be tried again */
} PushResult;

typedef struct StoreStats {
    uint64_t n_rows;       /* over all tables */
    uint64_t used_bytes;   /* rows, keys, tags and tables of sub-tables */
    uint64_t held_bytes;   /* of held pushes */
    uint64_t t[N_DOMAINS]; /* steps applied since the beginning */
} StoreStats;

/* Borrows schema. seed: of initial values. ranks: R (1 in async). */
Err store_open(Store **out, const Schema *schema, const OptimizerConfig *optimizer, uint64_t seed,
               uint32_t ranks) MUST_CHECK;
void store_close(Store **s);

/* Opens an epoch (its number is higher than the current one): clears the bits, sets `sum` rows to 0, drops held pushes.
 * n_steps: bits of each domain. */
void store_open_epoch(Store *s, uint32_t epoch, const uint32_t n_steps[N_DOMAINS]);
/* From now on dense gradients come in groups (dense.push > 1): a step counts as applied when its group's are, too. Of
 * the steps that the store has, the groups have been applied. */
void store_use_groups(Store *s);
uint32_t store_epoch(const Store *s);
/* The steps that are applied, and those whose own push is, their group's or not. */
const uint8_t *store_bitmap(const Store *s, int domain, uint32_t *n_bits);
const uint8_t *store_begun(const Store *s, int domain);
/* True for steps of lower epochs and for those whose bit is set: nothing is left to do. */
bool store_is_applied(const Store *s, const Work *work);
/* True if this very push would change nothing. */
bool store_has_push(const Store *s, const Work *work);
/* Steps of the current epoch applied here, over both domains: what `order` of a sync pull is compared with. */
uint64_t store_applied_count(const Store *s);

/* Checks what a peer sent before any of it is used: every key names a table and a row that exist, and the widths add up
 * to n_values. ERR_PROTOCOL with a sentence. n_values out if not NULL. */
Err store_check_keys(const Store *s, const uint64_t *keys, uint32_t n_keys, size_t *n_values) MUST_CHECK;

/* Rows one behind the other in key order. Keys have been checked; values (sum of widths) out. */
void store_pull(const Store *s, const uint64_t *keys, uint32_t n_keys, real *values);

/* grads likewise. Keys have been checked; work's domain, step (of the current epoch) and rank are in range (asserted).
 * A group where there are none, a key that occurs twice, a table that the domain or the kind of push does not reach, NaN or infinity is refused as ERR_PROTOCOL before
 * anything changes: a push is applied whole or not at all. */
Err store_push(Store *s, const Work *work, const uint64_t *keys, uint32_t n_keys, const real *grads,
               PushResult *result) MUST_CHECK;

StoreStats store_stats(const Store *s);

/* For snapshots, `evaluate` and proofs. State of a row of the table: [values | m, v of each moment set]. */
uint32_t store_row_reals(const Store *s, int table);                /* values + state */
uint32_t store_slot_rows(const Store *s, int table, uint32_t slot); /* existing rows */
typedef void (*StoreVisit)(void *ctx, uint64_t key, const real *row);
/* Every existing row of the table's slot, rows ascending. */
void store_visit(const Store *s, int table, uint32_t slot, StoreVisit visit, void *ctx);
/* Creates or overwrites a row with its state. */
void store_put(Store *s, uint64_t key, const real *row);
/* Takes over epoch, bits and t from a snapshot. bitmap[d]: bitmap_bytes(n_steps[d]) bytes. */
void store_restore(Store *s, uint32_t epoch, const uint32_t n_steps[N_DOMAINS], const uint8_t *const bitmap[N_DOMAINS],
                   const uint64_t t[N_DOMAINS]);

#endif
