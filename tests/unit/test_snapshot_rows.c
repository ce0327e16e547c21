/* link: mg_server */
/* What tools read of a snapshot: every row of every server, merged in the order of ids. */
#include "server/snapshot/snapshot_manifest.h"
#include "server/snapshot/snapshot_rows.h"
#include "server/snapshot/snapshot_verify.h"
#include "tests/unit/snapshot_fixture.h"

static SnapshotRows *open_rows(const char *dir, const char *table) {
    Snapshot *snapshot;
    SnapshotRows *rows;
    assert_int_equal(snapshot_open(&snapshot, dir), OK);
    if (snapshot_rows_open(&rows, snapshot, table) != OK)
        fail_msg("%s", err_message());
    snapshot_close(&snapshot); /* rows outlive it */
    return rows;
}

typedef struct Comparison {
    const SnapshotRows *rows;
    uint64_t n;
} Comparison;

static void compare_row(void *ctx, uint64_t key, const real *want) {
    Comparison *c = ctx;
    SnapshotRow row;
    uint32_t width = snapshot_rows_width(c->rows);
    assert_true(snapshot_rows_find(c->rows, key_row(key), &row));
    assert_int_equal(row.id, key_row(key));
    for (uint32_t i = 0; i < snapshot_rows_columns(c->rows); i++)
        assert_memory_equal(row.columns[i], want + (size_t)i * width, width * sizeof *want);
    c->n++;
}

/* The rows of this store, no more and no fewer. */
static void assert_rows_of(const Snap *s, const Store *store, const char *dir) {
    for (int table = 0; table < s->schema.n_tables; table++) {
        Comparison c = {.rows = open_rows(dir, s->schema.tables[table].name)};
        assert_int_equal(snapshot_rows_width(c.rows), s->schema.tables[table].width);
        for (uint32_t slot = 0; slot < N_SLOTS; slot++)
            store_visit(store, table, slot, compare_row, &c);
        assert_int_equal(snapshot_rows_count(c.rows), c.n);
        if (c.n)
            assert_int_equal(snapshot_rows_columns(c.rows),
                             store_row_reals(store, table) / s->schema.tables[table].width);
        snapshot_rows_close((SnapshotRows **)&c.rows);
    }
}

static void rows_of_any_number_of_servers_are_merged(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128];
    for (uint32_t n_servers = 1; n_servers <= SNAP_MAX_SERVERS; n_servers++) {
        snap_write(s, n_servers, n_servers, dir);
        assert_rows_of(s, s->whole, dir);
    }
    snap_close(s);
}

static void ids_ascend_and_absent_ones_are_not_found(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128];
    SnapshotRow row, found;
    snap_write(s, 3, SNAP_EPOCH, dir);
    SnapshotRows *rows = open_rows(dir, "A");
    uint64_t n = snapshot_rows_count(rows), next = 0, n_absent = 0;
    assert_true(n > SNAP_KEYS / 4);
    for (uint64_t i = 0; i < n; i++) {
        snapshot_rows_at(rows, i, &row);
        assert_true(row.id >= next);
        for (; next < row.id; next++, n_absent++)
            assert_false(snapshot_rows_find(rows, next, &found));
        next = row.id + 1;
    }
    assert_true(n_absent > 0);
    assert_false(snapshot_rows_find(rows, next, &found));
    assert_false(snapshot_rows_find(rows, UINT64_MAX, &found));
    snapshot_rows_close(&rows);
    snap_close(s);
}

static void columns_have_the_names_of_their_tensors(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128];
    static const struct {
        const char *table, *names[SNAPSHOT_MAX_COLUMNS];
    } CASES[] = {{"A", {"values", "m.A", "v.A"}},
                 {"B", {"values", "m.B", "v.B"}},
                 {"shared", {"values", "m.A", "v.A", "m.B", "v.B"}}};
    snap_write(s, 2, SNAP_EPOCH, dir);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        SnapshotRows *rows = open_rows(dir, CASES[i].table);
        for (uint32_t c = 0; c < snapshot_rows_columns(rows); c++)
            assert_string_equal(snapshot_rows_column_name(rows, c), CASES[i].names[c]);
        snapshot_rows_close(&rows);
    }
    snap_close(s);
}

static void an_unknown_table_is_an_error_that_names_the_known(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128];
    Snapshot *snapshot;
    SnapshotRows *rows;
    snap_write(s, 1, SNAP_EPOCH, dir);
    assert_int_equal(snapshot_open(&snapshot, dir), OK);
    assert_int_equal(snapshot_rows_open(&rows, snapshot, "a"), ERR_DATA);
    assert_null(rows);
    assert_non_null(strstr(err_message(), "A, B, shared"));
    snapshot_close(&snapshot);
    snap_close(s);
}

/* ---- chains --------------------------------------------------------------------------------------------------- */

/* A full snapshot of cut 7, then more steps, an incremental one of what they touched, and a full one of the same rows.
 */
static void write_chain(Snap *s, char full[128], char incremental[128], char same[128]) {
    char *files;
    uint16_t map[N_SLOTS] = {0};
    snprintf(full, 128, "%s/epoch-0001", s->root);
    snprintf(incremental, 128, "%s/epoch-0002", s->root);
    snprintf(same, 128, "%s/epoch-0003", s->root);
    Rng r = rng_stream(SNAP_SEED, RNG_TEST, 3, 0);
    char *const dirs[] = {full, incremental, same};
    for (int i = 0; i < 3; i++) {
        StoreCut *cut = store_cut_begin(s->whole, i == 1, SIZE_MAX);
        assert_int_equal(snapshot_write_tables(cut, &s->schema, 0, dirs[i], NULL, &files), OK);
        store_cut_end(&cut, i == 0);
        SnapshotFacts facts = snap_facts(s, dirs[i], 1, map, &files, snap_manifest());
        facts.cut = 7 + (uint64_t)i;
        facts.base_dir = i == 1 ? full : NULL;
        facts.base_cut = i == 1 ? 7 : 0;
        if (snapshot_commit(&facts, s->config_text, NULL) != OK)
            fail_msg("%s", err_message());
        free(files);
        if (i == 0)
            snap_push(s, DOMAIN_A, 1, &r);
    }
}

static uint64_t written_rows(const char *dir) {
    Snapshot *s;
    uint64_t n = 0;
    assert_int_equal(snapshot_open(&s, dir), OK);
    for (size_t i = 0; i < s->n_files; i++)
        n += s->files[i].rows;
    snapshot_close(&s);
    return n;
}

static void an_incremental_snapshot_gives_the_rows_of_a_full_one(void **state) {
    (void)state;
    Snap *s = snap_open();
    char full[128], incremental[128], same[128];
    write_chain(s, full, incremental, same);
    assert_true(written_rows(incremental) < written_rows(same));
    assert_rows_of(s, s->whole, incremental);
    assert_rows_of(s, s->whole, same);
    snap_close(s);
}

/* Rows of the incremental snapshot are refused, and so is its verification. */
static void assert_broken(const char *dir, const char *words) {
    Snapshot *snapshot;
    SnapshotRows *rows;
    SnapshotCheck check;
    assert_int_equal(snapshot_open(&snapshot, dir), OK);
    assert_int_equal(snapshot_rows_open(&rows, snapshot, "A"), ERR_CORRUPT);
    assert_null(rows);
    if (!strstr(err_message(), words))
        fail_msg("expected \"%s\", got \"%s\"", words, err_message());
    snapshot_verify(&check, dir, NULL, 0);
    assert_int_equal(check.verdict, ERR_CORRUPT);
    assert_non_null(strstr(check.faults[0], words));
    snapshot_check_free(&check);
    snapshot_close(&snapshot);
}

static void a_base_that_is_damaged_exchanged_or_gone_is_found(void **state) {
    (void)state;
    Snap *s = snap_open();
    char full[128], incremental[128], same[128], path[256], kept[128];
    SnapshotCheck check;
    write_chain(s, full, incremental, same);
    snapshot_verify(&check, incremental, NULL, 0);
    assert_int_equal(check.verdict, OK);
    assert_string_equal(check.base, full);
    snapshot_check_free(&check);

    snprintf(path, sizeof path, "%s/server-0.A.safetensors", full);
    assert_int_equal(truncate(path, 1000), 0);
    assert_broken(incremental, "epoch-0001/server-0.A.safetensors: has 1000 bytes");
    snprintf(kept, sizeof kept, "%s/kept", s->root);
    assert_int_equal(rename(full, kept) | rename(same, full), 0);
    assert_broken(incremental, "epoch-0001: is not the full snapshot that");
    assert_int_equal(rename(full, same), 0);
    assert_broken(incremental, "epoch-0001: the full snapshot that");
    snap_close(s);
}

/* Within a run each base is read once: its verdict holds for all that go on from it. */
static void a_base_that_was_verified_is_not_read_again(void **state) {
    (void)state;
    Snap *s = snap_open();
    char full[128], incremental[128], same[128], path[256];
    SnapshotCheck base, check;
    write_chain(s, full, incremental, same);
    snapshot_verify(&base, full, NULL, 0);
    snprintf(path, sizeof path, "%s/server-0.A.safetensors", full);
    assert_int_equal(truncate(path, 1000), 0);
    snapshot_verify(&check, incremental, &base, 1);
    assert_int_equal(check.verdict, OK);
    snapshot_check_free(&check);
    snapshot_check_free(&base);
    snapshot_verify(&base, full, NULL, 0);
    snapshot_verify(&check, incremental, &base, 1);
    assert_int_equal(check.verdict, ERR_CORRUPT);
    assert_string_equal(check.faults[0], base.faults[0]);
    snapshot_check_free(&check);
    snapshot_check_free(&base);
    snap_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_any_number_of_servers_are_merged),
        cmocka_unit_test(ids_ascend_and_absent_ones_are_not_found),
        cmocka_unit_test(columns_have_the_names_of_their_tensors),
        cmocka_unit_test(an_unknown_table_is_an_error_that_names_the_known),
        cmocka_unit_test(an_incremental_snapshot_gives_the_rows_of_a_full_one),
        cmocka_unit_test(a_base_that_is_damaged_exchanged_or_gone_is_found),
        cmocka_unit_test(a_base_that_was_verified_is_not_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
