/* link: mg_server */
/* Snapshots: what was written comes back from any number of servers, and what was not committed is none. */
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>

#include "server/snapshot/snapshot_prune.h"
#include "tests/unit/snapshot_fixture.h"

/* Only a directory without a manifest is written into. */
static void unlink_manifest(const char *dir) {
    char path[256];
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    assert_int_equal(unlink(path), 0);
}

static void rows_and_state_come_back_from_any_number_of_servers(void **state) {
    (void)state;
    Snap *s = snap_open();
    for (uint32_t n_servers = 1; n_servers <= SNAP_MAX_SERVERS; n_servers++) {
        char dir[128];
        Store *back = snap_store(s, OPTIMIZER_ADAM);
        snap_write(s, n_servers, SNAP_EPOCH, dir);
        if (snap_load(s, dir, back) != OK)
            fail_msg("%s", err_message());
        snap_assert_same(s, s->whole, back);
        store_close(&back);
        unlink_manifest(dir);
    }
    snap_close(s);
}

static void the_manifest_gives_configuration_and_data_back(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128];
    Snapshot *snapshot;
    snap_write(s, 2, SNAP_EPOCH, dir);
    assert_int_equal(snapshot_open(&snapshot, dir), OK);
    assert_int_equal(snapshot_epoch(snapshot), SNAP_EPOCH);
    assert_string_equal(snapshot_config_text(snapshot), s->config_text);
    assert_int_equal(snapshot_config(snapshot)->train.seed, SNAP_SEED);
    assert_int_equal(snapshot_data(snapshot)->fingerprint, 0xab);
    assert_int_equal(snapshot_data(snapshot)->n_items, TOY_ITEMS);
    snapshot_close(&snapshot);
    snap_close(s);
}

static void the_same_facts_give_the_same_bytes(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], path[256], *first, *second;
    size_t n_first, n_second;
    snap_write(s, 2, SNAP_EPOCH, dir);
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    assert_int_equal(read_file(path, 1 << 24, &first, &n_first), OK);
    unlink_manifest(dir);
    snap_write(s, 2, SNAP_EPOCH, dir);
    assert_int_equal(read_file(path, 1 << 24, &second, &n_second), OK);
    assert_string_equal(first, second);
    free(first);
    free(second);
    snap_close(s);
}

static void compare_values(void *ctx, uint64_t key, const real *row) {
    const Store *store = ctx;
    real got[SCHEMA_DENSE_WIDTH];
    store_pull(store, &key, 1, got);
    assert_memory_equal(got, row,
                        key_table(key) < TOY_DENSE_SHARED ? TOY_WIDTH * sizeof *row : SCHEMA_DENSE_WIDTH * sizeof *row);
}

static void a_store_without_moments_takes_the_values(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128];
    Store *values = snap_store(s, OPTIMIZER_SGD);
    snap_write(s, 2, SNAP_EPOCH, dir);
    assert_int_equal(snap_load(s, dir, values), OK);
    assert_int_equal(store_row_reals(values, TOY_SHARED), TOY_WIDTH);
    for (int table = 0; table < s->schema.n_tables; table++)
        for (uint32_t slot = 0; slot < N_SLOTS; slot++)
            store_visit(s->whole, table, slot, compare_values, values);
    assert_int_equal(store_stats(values).n_rows, store_stats(s->whole).n_rows);
    store_close(&values);
    snap_close(s);
}

static void another_models_schema_is_refused_by_name(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128];
    Snapshot *snapshot;
    Store *store;
    static Schema other;
    snap_write(s, 1, SNAP_EPOCH, dir);
    memset(&other, 0, sizeof other);
    schema_add_sparse(&other, "item.A", REACHED_BY_A, TOY_ITEMS, TOY_WIDTH + 1, 0.1);
    schema_finish(&other);
    assert_int_equal(store_open(&store, &other, &s->config.optimizer, SNAP_SEED, 1), OK);
    assert_int_equal(snapshot_open(&snapshot, dir), OK);
    assert_int_equal(snapshot_load(snapshot, &other, store), ERR_DATA);
    assert_non_null(strstr(err_message(), "item.A"));
    snapshot_close(&snapshot);
    store_close(&store);
    snap_close(s);
}

static void without_a_manifest_there_is_no_snapshot(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], *files;
    Snapshot *snapshot;
    snprintf(dir, sizeof dir, "%s/epoch-0001", s->root);
    assert_int_equal(snap_tables(s, s->whole, 0, dir, &files), OK);
    assert_int_equal(snapshot_open(&snapshot, dir), ERR_IO);
    free(files);
    snap_close(s);
}

static void servers_that_disagree_are_not_committed(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128];
    uint16_t map[N_SLOTS];
    Snapshot *snapshot;
    char *const other_schema[] = {"{\"tensors\":[],\"files\":[]}", "{\"tensors\":[1],\"files\":[]}"};
    char *const garbage[] = {"{\"tensors\":[],\"files\":[]}", "[]"};
    char *const outside[] = {
        "{\"tensors\":[],\"files\":[{\"file\":\"../x\",\"table\":\"A\",\"server\":0,\"rows\":1,\"size\":1,"
        "\"blocks\":[\"0123456789abcdef\"]}]}",
        "{\"tensors\":[],\"files\":[]}"};
    char *const *const CASES[] = {other_schema, garbage, outside};
    const Err want[] = {ERR_PROTOCOL, ERR_PROTOCOL, ERR_CORRUPT};
    snprintf(dir, sizeof dir, "%s/epoch-0001", s->root);
    assert_int_equal(make_directories(dir), OK);
    snap_map(map, 2);
    for (size_t i = 0; i < 3; i++) {
        SnapshotFacts facts = snap_facts(s, dir, 2, map, CASES[i], snap_manifest());
        assert_int_equal(snapshot_commit(&facts, s->config_text, NULL), want[i]);
        assert_int_equal(snapshot_open(&snapshot, dir), ERR_IO);
    }
    snap_close(s);
}

/* Two servers' parts in epoch-0001 of s, not committed; the caller frees files. */
static SnapshotFacts write_parts(const Snap *s, const uint16_t map[N_SLOTS], const char *dir, char *files[2]) {
    for (uint16_t i = 0; i < 2; i++) {
        Store *part = snap_part(s, map, i);
        assert_int_equal(snap_tables(s, part, i, dir, &files[i]), OK);
        store_close(&part);
    }
    return snap_facts(s, dir, 2, map, files, snap_manifest());
}

static void files_that_the_scheduler_does_not_see_are_not_committed(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], path[256], *files[2];
    uint16_t map[N_SLOTS];
    Snapshot *snapshot;
    snprintf(dir, sizeof dir, "%s/epoch-0001", s->root);
    snprintf(path, sizeof path, "%s/server-1.B.safetensors", dir);
    snap_map(map, 2);
    SnapshotFacts facts = write_parts(s, map, dir, files);
    assert_int_equal(truncate(path, 7), 0);
    assert_int_equal(snapshot_commit(&facts, s->config_text, NULL), ERR_IO);
    assert_non_null(strstr(err_message(), "server-1.B.safetensors has 7 bytes, server 1 has written"));
    unlink(path);
    assert_int_equal(snapshot_commit(&facts, s->config_text, NULL), ERR_IO);
    assert_non_null(strstr(err_message(), "run.dir must be shared by servers and scheduler"));
    assert_int_equal(snapshot_open(&snapshot, dir), ERR_IO);
    free(files[0]);
    free(files[1]);
    snap_close(s);
}

static void a_committed_snapshot_is_not_written_again(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], *files[2], *none;
    uint16_t map[N_SLOTS];
    snprintf(dir, sizeof dir, "%s/epoch-0001", s->root);
    snap_map(map, 2);
    SnapshotFacts facts = write_parts(s, map, dir, files);
    assert_int_equal(snapshot_commit(&facts, s->config_text, NULL), OK);
    assert_int_equal(snap_tables(s, s->whole, 0, dir, &none), ERR_IO);
    assert_non_null(strstr(err_message(), "files of a committed snapshot are not written again"));
    assert_int_equal(snapshot_commit(&facts, s->config_text, NULL), ERR_IO);
    Store *back = snap_store(s, OPTIMIZER_ADAM);
    assert_int_equal(snap_load(s, dir, back), OK);
    snap_assert_same(s, s->whole, back);
    store_close(&back);
    free(files[0]);
    free(files[1]);
    snap_close(s);
}

static int count_files(const char *dir, const char *part) {
    int n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));)
        n += strstr(entry->d_name, part) != NULL;
    closedir(d);
    return n;
}

static void a_full_disk_is_an_error_and_leaves_no_temporary_file(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], *files;
    struct rlimit before, small;
    snprintf(dir, sizeof dir, "%s/epoch-0001", s->root);
    signal(SIGXFSZ, SIG_IGN); /* write() then fails as on a full disk */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 100000, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    Err e = snap_tables(s, s->whole, 0, dir, &files);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(e, ERR_IO);
    assert_null(files);
    assert_int_equal(count_files(dir, ".tmp"), 0);
    snap_close(s);
}

static void files_that_nobody_waits_for_are_given_up(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], *files;
    atomic_bool is_useless = true;
    snprintf(dir, sizeof dir, "%s/epoch-0001", s->root);
    StoreCut *cut = store_cut_begin(s->whole, false, SIZE_MAX);
    assert_int_equal(snapshot_write_tables(cut, &s->schema, 0, dir, &is_useless, &files), ERR_STOPPED);
    store_cut_end(&cut, false);
    assert_null(files);
    assert_int_equal(count_files(dir, "server-0"), 0);
    snap_close(s);
}

/* ---- evaluation and pruning ----------------------------------------------------------------------------------- */

static json_t *load_json(const char *dir, const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    json_t *json = json_load_file(path, 0, NULL);
    assert_non_null(json);
    return json;
}

static void the_evaluation_names_its_manifest(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128];
    EpochResult result = {.epoch = SNAP_EPOCH, .data_loss = {1.5, NAN}, .n_steps = {40, 23}, .best_epoch = {3, 1}};
    result.is_scored[DOMAIN_A][SPLIT_VALID] = true;
    result.metrics[DOMAIN_A][SPLIT_VALID] = (RankingMetrics){.n = 7, .auc = 0.1 + 0.2, .wauc = 0.5};
    snap_write(s, 1, SNAP_EPOCH, dir);
    assert_int_equal(snapshot_write_evaluation(dir, &result, &s->config), OK);
    json_t *manifest = load_json(dir, "manifest.json"), *evaluation = load_json(dir, "evaluation.json");
    assert_string_equal(json_string_value(json_object_get(evaluation, "manifest")),
                        json_string_value(json_object_get(manifest, "hash")));
    json_t *a = json_object_get(evaluation, "A"), *valid = json_object_get(a, "valid");
    assert_true(json_real_value(json_object_get(valid, "auc")) == 0.1 + 0.2); /* to the last digit */
    assert_null(json_object_get(a, "test"));
    assert_true(json_is_null(json_object_get(json_object_get(evaluation, "B"), "data_loss")));
    json_decref(manifest);
    json_decref(evaluation);
    snap_close(s);
}

static bool exists(const Snap *s, const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", s->root, name);
    return access(path, F_OK) == 0;
}

static void pruning_keeps_the_newest_the_best_and_the_unknown(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128], path[256];
    for (uint32_t epoch = 1; epoch <= 6; epoch++)
        snap_write(s, 2, epoch, dir);
    snprintf(path, sizeof path, "%s/epoch-0003/notes.txt", s->root); /* not ours */
    assert_int_equal(write_file_durably(path, "x", 1), OK);
    snprintf(path, sizeof path, "%s/epoch-0001/manifest.json", s->root); /* damaged: not understood, not deleted */
    assert_int_equal(truncate(path, 100), 0);
    snprintf(path, sizeof path, "%s/epoch-7", s->root);
    assert_int_equal(make_directories(path), OK);
    assert_int_equal(snapshot_prune(s->root, 2, (uint32_t[]){2, 6}), OK);
    assert_true(exists(s, "epoch-0006/manifest.json") && exists(s, "epoch-0005/manifest.json"));
    assert_true(exists(s, "epoch-0002/manifest.json"));          /* best of A */
    assert_true(exists(s, "epoch-0001/server-0.A.safetensors")); /* damaged */
    assert_true(exists(s, "epoch-7"));
    assert_false(exists(s, "epoch-0004"));
    assert_true(exists(s, "epoch-0003/notes.txt"));
    assert_false(exists(s, "epoch-0003/manifest.json") || exists(s, "epoch-0003/server-0.A.safetensors"));
    Store *back = snap_store(s, OPTIMIZER_ADAM);
    snprintf(path, sizeof path, "%s/epoch-0002", s->root);
    assert_int_equal(snap_load(s, path, back), OK);
    store_close(&back);
    snap_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_and_state_come_back_from_any_number_of_servers),
        cmocka_unit_test(the_manifest_gives_configuration_and_data_back),
        cmocka_unit_test(the_same_facts_give_the_same_bytes),
        cmocka_unit_test(a_store_without_moments_takes_the_values),
        cmocka_unit_test(another_models_schema_is_refused_by_name),
        cmocka_unit_test(without_a_manifest_there_is_no_snapshot),
        cmocka_unit_test(servers_that_disagree_are_not_committed),
        cmocka_unit_test(files_that_the_scheduler_does_not_see_are_not_committed),
        cmocka_unit_test(a_committed_snapshot_is_not_written_again),
        cmocka_unit_test(a_full_disk_is_an_error_and_leaves_no_temporary_file),
        cmocka_unit_test(files_that_nobody_waits_for_are_given_up),
        cmocka_unit_test(the_evaluation_names_its_manifest),
        cmocka_unit_test(pruning_keeps_the_newest_the_best_and_the_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
