/* link: mg_server */
/* What tools read of a snapshot: every row of every server, merged in the order of ids. */
#include "server/snapshot_rows.h"
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_any_number_of_servers_are_merged),
        cmocka_unit_test(ids_ascend_and_absent_ones_are_not_found),
        cmocka_unit_test(columns_have_the_names_of_their_tensors),
        cmocka_unit_test(an_unknown_table_is_an_error_that_names_the_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
