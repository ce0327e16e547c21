/* link: mg_server */
/* Whatever happens to a snapshot on the disk, verify finds and names it, and no reader uses a row of it. */
#include <sys/stat.h>

#include "server/snapshot/snapshot_list.h"
#include "server/snapshot/snapshot_manifest.h"
#include "server/snapshot/snapshot_rows.h"
#include "server/snapshot/snapshot_verify.h"
#include "tests/unit/snapshot_fixture.h"

static size_t file_size(const char *path) {
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (size_t)st.st_size;
}

static void flip_bit(const char *path, size_t at, int bit) {
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    int byte = fgetc(f);
    assert_int_equal(fseek(f, (long)at, SEEK_SET), 0);
    fputc(byte ^ 1 << bit, f);
    assert_int_equal(fclose(f), 0);
}

static void write_evaluation(const Snap *s, const char *dir) {
    EpochResult result = {.epoch = SNAP_EPOCH, .data_loss = {1.5, 0.25}, .n_steps = {40, 23}, .best_epoch = {3, 1}};
    assert_int_equal(snapshot_write_evaluation(dir, &result, &s->config), OK);
}

static void assert_whole(const char *dir, size_t n_files) {
    SnapshotCheck check;
    snapshot_verify(&check, dir, NULL, 0);
    if (check.verdict != OK)
        fail_msg("%s", check.faults[0]);
    assert_int_equal(check.n_faults, 0);
    assert_int_equal(check.n_files, n_files);
    snapshot_check_free(&check);
}

/* One fault, whose sentence has these words. */
static void assert_fault(const char *dir, const char *words) {
    SnapshotCheck check;
    snapshot_verify(&check, dir, NULL, 0);
    if (check.verdict != ERR_CORRUPT || check.n_faults != 1 || !strstr(check.faults[0], words))
        fail_msg("expected \"%s\", got %zu faults, %s", words, check.n_faults,
                 check.n_faults ? check.faults[0] : "none");
    snapshot_check_free(&check);
}

/* ---- flipped bits --------------------------------------------------------------------------------------------- */

/* Neither the reader of rows nor the loader gives out one of them. */
static void assert_no_row_is_used(const Snap *s, const Snapshot *snapshot, const SnapshotEntry *file) {
    SnapshotRows *rows;
    Store *store = snap_store(s, OPTIMIZER_ADAM);
    assert_int_equal(snapshot_rows_open(&rows, snapshot, file->table), ERR_CORRUPT);
    assert_null(rows);
    assert_int_equal(snapshot_load(snapshot, &s->schema, store), ERR_CORRUPT);
    assert_non_null(strstr(err_message(), file->file));
    assert_int_equal(store_stats(store).n_rows, 0);
    store_close(&store);
}

enum { N_POSITIONS = 1000 };

static void a_bit_flipped_anywhere_is_named_with_file_and_block_and_no_row_is_used(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], words[160];
    Snapshot *snapshot;
    snap_write(s, 2, SNAP_EPOCH, dir);
    assert_int_equal(snapshot_open(&snapshot, dir), OK);
    Rng r = rng_stream(SNAP_SEED, RNG_TEST, 1, 0);
    for (size_t i = 0; i < N_POSITIONS; i++) {
        const SnapshotEntry *file = &snapshot->files[i % snapshot->n_files];
        char *path = snapshot_path(dir, file->file);
        size_t at = rng_below(&r, (uint32_t)file->size);
        int bit = (int)rng_below(&r, 8);
        flip_bit(path, at, bit);
        snprintf(words, sizeof words, "%s: block %zu of", file->file, at >> 20);
        assert_fault(dir, words);
        assert_no_row_is_used(s, snapshot, file);
        flip_bit(path, at, bit);
        free(path);
    }
    assert_whole(dir, snapshot->n_files + 1);
    snapshot_close(&snapshot);
    snap_close(s);
}

static void a_bit_flipped_in_any_byte_of_the_manifest_is_found(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128];
    SnapshotCheck check;
    snap_write(s, 2, SNAP_EPOCH, dir);
    char *path = snapshot_path(dir, "manifest.json");
    size_t size = file_size(path);
    for (size_t at = 0; at < size; at++) {
        flip_bit(path, at, (int)(at % 8));
        snapshot_verify(&check, dir, NULL, 0);
        if (check.verdict != ERR_CORRUPT || !strstr(check.faults[0], "manifest.json"))
            fail_msg("byte %zu of %zu", at, size);
        snapshot_check_free(&check);
        flip_bit(path, at, (int)(at % 8));
    }
    free(path);
    snap_close(s);
}

static void several_damaged_blocks_are_counted(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], path[256];
    snap_write(s, 1, SNAP_EPOCH, dir);
    snprintf(path, sizeof path, "%s/server-0.shared.safetensors", dir);
    assert_true(file_size(path) > 2 << 20);
    for (size_t block = 0; block < 3; block++)
        flip_bit(path, block << 20, 3);
    assert_fault(dir, "server-0.shared.safetensors: block 0 of 3 does not have the hash of the manifest, nor do 2 ");
    snap_close(s);
}

/* ---- files ---------------------------------------------------------------------------------------------------- */

static void a_file_that_is_shorter_longer_empty_or_gone_is_named(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], path[256];
    snap_write(s, 2, SNAP_EPOCH, dir);
    snprintf(path, sizeof path, "%s/server-1.B.safetensors", dir);
    size_t size = file_size(path);
    const size_t sizes[] = {size - 1, size + 1, 0};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(truncate(path, (off_t)sizes[i]), 0);
        assert_fault(dir, "server-1.B.safetensors: has ");
    }
    unlink(path);
    assert_fault(dir, "server-1.B.safetensors: the manifest names it, but it is not there");
    snap_close(s);
}

/* The dense rows of two epochs: files of the same size, rows and name. */
static void files_of_one_size_that_changed_places_are_both_named(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dirs[2][128], paths[2][256], kept[256];
    for (uint32_t i = 0; i < 2; i++) {
        Rng r = rng_stream(SNAP_SEED, RNG_TEST, 2, i);
        snap_push(s, DOMAIN_A, 2 * i + 1, &r);
        snap_write(s, 1, SNAP_EPOCH + i, dirs[i]);
        snprintf(paths[i], sizeof paths[i], "%s/server-0.dense_shared.safetensors", dirs[i]);
    }
    assert_int_equal(file_size(paths[0]), file_size(paths[1]));
    snprintf(kept, sizeof kept, "%s/kept", s->root);
    assert_int_equal(rename(paths[0], kept) | rename(paths[1], paths[0]) | rename(kept, paths[1]), 0);
    for (int i = 0; i < 2; i++)
        assert_fault(dirs[i], "server-0.dense_shared.safetensors: block 0 of 1");
    snap_close(s);
}

static void every_damaged_file_is_listed(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], path[256];
    SnapshotCheck check;
    static const char *const NAMES[] = {"server-0.A.safetensors", "server-1.shared.safetensors",
                                        "server-1.stats.safetensors"};
    snap_write(s, 2, SNAP_EPOCH, dir);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, NAMES[i]);
        flip_bit(path, file_size(path) / 2, i);
    }
    snapshot_verify(&check, dir, NULL, 0);
    assert_int_equal(check.verdict, ERR_CORRUPT);
    assert_int_equal(check.n_faults, 3);
    for (int i = 0; i < 3; i++)
        assert_non_null(strstr(check.faults[i], NAMES[i]));
    snapshot_check_free(&check);
    snap_close(s);
}

/* ---- evaluation.json ------------------------------------------------------------------------------------------ */

static void an_evaluation_that_is_damaged_or_of_another_manifest_is_found(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], other[128], path[256], other_path[256];
    snap_write(s, 1, SNAP_EPOCH, dir);
    snap_write(s, 1, SNAP_EPOCH + 1, other);
    snprintf(path, sizeof path, "%s/evaluation.json", dir);
    snprintf(other_path, sizeof other_path, "%s/evaluation.json", other);
    write_evaluation(s, dir);
    assert_whole(dir, 7);
    write_evaluation(s, other);
    assert_int_equal(rename(other_path, path), 0);
    assert_fault(dir, "evaluation.json: belongs to the manifest with the hash");
    assert_whole(other, 6);
    write_evaluation(s, dir);
    size_t size = file_size(path);
    for (size_t at = 0; at < size; at += 7) { /* reading the rows each time is what takes time */
        flip_bit(path, at, (int)(at % 8));
        assert_fault(dir, "evaluation.json: ");
        flip_bit(path, at, (int)(at % 8));
    }
    assert_int_equal(truncate(path, (off_t)size - 3), 0);
    assert_fault(dir, "evaluation.json: ");
    snap_close(s);
}

/* ---- runs ----------------------------------------------------------------------------------------------------- */

static void a_runs_snapshots_come_in_the_order_of_training(void **state) {
    (void)state;
    static const char *const MADE[] = {"epoch-0002", "epoch-0002-step-000100", "epoch-0010", "epoch-0002-step-000020"};
    static const char *const WANT[] = {"epoch-0002-step-000020", "epoch-0002-step-000100", "epoch-0002", "epoch-0010"};
    static const char *const IGNORED[] = {"epoch-7", "epoch-0003.damaged", "notes"};
    Snap *s = snap_open();
    char path[256];
    SnapshotList list;
    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/snapshots/%s", s->root, MADE[i]);
        assert_int_equal(make_directories(path), OK);
        snprintf(path, sizeof path, "%s/snapshots/%s/manifest.json", s->root, MADE[i]);
        assert_int_equal(write_file_durably(path, "x", 1), OK);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/snapshots/%s", s->root, IGNORED[i]);
        assert_int_equal(make_directories(path), OK);
    }
    snprintf(path, sizeof path, "%s/snapshots/epoch-0011", s->root);
    assert_int_equal(make_directories(path), OK);
    assert_int_equal(snapshot_list(&list, s->root), OK);
    assert_true(list.is_run);
    assert_int_equal(list.n, 4);
    assert_int_equal(list.n_unfinished, 1);
    for (int i = 0; i < 4; i++)
        assert_string_equal(strrchr(list.at[i].dir, '/') + 1, WANT[i]);
    snapshot_list_free(&list);
    snap_close(s);
}

static void a_snapshot_whose_manifest_is_lost_is_corrupt_and_another_directory_is_none(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], path[256];
    SnapshotList list;
    snap_write(s, 1, SNAP_EPOCH, dir);
    assert_int_equal(snapshot_list(&list, dir), OK);
    assert_true(list.n == 1 && !list.is_run);
    snapshot_list_free(&list);
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    unlink(path);
    assert_int_equal(snapshot_list(&list, dir), ERR_CORRUPT);
    assert_int_equal(snapshot_list(&list, s->root), ERR_IO);
    assert_non_null(strstr(err_message(), "neither a snapshot"));
    snap_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bit_flipped_anywhere_is_named_with_file_and_block_and_no_row_is_used),
        cmocka_unit_test(a_bit_flipped_in_any_byte_of_the_manifest_is_found),
        cmocka_unit_test(several_damaged_blocks_are_counted),
        cmocka_unit_test(a_file_that_is_shorter_longer_empty_or_gone_is_named),
        cmocka_unit_test(files_of_one_size_that_changed_places_are_both_named),
        cmocka_unit_test(every_damaged_file_is_listed),
        cmocka_unit_test(an_evaluation_that_is_damaged_or_of_another_manifest_is_found),
        cmocka_unit_test(a_runs_snapshots_come_in_the_order_of_training),
        cmocka_unit_test(a_snapshot_whose_manifest_is_lost_is_corrupt_and_another_directory_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
