/* link: mg_server */
/* Damage of any kind to a snapshot is found before a row is used, and named. */
#include "tests/unit/snapshot_fixture.h"

static size_t file_size(const char *path) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    fclose(f);
    return (size_t)size;
}

static void flip_bit(const char *path, size_t at, int bit) {
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, (long)at, SEEK_SET);
    int byte = fgetc(f);
    fseek(f, (long)at, SEEK_SET);
    fputc(byte ^ 1 << bit, f);
    assert_int_equal(fclose(f), 0);
}

static void a_flipped_bit_is_found_with_its_file_and_block(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], path[256], words[64];
    const char *const files[] = {"server-0.A.safetensors", "server-1.stats.safetensors", "server-0.shared.safetensors"};
    snap_write(s, 2, SNAP_EPOCH, dir);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        size_t size = file_size(path), places[] = {0, 7, size / 3, size / 2, size - 1};
        for (int p = 0; p < 5; p++) {
            snprintf(words, sizeof words, "%s: block %zu of", files[i], places[p] >> 20);
            flip_bit(path, places[p], p);
            snap_is_corrupt(s, dir, words);
            flip_bit(path, places[p], p);
        }
    }
    snprintf(path, sizeof path, "%s/server-0.shared.safetensors", dir);
    assert_true(file_size(path) > 1 << 20); /* so that more than one block was tried */
    snap_close(s);
}

static void a_file_that_is_shorter_longer_or_gone_is_named(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], path[256];
    snap_write(s, 2, SNAP_EPOCH, dir);
    snprintf(path, sizeof path, "%s/server-1.B.safetensors", dir);
    size_t size = file_size(path);
    assert_int_equal(truncate(path, (off_t)size - 1), 0);
    snap_is_corrupt(s, dir, "server-1.B.safetensors: has");
    assert_int_equal(truncate(path, (off_t)size + 1), 0);
    snap_is_corrupt(s, dir, "server-1.B.safetensors: has");
    assert_int_equal(truncate(path, 0), 0);
    snap_is_corrupt(s, dir, "server-1.B.safetensors: has 0 bytes");
    unlink(path);
    snap_is_corrupt(s, dir, "server-1.B.safetensors: the manifest names it, but it is not there");
    snap_close(s);
}

static void files_that_changed_places_are_found(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], a[256], b[256], c[256];
    snap_write(s, 2, SNAP_EPOCH, dir);
    snprintf(a, sizeof a, "%s/server-0.A.safetensors", dir);
    snprintf(b, sizeof b, "%s/server-1.A.safetensors", dir);
    snprintf(c, sizeof c, "%s/kept", dir);
    assert_int_equal(rename(a, c) | rename(b, a) | rename(c, b), 0);
    snap_is_corrupt(s, dir, "server-0.A.safetensors: ");
    snap_close(s);
}

static void a_manifest_with_any_byte_changed_is_refused(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], path[256];
    Snapshot *snapshot;
    snap_write(s, 2, SNAP_EPOCH, dir);
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    size_t size = file_size(path);
    for (size_t at = 0; at<size; at += at + 60> size ? 1 : 53) {
        flip_bit(path, at, (int)(at % 8));
        assert_int_equal(snapshot_open(&snapshot, dir), ERR_CORRUPT);
        assert_non_null(strstr(err_message(), "manifest.json"));
        assert_null(snapshot);
        flip_bit(path, at, (int)(at % 8));
    }
    assert_int_equal(snapshot_open(&snapshot, dir), OK); /* all is as before */
    snapshot_close(&snapshot);
    for (size_t left = size - 1; left > 0; left = left > 100 ? left / 2 : left - 1) {
        assert_int_equal(truncate(path, (off_t)left), 0);
        assert_int_equal(snapshot_open(&snapshot, dir), ERR_CORRUPT);
    }
    snap_close(s);
}

/* Hashes are right here: a server wrote rows of slots that the map gives to another. */
static void rows_of_another_servers_slots_are_refused(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], *files[2];
    uint16_t map[N_SLOTS], other[N_SLOTS];
    snprintf(dir, sizeof dir, "%s/epoch-0003", s->root);
    snap_map(map, 2);
    for (int slot = 0; slot < N_SLOTS; slot++)
        other[slot] = 1 - map[slot];
    for (uint16_t i = 0; i < 2; i++) {
        Store *part = snap_part(s, map, i);
        assert_int_equal(snap_tables(s, part, i, dir, &files[i]), OK);
        store_close(&part);
    }
    SnapshotFacts facts = snap_facts(s, dir, 2, other, files, snap_manifest());
    assert_int_equal(snapshot_commit(&facts, s->config_text, NULL), OK);
    snap_is_corrupt(s, dir, "which is server 1's");
    free(files[0]);
    free(files[1]);
    snap_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_bit_is_found_with_its_file_and_block),
        cmocka_unit_test(a_file_that_is_shorter_longer_or_gone_is_named),
        cmocka_unit_test(files_that_changed_places_are_found),
        cmocka_unit_test(a_manifest_with_any_byte_changed_is_refused),
        cmocka_unit_test(rows_of_another_servers_slots_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
