/* Stores with rows of every kind, written by any number of servers into a directory of their own. */
#ifndef MANGROVE_TESTS_SNAPSHOT_FIXTURE_H
#define MANGROVE_TESTS_SNAPSHOT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/files.h"
#include "common/log.h"
#include "common/options.h"
#include "common/rng.h"
#include "server/snapshot/snapshot.h"
#include "tests/unit/toy_data.h"

enum { SNAP_SEED = 9, SNAP_STEPS = 20, SNAP_KEYS = 2000, SNAP_EPOCH = 3, SNAP_MAX_SERVERS = 3 };

typedef struct Snap {
    Config config;
    char *config_text;
    Schema schema;
    Store *whole;
    char root[64]; /* a temporary directory */
} Snap;

static inline Store *snap_store(const Snap *s, OptimizerKind kind) {
    OptimizerConfig optimizer = s->config.optimizer;
    Store *store;
    optimizer.kind = kind;
    assert_int_equal(store_open(&store, &s->schema, &optimizer, SNAP_SEED, 1), OK);
    return store;
}

/* One step with rows of all tables that the domain reaches. */
static inline void snap_push(Snap *s, int domain, uint32_t step, Rng *r) {
    static uint64_t keys[SNAP_KEYS + 2];
    static real grads[SNAP_KEYS * TOY_WIDTH + 2 * SCHEMA_DENSE_WIDTH];
    const Work work = {.epoch = SNAP_EPOCH, .domain = (uint8_t)domain, .step = step};
    PushResult result;
    for (uint32_t i = 0; i < SNAP_KEYS; i++)
        keys[i] = key_of(i % 2                ? TOY_SHARED
                         : domain == DOMAIN_A ? TOY_A
                                              : TOY_B,
                         rng_below(r, TOY_ITEMS / SNAP_KEYS) * SNAP_KEYS + i);
    keys[SNAP_KEYS] = key_of(TOY_DENSE_SHARED, 0);
    keys[SNAP_KEYS + 1] = key_of(TOY_STATS, (uint64_t)domain);
    for (size_t i = 0; i < sizeof grads / sizeof *grads; i++)
        grads[i] = (real)rng_normal(r);
    assert_int_equal(store_push(s->whole, &work, keys, SNAP_KEYS + 2, grads, &result), OK);
    assert_int_equal(result, PUSH_APPLIED);
}

static inline Snap *snap_open(void) {
    Snap *s = must_calloc(1, sizeof *s);
    config_defaults(&s->config);
    s->config.train.seed = SNAP_SEED;
    s->config_text = config_text(&s->config);
    toy_tables(&s->schema);
    s->whole = snap_store(s, OPTIMIZER_ADAM);
    store_open_epoch(s->whole, SNAP_EPOCH, (uint32_t[]){2 * SNAP_STEPS, SNAP_STEPS + 3});
    Rng r = rng_stream(SNAP_SEED, RNG_TEST, 0, 0);
    for (uint32_t step = 0; step < SNAP_STEPS; step++) {
        snap_push(s, DOMAIN_A, 2 * step, &r);
        snap_push(s, DOMAIN_B, step, &r);
    }
    strcpy(s->root, "/tmp/test_snapshot_XXXXXX");
    assert_non_null(mkdtemp(s->root));
    return s;
}

static inline int snap_remove(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static inline void snap_close(Snap *s) {
    nftw(s->root, snap_remove, 16, FTW_DEPTH | FTW_PHYS);
    store_close(&s->whole);
    free(s->config_text);
    free(s);
}

/* ---- parts ---------------------------------------------------------------------------------------------------- */

static inline void snap_put(void *ctx, uint64_t key, const real *row) {
    store_put(ctx, key, row);
}

/* A server's share: the slots that the map gives it. */
static inline Store *snap_part(const Snap *s, const uint16_t *map, uint16_t server) {
    Store *part = snap_store(s, OPTIMIZER_ADAM);
    for (int table = 0; table < s->schema.n_tables; table++)
        for (uint32_t slot = 0; slot < N_SLOTS; slot++)
            if (map[slot] == server)
                store_visit(s->whole, table, slot, snap_put, part);
    return part;
}

static inline void snap_map(uint16_t map[N_SLOTS], uint32_t n_servers) {
    for (uint32_t slot = 0; slot < N_SLOTS; slot++)
        map[slot] = (uint16_t)(slot / 5 % n_servers);
}

static inline SnapshotFacts snap_facts(const Snap *s, const char *dir, uint32_t n_servers, const uint16_t *map,
                                       char *const files[], const char *manifest) {
    StoreStats stats = store_stats(s->whole);
    SnapshotFacts facts = {.epoch = SNAP_EPOCH,
                           .cut = UINT64_MAX,
                           .seed = SNAP_SEED,
                           .standing = {.best_wauc = {0.1 + 0.2, -1}, .best_epoch = {1, 0}, .stale = {1, 0}},
                           .is_epoch_end = true,
                           .dir = dir,
                           .n_servers = n_servers,
                           .files = (const char *const *)files,
                           .t = {stats.t[DOMAIN_A], stats.t[DOMAIN_B]},
                           .slot_map = map,
                           .manifest = manifest};
    for (int d = 0; d < N_DOMAINS; d++)
        facts.bitmaps[d] = store_bitmap(s->whole, d, &facts.n_steps[d]);
    return facts;
}

static inline const char *snap_manifest(void) {
    static const uint32_t COUNTS[N_DOMAINS][N_SPLITS] = {{10, 2, 2}, {10, 2, 2}};
    static char manifest[TOY_MANIFEST_BYTES];
    toy_manifest(manifest, 1, COUNTS);
    return manifest;
}

/* Writes the rows of a store as a server's part. */
static inline Err snap_tables(const Snap *s, Store *store, uint32_t rank, const char *dir, char **files) {
    StoreCut *cut = store_cut_begin(store, false, SIZE_MAX);
    Err e = snapshot_write_tables(cut, &s->schema, rank, dir, NULL, files);
    store_cut_end(&cut, e == OK);
    return e;
}

/* Writes the parts of n servers and commits them under this epoch. dir out. */
static inline void snap_write(Snap *s, uint32_t n_servers, uint32_t epoch, char dir[128]) {
    uint16_t map[N_SLOTS];
    char *files[SNAP_MAX_SERVERS];
    snprintf(dir, 128, "%s/epoch-%04u", s->root, epoch);
    snap_map(map, n_servers);
    for (uint32_t i = 0; i < n_servers; i++) {
        Store *part = snap_part(s, map, (uint16_t)i);
        assert_int_equal(snap_tables(s, part, i, dir, &files[i]), OK);
        store_close(&part);
    }
    SnapshotFacts facts = snap_facts(s, dir, n_servers, map, files, snap_manifest());
    facts.epoch = epoch;
    if (snapshot_commit(&facts, s->config_text, NULL) != OK)
        fail_msg("%s", err_message());
    for (uint32_t i = 0; i < n_servers; i++)
        free(files[i]);
}

/* Opens and loads what is in dir. */
static inline Err snap_load(const Snap *s, const char *dir, Store *into) {
    Snapshot *snapshot;
    Err e = snapshot_open(&snapshot, dir);
    if (e == OK)
        e = snapshot_load(snapshot, &s->schema, into);
    snapshot_close(&snapshot);
    return e;
}

/* Every row of one store is in the other, in the same bits. */
typedef struct SnapComparison {
    const Store *other;
    uint64_t n_rows;
    const real *found;
    uint64_t wanted;
} SnapComparison;

static inline void snap_find_row(void *ctx, uint64_t key, const real *row) {
    SnapComparison *c = ctx;
    if (key == c->wanted)
        c->found = row;
}

static inline void snap_compare_row(void *ctx, uint64_t key, const real *row) {
    SnapComparison *c = ctx;
    c->found = NULL;
    c->wanted = key;
    store_visit(c->other, key_table(key), key_slot(key), snap_find_row, c);
    assert_non_null(c->found);
    assert_memory_equal(c->found, row, store_row_reals(c->other, key_table(key)) * sizeof *row);
    c->n_rows++;
}

/* Rows and state. */
static inline void snap_assert_same(const Snap *s, const Store *a, const Store *b) {
    SnapComparison c = {.other = b};
    for (int table = 0; table < s->schema.n_tables; table++)
        for (uint32_t slot = 0; slot < N_SLOTS; slot++)
            store_visit(a, table, slot, snap_compare_row, &c);
    StoreStats x = store_stats(a), y = store_stats(b);
    assert_int_equal(c.n_rows, x.n_rows);
    assert_int_equal(x.n_rows, y.n_rows);
    assert_memory_equal(x.t, y.t, sizeof x.t);
    assert_int_equal(store_epoch(a), store_epoch(b));
    for (int d = 0; d < N_DOMAINS; d++) {
        uint32_t n, m;
        const uint8_t *bits = store_bitmap(a, d, &n), *other = store_bitmap(b, d, &m);
        assert_int_equal(n, m);
        assert_memory_equal(bits, other, bitmap_bytes(n));
    }
}

/* Loading fails as corrupt with a sentence that has these words. */
static inline void snap_is_corrupt(const Snap *s, const char *dir, const char *words) {
    Store *store = snap_store(s, OPTIMIZER_ADAM);
    Err e = snap_load(s, dir, store);
    if (e != ERR_CORRUPT || !strstr(err_message(), words))
        fail_msg("expected \"%s\", got %s: %s", words, err_name(e), e ? err_message() : "");
    assert_int_equal(store_stats(store).n_rows, 0); /* not one row was used */
    store_close(&store);
}

#endif
