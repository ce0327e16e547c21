/* link: mg_server */
/* What a server takes of a snapshot: its own slots, for a run that goes on or for a new one. */
#include "server/snapshot/snapshot_load.h"
#include "server/store/store_cut.h"
#include "tests/unit/snapshot_fixture.h"

/* The first n-th of the slots to server 0 and so on: another map than that of snap_write. */
static void contiguous(uint16_t map[N_SLOTS], uint32_t n_servers) {
    for (uint32_t slot = 0; slot < N_SLOTS; slot++)
        map[slot] = (uint16_t)(slot * n_servers / N_SLOTS);
}

static Err load_with(const char *dir, const Schema *schema, OptimizerKind kind, const SnapshotLoad *how, Store **out) {
    OptimizerConfig optimizer;
    Config config;
    config_defaults(&config);
    optimizer = config.optimizer;
    optimizer.kind = kind;
    return snapshot_load_store(out, dir, schema, &optimizer, 1, how, NULL);
}

static Store *load(const Snap *s, const char *dir, const SnapshotLoad *how) {
    Store *store;
    if (load_with(dir, &s->schema, OPTIMIZER_ADAM, how, &store) != OK)
        fail_msg("%s", err_message());
    return store;
}

static void check_owner(void *ctx, uint64_t key, const real *row) {
    const SnapshotLoad *how = ctx;
    (void)row;
    assert_int_equal(how->slot_map[key_slot(key)], how->rank);
}

static void visit_all(const Snap *s, const Store *store, StoreVisit visit, void *ctx) {
    for (int table = 0; table < s->schema.n_tables; table++)
        for (uint32_t slot = 0; slot < N_SLOTS; slot++)
            store_visit(store, table, slot, visit, ctx);
}

static void servers_of_another_number_load_their_slots_alone_and_all_rows_together(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128];
    snap_write(s, 2, SNAP_EPOCH, dir);
    for (uint32_t n_servers = 1; n_servers <= 5; n_servers += 2) {
        uint16_t map[N_SLOTS];
        Store *together = snap_store(s, OPTIMIZER_ADAM);
        contiguous(map, n_servers);
        for (uint32_t rank = 0; rank < n_servers; rank++) {
            SnapshotLoad how = {.restore = RESTORE_RESUME, .slot_map = map, .rank = rank};
            Store *part = load(s, dir, &how);
            visit_all(s, part, check_owner, &how);
            visit_all(s, part, snap_put, together);
            uint32_t n[N_DOMAINS];
            const uint8_t *bits[N_DOMAINS];
            for (int d = 0; d < N_DOMAINS; d++)
                bits[d] = store_bitmap(part, d, &n[d]);
            store_restore(together, store_epoch(part), n, bits, store_stats(part).t);
            store_close(&part);
        }
        snap_assert_same(s, s->whole, together);
        store_close(&together);
    }
    snap_close(s);
}

/* The file's last byte belongs to a row of the last slots. */
static void damage_in_other_servers_slots_is_theirs_to_find(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], path[256];
    uint16_t map[N_SLOTS];
    Store *store;
    snap_write(s, 1, SNAP_EPOCH, dir);
    snprintf(path, sizeof path, "%s/server-0.shared.safetensors", dir);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, -1, SEEK_END);
    int byte = fgetc(f);
    fseek(f, -1, SEEK_END);
    fputc(byte ^ 1, f);
    assert_int_equal(fclose(f), 0);
    contiguous(map, 8);
    store = load(s, dir, &(SnapshotLoad){.restore = RESTORE_RESUME, .slot_map = map, .rank = 0});
    assert_true(store_stats(store).n_rows > 0);
    store_close(&store);
    assert_int_equal(load_with(dir, &s->schema, OPTIMIZER_ADAM,
                               &(SnapshotLoad){.restore = RESTORE_RESUME, .slot_map = map, .rank = 7}, &store),
                     ERR_CORRUPT);
    assert_non_null(strstr(err_message(), "server-0.shared.safetensors: block"));
    assert_null(store);
    snap_close(s);
}

/* ---- chains --------------------------------------------------------------------------------------------------- */

/* Writes what s->whole holds now as the only server's part; base_dir NULL: full. */
static void write_whole(Snap *s, const char *dir, uint64_t number, const char *base_dir, uint64_t base_cut) {
    uint16_t map[N_SLOTS];
    char *files[1];
    snap_map(map, 1);
    StoreCut *cut = store_cut_begin(s->whole, base_dir != NULL, SIZE_MAX);
    assert_int_equal(snapshot_write_tables(cut, &s->schema, 0, dir, NULL, &files[0]), OK);
    store_cut_end(&cut, !base_dir && number);
    SnapshotFacts facts = snap_facts(s, dir, 1, map, files, snap_manifest());
    facts.cut = number;
    facts.base_dir = base_dir;
    facts.base_cut = base_cut;
    if (snapshot_commit(&facts, s->config_text, NULL) != OK)
        fail_msg("%s", err_message());
    free(files[0]);
}

/* A push of few rows, so that most chunks stay untouched. */
static void push_few(Snap *s, uint32_t step) {
    const uint64_t keys[] = {key_of(TOY_A, 5), key_of(TOY_A, TOY_ITEMS - 1), key_of(TOY_SHARED, step)};
    const real grads[3 * TOY_WIDTH] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    PushResult result;
    assert_int_equal(store_push(s->whole, &(Work){.epoch = SNAP_EPOCH, .step = 2 * step + 1}, keys, 3, grads, &result),
                     OK);
    assert_int_equal(result, PUSH_APPLIED);
}

static uint64_t bytes_of(const char *dir, const char *name) {
    char path[256];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void a_chain_gives_the_same_bytes_as_a_full_snapshot_of_the_same_cut(void **state) {
    (void)state;
    Snap *s = snap_open();
    char base[128], second[128], third[128], full[128];
    uint16_t map[N_SLOTS];
    snprintf(base, sizeof base, "%s/epoch-0003-step-000040", s->root);
    snprintf(second, sizeof second, "%s/epoch-0003-step-000041", s->root);
    snprintf(third, sizeof third, "%s/epoch-0003-step-000042", s->root);
    snprintf(full, sizeof full, "%s/epoch-0003-step-000043", s->root);
    write_whole(s, base, 1, NULL, 0);
    push_few(s, 0);
    write_whole(s, second, 2, base, 1);
    push_few(s, 1);
    write_whole(s, third, 3, base, 1); /* what the second holds, and more */
    write_whole(s, full, 0, NULL, 0);
    assert_in_range(bytes_of(third, "server-0.A.safetensors"), 1, bytes_of(base, "server-0.A.safetensors") / 4);
    assert_int_equal(bytes_of(third, "server-0.B.safetensors"), 0);
    contiguous(map, 2);
    for (int rank = -1; rank < 2; rank++) {
        const SnapshotLoad how = {.restore = RESTORE_RESUME, .slot_map = rank < 0 ? NULL : map, .rank = (uint32_t)rank};
        Store *a = load(s, third, &how), *b = load(s, full, &how);
        snap_assert_same(s, a, b);
        if (rank < 0)
            snap_assert_same(s, a, s->whole);
        store_close(&a);
        store_close(&b);
    }
    snap_close(s);
}

static void a_chain_whose_base_is_gone_is_corrupt(void **state) {
    (void)state;
    Snap *s = snap_open();
    char base[128], second[128], aside[128];
    snprintf(base, sizeof base, "%s/epoch-0003-step-000040", s->root);
    snprintf(second, sizeof second, "%s/epoch-0003-step-000041", s->root);
    snprintf(aside, sizeof aside, "%s/aside", s->root);
    write_whole(s, base, 1, NULL, 0);
    push_few(s, 0);
    write_whole(s, second, 2, base, 1);
    assert_int_equal(rename(base, aside), 0);
    snap_is_corrupt(s, second, "epoch-0003-step-000040");
    snap_close(s);
}

/* ---- a new run ------------------------------------------------------------------------------------------------ */

typedef struct Expected {
    const Store *store;
    const Schema *schema;
    bool has_moments;
    uint64_t n_rows, n_moments;
} Expected;

/* row of the old store; what the new one must have. */
static void expect_row(void *ctx, uint64_t key, const real *row) {
    Expected *x = ctx;
    uint32_t width = x->schema->tables[key_table(key)].width;
    real values[SCHEMA_DENSE_WIDTH];
    store_pull(x->store, &key, 1, values);
    if (schema_tensor_of(x->schema, key_table(key), key_row(key))->kind == TENSOR_SUM) {
        for (uint32_t i = 0; i < width; i++)
            assert_true(values[i] == 0);
        return;
    }
    assert_memory_equal(values, row, width * sizeof *row);
    x->n_rows++;
}

static void expect_moments(void *ctx, uint64_t key, const real *row) {
    Expected *x = ctx;
    uint32_t width = x->schema->tables[key_table(key)].width, n = store_row_reals(x->store, key_table(key));
    for (uint32_t i = width; i < n; i++) {
        assert_true(x->has_moments || row[i] == 0);
        x->n_moments += row[i] != 0;
    }
}

static void a_new_run_takes_rows_and_seed_and_its_moments_on_request(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128];
    snap_write(s, 2, SNAP_EPOCH, dir);
    for (Restore restore = RESTORE_INIT; restore <= RESTORE_INIT_MOMENTS; restore++) {
        Store *store = load(s, dir, &(SnapshotLoad){.restore = restore});
        Expected x = {.store = store, .schema = &s->schema, .has_moments = restore == RESTORE_INIT_MOMENTS};
        visit_all(s, s->whole, expect_row, &x);
        assert_int_equal(store_stats(store).n_rows, x.n_rows);
        visit_all(s, store, expect_moments, &x);
        assert_true((x.n_moments > 0) == x.has_moments);
        uint64_t t = store_stats(store).t[DOMAIN_A], key = key_of(TOY_A, TOY_ITEMS - 1);
        assert_int_equal(t, x.has_moments ? store_stats(s->whole).t[DOMAIN_A] : 0);
        assert_int_equal(store_epoch(store), 0);
        real initial[TOY_WIDTH], got[TOY_WIDTH];
        schema_initial_row_f32(&s->schema, SNAP_SEED, TOY_A, TOY_ITEMS - 1, initial);
        store_pull(store, &key, 1, got); /* a row that nobody has pushed */
        assert_memory_equal(got, initial, sizeof got);
        store_open_epoch(store, 1, (uint32_t[]){5, 5});
        store_close(&store);
    }
    snap_close(s);
}

static void grown(Schema *out, uint32_t n_items) {
    memset(out, 0, sizeof *out);
    schema_add_sparse(out, "item.A", REACHED_BY_A, n_items, TOY_WIDTH, 0.1);
    schema_add_sparse(out, "item.B", REACHED_BY_B, n_items, TOY_WIDTH, 0.1);
    schema_add_sparse(out, "item.shared", REACHED_BY_BOTH, n_items, TOY_WIDTH, 0.1);
    schema_add_dense(out, "probe", REACHED_BY_BOTH, 1, 1, INIT_CONSTANT, 0, false);
    schema_add_sum(out, "loss.A", REACHED_BY_A, 1, 4);
    schema_add_sum(out, "loss.B", REACHED_BY_B, 1, 4);
    schema_finish(out);
}

static void item_tables_may_have_grown_for_a_new_run_alone(void **state) {
    (void)state;
    Snap *s = snap_open();
    static Schema more, fewer;
    char dir[128];
    Store *store;
    grown(&more, TOY_ITEMS + 7);
    grown(&fewer, TOY_ITEMS - 1);
    snap_write(s, 2, SNAP_EPOCH, dir);
    const SnapshotLoad init = {.restore = RESTORE_INIT}, resume = {.restore = RESTORE_RESUME};
    assert_int_equal(load_with(dir, &more, OPTIMIZER_ADAM, &init, &store), OK);
    Expected x = {.store = store, .schema = &more};
    visit_all(s, s->whole, expect_row, &x);
    assert_int_equal(store_stats(store).n_rows, x.n_rows);
    store_close(&store);
    assert_int_equal(load_with(dir, &more, OPTIMIZER_ADAM, &resume, &store), ERR_DATA);
    assert_non_null(strstr(err_message(), "item.A"));
    assert_int_equal(load_with(dir, &fewer, OPTIMIZER_ADAM, &init, &store), ERR_DATA);
    assert_non_null(strstr(err_message(), "item.A"));
    snap_close(s);
}

static void moments_that_were_never_kept_cannot_be_taken_over(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], *files[1];
    uint16_t map[N_SLOTS];
    Store *values = snap_store(s, OPTIMIZER_SGD), *store;
    const uint64_t key = key_of(TOY_A, 3);
    const real row[TOY_WIDTH] = {1, 2, 3};
    store_put(values, key, row);
    snprintf(dir, sizeof dir, "%s/epoch-0003", s->root);
    snap_map(map, 1);
    assert_int_equal(snap_tables(s, values, 0, dir, &files[0]), OK);
    SnapshotFacts facts = snap_facts(s, dir, 1, map, files, snap_manifest());
    assert_int_equal(snapshot_commit(&facts, s->config_text, NULL), OK);
    assert_int_equal(
        load_with(dir, &s->schema, OPTIMIZER_ADAM, &(SnapshotLoad){.restore = RESTORE_INIT_MOMENTS}, &store), ERR_DATA);
    assert_non_null(strstr(err_message(), "server-0.A.safetensors: has no m.A"));
    assert_int_equal(load_with(dir, &s->schema, OPTIMIZER_ADAM, &(SnapshotLoad){.restore = RESTORE_INIT}, &store), OK);
    real got[TOY_WIDTH];
    store_pull(store, &key, 1, got);
    assert_memory_equal(got, row, sizeof got);
    store_close(&store);
    store_close(&values);
    free(files[0]);
    snap_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(servers_of_another_number_load_their_slots_alone_and_all_rows_together),
        cmocka_unit_test(damage_in_other_servers_slots_is_theirs_to_find),
        cmocka_unit_test(a_chain_gives_the_same_bytes_as_a_full_snapshot_of_the_same_cut),
        cmocka_unit_test(a_chain_whose_base_is_gone_is_corrupt),
        cmocka_unit_test(a_new_run_takes_rows_and_seed_and_its_moments_on_request),
        cmocka_unit_test(item_tables_may_have_grown_for_a_new_run_alone),
        cmocka_unit_test(moments_that_were_never_kept_cannot_be_taken_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
