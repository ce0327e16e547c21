/* A simulated disk: what the servers of a simulated cluster have written, row by row, and the snapshots that became of
 * it. Rows are read from the cut when the writing ends, so that what was pushed meanwhile would show. */
#ifndef MANGROVE_TESTS_SIM_SNAPSHOT_H
#define MANGROVE_TESTS_SIM_SNAPSHOT_H

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "server/scheduler/scheduler.h"
#include "server/session/session.h"
#include "server/store/store_cut.h"

enum { SIM_BITMAP = 16, SIM_MAX_SNAPSHOTS = 256, SIM_ROW_REALS = SCHEMA_DENSE_WIDTH };

typedef struct SimRow {
    uint64_t key;
    real values[SIM_ROW_REALS]; /* those past the row's width are 0 */
} SimRow;

typedef struct SimRows {
    SimRow *list;
    size_t n, capacity;
} SimRows;

typedef struct SimSnapshot {
    uint64_t cut, base, t[N_DOMAINS], metrics; /* metrics: hash of the results of the epochs before, or up to it */
    uint32_t epoch, n_steps[N_DOMAINS];
    bool is_epoch_end, is_evaluated;
    Standing standing;
    char dir[MESSAGE_TEXT];
    uint8_t bitmaps[N_DOMAINS][SIM_BITMAP];
    SimRows rows; /* all of them, also of an incremental one */
} SimSnapshot;

typedef struct SimArchive {
    SimSnapshot list[SIM_MAX_SNAPSHOTS];
    int n;
} SimArchive;

static inline uint64_t sim_mix(uint64_t hash, const void *data, size_t size) {
    for (const uint8_t *p = data; size--; p++)
        hash = (hash ^ *p) * 0x100000001B3u; /* FNV-1a */
    return hash;
}

/* ---- rows ------------------------------------------------------------------------------------------------------- */

/* A row that is there already is replaced. */
static inline void sim_rows_put(SimRows *rows, const SimRow *row) {
    for (size_t i = 0; i < rows->n; i++)
        if (rows->list[i].key == row->key) {
            rows->list[i] = *row;
            return;
        }
    if (rows->n == rows->capacity) {
        rows->capacity = rows->capacity ? 2 * rows->capacity : 64;
        rows->list = must_realloc(rows->list, rows->capacity * sizeof *rows->list);
    }
    rows->list[rows->n++] = *row;
}

static inline void sim_rows_put_all(SimRows *rows, const SimRows *more) {
    for (size_t i = 0; i < more->n; i++)
        sim_rows_put(rows, &more->list[i]);
}

/* Their order does not matter. */
static inline uint64_t sim_rows_hash(const SimRows *rows) {
    uint64_t sum = 0;
    for (size_t i = 0; i < rows->n; i++)
        sum += sim_mix(0xCBF29CE484222325u, &rows->list[i], sizeof rows->list[i]);
    return sum;
}

typedef struct SimVisit {
    SimRows *rows;
    size_t n_reals;
} SimVisit;

static inline void sim_visit_row(void *ctx, uint64_t key, const real *values) {
    SimVisit *v = ctx;
    SimRow row = {.key = key};
    memcpy(row.values, values, v->n_reals * sizeof *values);
    sim_rows_put(v->rows, &row);
}

static inline void sim_rows_of_cut(SimRows *rows, StoreCut *cut, const Schema *schema) {
    SimVisit v = {.rows = rows};
    rows->n = 0;
    for (int table = 0; table < schema->n_tables; table++) {
        v.n_reals = store_row_reals(store_cut_store(cut), table);
        for (uint32_t slot = 0; slot < N_SLOTS; slot++)
            store_cut_visit(cut, table, slot, sim_visit_row, &v);
    }
}

static inline void sim_rows_of_store(SimRows *rows, const Store *store, const Schema *schema) {
    SimVisit v = {.rows = rows};
    for (int table = 0; store && table < schema->n_tables; table++) {
        v.n_reals = store_row_reals(store, table);
        for (uint32_t slot = 0; slot < N_SLOTS; slot++)
            store_visit(store, table, slot, sim_visit_row, &v);
    }
}

/* ---- snapshots -------------------------------------------------------------------------------------------------- */

static inline SimSnapshot *sim_find_cut(SimArchive *a, uint64_t cut) {
    for (int i = 0; i < a->n; i++)
        if (a->list[i].cut == cut)
            return &a->list[i];
    return NULL;
}

static inline void sim_archive_free(SimArchive *a) {
    for (int i = 0; i < a->n; i++)
        free(a->list[i].rows.list);
    free(a);
}

static inline SchedulerStart sim_start_from(const SimSnapshot *s, uint64_t seed) {
    SchedulerStart start = {.restore = RESTORE_RESUME,
                            .seed = seed,
                            .data = 0xab,
                            .cut = s->cut,
                            .epoch = s->epoch,
                            .is_evaluated = s->is_evaluated,
                            .standing = s->standing};
    memcpy(start.dir, s->dir, sizeof start.dir);
    memcpy(start.n_steps, s->n_steps, sizeof start.n_steps);
    return start;
}

/* The rows of the slots that this server has among so many. */
static inline Store *sim_restore(const SimSnapshot *s, const SessionLoad *load, int n_servers, uint64_t seed) {
    Store *store;
    const uint8_t *bitmaps[N_DOMAINS] = {s->bitmaps[DOMAIN_A], s->bitmaps[DOMAIN_B]};
    if (store_open(&store, load->schema, load->optimizer, seed, load->n_ranks))
        abort();
    for (size_t i = 0; i < s->rows.n; i++)
        if (key_slot(s->rows.list[i].key) % (uint32_t)n_servers == load->how.rank)
            store_put(store, s->rows.list[i].key, s->rows.list[i].values);
    store_restore(store, s->epoch, s->n_steps, bitmaps, s->t);
    return store;
}

#endif
