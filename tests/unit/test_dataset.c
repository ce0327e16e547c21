/* Opening a prepared data set: damage and forgery are told in a sentence, whichever file they are in; writing one is
 * all or nothing. link: mg_data */
#include "data_fixture.h"

#include <xxhash.h>

#include "worker/data/datafile.h"

static void expect_refusal(const char *dir, const char *part) {
    Dataset *d;
    assert_int_equal(dataset_open(&d, dir), ERR_DATA);
    assert_null(d);
    if (!strstr(err_message(), part))
        fail_msg("\"%s\" does not say \"%s\"", err_message(), part);
}

static void file_path(char *out, size_t size, const Scratch *s, int file) {
    snprintf(out, size, "%s/%s", s->out, file < N_DATA_FILES ? DATA_FILES[file].name : "manifest.json");
}

static void a_truncated_file_is_refused_at_any_length(void **state) {
    Scratch *s = *state;
    Dataset *d = random_dataset(s, SPLIT_BY_QUANTILE);
    dataset_close(&d);
    for (int file = 0; file < N_DATA_FILES; file++) {
        char path[160];
        size_t size;
        file_path(path, sizeof path, s, file);
        char *bytes = read_bytes(path, &size);
        const size_t lengths[] = {0, 1, 63, 64, 65, size / 2, size - 64, size - 1};
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            write_bytes(path, bytes, lengths[i]);
            expect_refusal(s->out, DATA_FILES[file].name);
        }
        bytes = realloc(bytes, size + 64);
        memset(bytes + size, 0, 64);
        write_bytes(path, bytes, size + 64);
        expect_refusal(s->out, "where its header promises");
        write_bytes(path, bytes, size);
        free(bytes);
    }
}

static void a_flipped_bit_is_refused_in_every_file(void **state) {
    Scratch *s = *state;
    Dataset *d = random_dataset(s, SPLIT_BY_QUANTILE);
    dataset_close(&d);
    for (int file = 0; file < N_DATA_FILES; file++) {
        char path[160];
        size_t size;
        file_path(path, sizeof path, s, file);
        char *bytes = read_bytes(path, &size);
        for (size_t at = 0; at < size; at += at < 64 ? 1 : size / 7 + 1) {
            bytes[at] ^= 4;
            write_bytes(path, bytes, size);
            expect_refusal(s->out, DATA_FILES[file].name);
            bytes[at] ^= 4;
        }
        write_bytes(path, bytes, size);
        free(bytes);
    }
    assert_int_equal(dataset_open(&d, s->out), OK);
    dataset_close(&d);
}

/* Sets a value in a file and mends the checksum in the manifest, as a forger would. */
static void forge(const Scratch *s, int file, size_t at, uint32_t value) {
    char path[160], manifest[160], old_hash[24], new_hash[24];
    size_t size, manifest_size;
    file_path(path, sizeof path, s, file);
    file_path(manifest, sizeof manifest, s, N_DATA_FILES);
    char *bytes = read_bytes(path, &size), *text = read_bytes(manifest, &manifest_size);
    text[manifest_size] = 0;
    snprintf(old_hash, sizeof old_hash, "%016llx", (unsigned long long)XXH3_64bits(bytes, size));
    memcpy(bytes + at, &value, sizeof value);
    snprintf(new_hash, sizeof new_hash, "%016llx", (unsigned long long)XXH3_64bits(bytes, size));
    char *hole = strstr(text, old_hash);
    assert_non_null(hole);
    memcpy(hole, new_hash, 16);
    write_bytes(path, bytes, size);
    write_bytes(manifest, text, manifest_size);
    free(bytes);
    free(text);
}

static void a_forged_offset_is_refused(void **state) {
    Scratch *s = *state;
    Dataset *d;
    for (int i = 0; i < 7; i++) {
        d = random_dataset(s, SPLIT_BY_QUANTILE);
        uint32_t n_chunks = dataset_info(d)->n_chunks, n_users = dataset_info(d)->n_users, n_events;
        (void)dataset_event_items(d, DOMAIN_A, &n_events);
        dataset_close(&d);
        size_t list = 64 + (n_chunks + 1 + 15) / 16 * 64, times = 64 + (n_users + 7) / 8 * (size_t)64;
        const struct {
            int file;
            size_t at;
            const char *part;
        } forgeries[] = {
            {FILE_ITEMS, 64 + 8, "a name has no end"},
            {FILE_USERS, 64 + 8 * 3, "a name has no end"},
            {file_events(DOMAIN_A), 64 + 8, "a user's events lie outside"},
            {file_events(DOMAIN_A), times + (n_events + 7) / 8 * (size_t)64, "an item id is out of range"},
            {file_list(DOMAIN_A, 0), 64 + 4, "its chunks are not as the manifest says"},
            {file_list(DOMAIN_B, 2), list + 8, "an instance lies outside its user's events"},
            {file_targets(DOMAIN_B), 64, "an item id is out of range"},
        };
        forge(s, forgeries[i].file, forgeries[i].at, UINT32_MAX - 7);
        expect_refusal(s->out, forgeries[i].part);
    }
}

static void a_file_of_another_data_set_is_refused(void **state) {
    Scratch *s = *state;
    char path[160];
    size_t size;
    Dataset *d = random_dataset(s, SPLIT_BY_QUANTILE);
    dataset_close(&d);
    file_path(path, sizeof path, s, FILE_USERS);
    char *bytes = read_bytes(path, &size);
    d = random_dataset(s, SPLIT_LEAVE_ONE_OUT);
    dataset_close(&d);
    write_bytes(path, bytes, size);
    expect_refusal(s->out, "belongs to data set");
    write_text(path, "user,item,rating,timestamp, and enough of it that a header would fit into this text file\n");
    expect_refusal(s->out, "its magic number is wrong");
    unlink(path);
    expect_refusal(s->out, "No such file or directory");
    free(bytes);
}

static void a_directory_without_manifest_is_no_data_set(void **state) {
    Scratch *s = *state;
    expect_refusal(s->dir, "is no prepared data set (mangrove prepare makes one)");
    char path[160];
    snprintf(path, sizeof path, "%s/manifest.json", s->dir);
    write_text(path, "{\"format\": 9}");
    expect_refusal(s->dir, "has format 9, this program reads 1: prepare the data again");
}

static void the_same_ratings_give_the_same_bytes(void **state) {
    Scratch *s = *state;
    char *first[N_DATA_FILES + 1], path[160];
    size_t size[N_DATA_FILES + 1], again;
    for (int round = 0; round < 2; round++) {
        Dataset *d = random_dataset(s, SPLIT_BY_QUANTILE);
        dataset_close(&d);
        for (int file = 0; file <= N_DATA_FILES; file++) {
            file_path(path, sizeof path, s, file);
            char *bytes = read_bytes(path, &again);
            if (round == 0) {
                first[file] = bytes;
                size[file] = again;
                continue;
            }
            assert_int_equal(again, size[file]);
            assert_memory_equal(bytes, first[file], again);
            free(bytes);
            free(first[file]);
        }
    }
}

static void an_earlier_data_set_survives_without_force_and_after_a_failure(void **state) {
    Scratch *s = *state;
    PrepareReport report;
    Dataset *d = random_dataset(s, SPLIT_BY_QUANTILE);
    uint64_t fingerprint = dataset_info(d)->fingerprint;
    dataset_close(&d);
    PrepareOptions o = scratch_options(s);
    assert_int_equal(prepare_run(&o, &report), ERR_USAGE);
    assert_non_null(strstr(err_message(), "exists: choose another --out or say --force to replace it"));
    o.force = true;
    o.user_core = 100000;
    assert_int_equal(prepare_run(&o, &report), ERR_DATA);
    assert_int_equal(dataset_open(&d, s->out), OK);
    assert_true(dataset_info(d)->fingerprint == fingerprint);
    dataset_close(&d);
}

static void force_replaces_data_sets_only(void **state) {
    Scratch *s = *state;
    char path[160];
    PrepareReport report;
    write_random_ratings(s->a, 1, 60, 150, 2000);
    write_random_ratings(s->b, 2, 80, 90, 1500);
    assert_int_equal(mkdir(s->out, 0700), 0);
    snprintf(path, sizeof path, "%s/thesis.tex", s->out);
    write_text(path, "dear");
    PrepareOptions o = scratch_options(s);
    o.force = true;
    assert_int_equal(prepare_run(&o, &report), ERR_USAGE);
    assert_non_null(strstr(err_message(), "exists and is no prepared data set"));
    assert_int_equal(access(path, F_OK), 0);
    snprintf(path, sizeof path, "%s/link", s->dir);
    assert_int_equal(symlink(s->out, path), 0);
    o.out_dir = path;
    assert_int_equal(prepare_run(&o, &report), ERR_USAGE);
    assert_non_null(strstr(err_message(), "is a symbolic link: name the directory that it points to"));
}

/* Where the directory cannot be made nothing is left, and the sentence names the place. */
static void an_unwritable_place_is_one_sentence(void **state) {
    Scratch *s = *state;
    char out[160];
    PrepareReport report;
    write_random_ratings(s->a, 1, 60, 150, 2000);
    write_random_ratings(s->b, 2, 80, 90, 1500);
    snprintf(out, sizeof out, "%s/a.csv/out", s->dir);
    PrepareOptions o = scratch_options(s);
    o.out_dir = out;
    assert_int_equal(prepare_run(&o, &report), ERR_IO);
    assert_non_null(strstr(err_message(), "a.csv"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(a_truncated_file_is_refused_at_any_length),
        SCRATCH_TEST(a_flipped_bit_is_refused_in_every_file),
        SCRATCH_TEST(a_forged_offset_is_refused),
        SCRATCH_TEST(a_file_of_another_data_set_is_refused),
        SCRATCH_TEST(a_directory_without_manifest_is_no_data_set),
        SCRATCH_TEST(the_same_ratings_give_the_same_bytes),
        SCRATCH_TEST(an_earlier_data_set_survives_without_force_and_after_a_failure),
        SCRATCH_TEST(force_replaces_data_sets_only),
        SCRATCH_TEST(an_unwritable_place_is_one_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
