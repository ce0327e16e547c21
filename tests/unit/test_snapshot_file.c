/* link: mg_server */
/* Files written in any order hold what was put, hashed block by block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/files.h"
#include "common/log.h"
#include "common/rng.h"
#include "server/snapshot/snapshot_file.h"

static char root[] = "/tmp/test_snapshot_file_XXXXXX";
static SnapshotDisk *disk;

static const char *path_of(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

static int make_root(void **state) {
    (void)state;
    return snapshot_disk_open(&disk) == OK && mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state) {
    (void)state;
    snapshot_disk_close(&disk);
    return rmdir(root); /* fails where a test has left a file */
}

static unsigned char *random_bytes(size_t n, Rng *r) {
    unsigned char *bytes = must_alloc(n + 1);
    for (size_t i = 0; i < n; i++)
        bytes[i] = (unsigned char)rng_u32(r);
    return bytes;
}

/* Puts the file in pieces of these many bytes, shuffled, and compares what is there. */
static void check_file(size_t size, size_t piece, Rng *r) {
    SnapshotFile f;
    char *found;
    size_t n_found;
    uint32_t n_pieces = (uint32_t)((size + piece - 1) / piece), *order = must_alloc((n_pieces + 1) * sizeof *order);
    unsigned char *bytes = random_bytes(size, r);
    for (uint32_t i = 0; i < n_pieces; i++)
        order[i] = i;
    rng_shuffle(r, order, n_pieces);
    assert_int_equal(snapshot_file_create(&f, disk, path_of("x"), size), OK);
    for (uint32_t i = 0; i < n_pieces; i++) {
        size_t at = order[i] * piece;
        snapshot_file_put(&f, at, bytes + at, size - at < piece ? size - at : piece);
    }
    assert_int_equal(snapshot_file_finish(&f), OK);
    assert_int_equal(access(path_of("x"), F_OK), -1); /* not before the commit */
    assert_int_equal(snapshot_file_commit(&f), OK);
    assert_int_equal(read_file(path_of("x"), size, &found, &n_found), OK);
    assert_int_equal(n_found, size);
    assert_memory_equal(found, bytes, size);
    assert_int_equal(f.n_blocks, snapshot_file_blocks(size));
    for (uint64_t i = 0; i < f.n_blocks; i++) {
        size_t at = i * SNAPSHOT_BLOCK, n = size - at < SNAPSHOT_BLOCK ? size - at : SNAPSHOT_BLOCK;
        assert_int_equal(f.hashes[i], XXH3_64bits(bytes + at, n));
    }
    assert_int_equal(snapshot_file_verify(path_of("x"), size, f.hashes), OK);
    snapshot_file_free(&f);
    assert_int_equal(unlink(path_of("x")), 0);
    free(order);
    free(bytes);
    free(found);
}

static void pieces_in_any_order_make_the_file(void **state) {
    (void)state;
    Rng r = rng_stream(1, RNG_TEST, 0, 0);
    const size_t sizes[] = {0, 1, SNAPSHOT_BLOCK - 1, SNAPSHOT_BLOCK, SNAPSHOT_BLOCK + 1, 5 * SNAPSHOT_BLOCK + 12345};
    const size_t pieces[] = {4099, 160000, SNAPSHOT_BLOCK, 3 * SNAPSHOT_BLOCK};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++)
            check_file(sizes[i], pieces[p], &r);
}

/* Columns that advance together: a block for each, and one for each place where two of them meet. */
static void memory_is_a_block_for_each_column_and_boundary(void **state) {
    (void)state;
    enum { COLUMNS = 4, ROWS = 20000, WIDTH = 160 };
    SnapshotFile f;
    const unsigned char row[WIDTH] = {7};
    assert_int_equal(snapshot_file_create(&f, disk, path_of("x"), (uint64_t)COLUMNS * ROWS * WIDTH), OK);
    for (uint64_t i = 0; i < ROWS; i++)
        for (uint64_t c = 0; c < COLUMNS; c++) {
            snapshot_file_put(&f, (c * ROWS + i) * WIDTH, row, WIDTH);
            assert_in_range(f.n_open, 0, COLUMNS + COLUMNS - 1);
        }
    assert_int_equal(f.n_open, 0);
    assert_int_equal(snapshot_file_finish(&f), OK);
    assert_int_equal(snapshot_file_commit(&f), OK);
    snapshot_file_free(&f);
    assert_int_equal(unlink(path_of("x")), 0);
}

static int count_files(void) {
    int n = 0;
    DIR *d = opendir(root);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));)
        n += entry->d_name[0] != '.';
    closedir(d);
    return n;
}

/* As of a server that does not know yet that its run has ended, and the one of the run that goes on. */
static void two_writers_of_a_name_do_not_touch_each_others_bytes(void **state) {
    (void)state;
    SnapshotFile late, f;
    char *found;
    size_t n_found;
    assert_int_equal(snapshot_file_create(&late, disk, path_of("x"), 4), OK);
    assert_int_equal(snapshot_file_create(&f, disk, path_of("x"), 2), OK);
    snapshot_file_put(&f, 0, "ab", 2);
    snapshot_file_put(&late, 0, "late", 4);
    assert_int_equal(snapshot_file_finish(&late), OK);
    assert_int_equal(snapshot_file_finish(&f), OK);
    assert_int_equal(snapshot_file_commit(&f), OK);
    snapshot_file_free(&late);
    assert_int_equal(read_file(path_of("x"), 9, &found, &n_found), OK);
    assert_string_equal(found, "ab");
    assert_int_equal(count_files(), 1);
    snapshot_file_free(&f);
    free(found);
    assert_int_equal(unlink(path_of("x")), 0);
}

static void what_is_not_committed_is_gone(void **state) {
    (void)state;
    SnapshotFile f;
    assert_int_equal(snapshot_file_create(&f, disk, path_of("x"), 3), OK);
    assert_int_equal(count_files(), 1);
    snapshot_file_put(&f, 0, "ab", 2);
    snapshot_file_free(&f);
    assert_int_equal(count_files(), 0);
    assert_int_equal(snapshot_file_create(&f, disk, path_of("x"), 2), OK);
    snapshot_file_put(&f, 0, "ab", 2);
    assert_int_equal(snapshot_file_finish(&f), OK);
    assert_int_equal(count_files(), 1);
    snapshot_file_free(&f);
    assert_int_equal(count_files(), 0);
    assert_int_equal(snapshot_file_create(&f, disk, path_of("no/such/directory"), 3), ERR_IO);
    snapshot_file_free(&f); /* of one that was never created */
}

#ifndef MANGROVE_SANITIZED /* a sanitizer needs memory of its own */
/* A snapshot is no reason for a server to end. */
static void without_memory_it_fails_and_the_process_lives(void **state) {
    (void)state;
    SnapshotFile f;
    SnapshotDisk *other;
    struct rlimit before, none;
    unsigned char byte = 1;
    assert_int_equal(snapshot_file_create(&f, disk, path_of("x"), 64 * SNAPSHOT_BLOCK), OK);
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    none = (struct rlimit){.rlim_cur = 1 << 20, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
    Err err = snapshot_disk_open(&other);
    for (uint64_t i = 0; i < 64; i++) /* more than there are unused buffers */
        snapshot_file_put(&f, i * SNAPSHOT_BLOCK, &byte, 1);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(err, ERR_MEMORY);
    assert_null(other);
    assert_true(snapshot_file_has_failed(&f));
    assert_int_equal(snapshot_file_finish(&f), ERR_IO);
    assert_non_null(strstr(err_message(), "Cannot allocate memory"));
    snapshot_file_free(&f);
    assert_int_equal(count_files(), 0);
}
#endif

static void a_file_that_cannot_be_renamed_leaves_nothing(void **state) {
    (void)state;
    SnapshotFile f;
    assert_int_equal(make_directories(path_of("x/full")), OK); /* a directory is in the way */
    assert_int_equal(snapshot_file_create(&f, disk, path_of("x"), 2), OK);
    snapshot_file_put(&f, 0, "ab", 2);
    assert_int_equal(snapshot_file_finish(&f), OK);
    assert_int_equal(snapshot_file_commit(&f), ERR_IO);
    assert_non_null(strstr(err_message(), "cannot rename"));
    assert_int_equal(count_files(), 1); /* the directory */
    snapshot_file_free(&f);
    assert_int_equal(rmdir(path_of("x/full")), 0);
    assert_int_equal(rmdir(path_of("x")), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_in_any_order_make_the_file),
        cmocka_unit_test(memory_is_a_block_for_each_column_and_boundary),
        cmocka_unit_test(two_writers_of_a_name_do_not_touch_each_others_bytes),
        cmocka_unit_test(what_is_not_committed_is_gone),
#ifndef MANGROVE_SANITIZED
        cmocka_unit_test(without_memory_it_fails_and_the_process_lives),
#endif
        cmocka_unit_test(a_file_that_cannot_be_renamed_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
