/* link: mg_server */
/* Which snapshots stay, and what is swept away. */
#include "server/snapshot/snapshot_prune.h"
#include "tests/unit/snapshot_fixture.h"

/* Commits an empty snapshot of this name; base NULL: full. */
static void commit(const Snap *s, const char *name, uint32_t epoch, bool is_epoch_end, const char *base) {
    char dir[128], base_dir[128];
    char *files[1];
    uint16_t map[N_SLOTS];
    Store *empty = snap_store(s, OPTIMIZER_ADAM);
    snprintf(dir, sizeof dir, "%s/%s", s->root, name);
    snprintf(base_dir, sizeof base_dir, "%s/%s", s->root, base ? base : "");
    snap_map(map, 1);
    assert_int_equal(snap_tables(s, empty, 0, dir, &files[0]), OK);
    SnapshotFacts facts = snap_facts(s, dir, 1, map, files, snap_manifest());
    facts.epoch = epoch;
    facts.is_epoch_end = is_epoch_end;
    facts.cut = facts.base_cut = 1;
    facts.base_dir = base ? base_dir : NULL;
    if (snapshot_commit(&facts, s->config_text, NULL) != OK)
        fail_msg("%s", err_message());
    free(files[0]);
    store_close(&empty);
}

static bool exists(const Snap *s, const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", s->root, name);
    return access(path, F_OK) == 0;
}

static void put_file(const Snap *s, const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", s->root, name);
    assert_int_equal(write_file_durably(path, "x", 1), OK);
}

static void put_directory(const Snap *s, const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", s->root, name);
    assert_int_equal(make_directories(path), OK);
}

static void the_end_of_an_epoch_is_newer_than_its_middle_and_best_is_its_end_alone(void **state) {
    (void)state;
    Snap *s = snap_open();
    commit(s, "epoch-0001-step-000020", 1, false, NULL);
    commit(s, "epoch-0001", 1, true, NULL);
    commit(s, "epoch-0002-step-000100", 2, false, NULL);
    commit(s, "epoch-0002-step-1000000", 2, false, NULL);
    commit(s, "epoch-0002", 2, true, NULL);
    assert_int_equal(snapshot_prune(s->root, 2, (uint32_t[]){1, 0}), OK);
    assert_true(exists(s, "epoch-0002") && exists(s, "epoch-0002-step-1000000"));
    assert_true(exists(s, "epoch-0001"));
    assert_false(exists(s, "epoch-0002-step-000100") || exists(s, "epoch-0001-step-000020"));
    snap_close(s);
}

static void what_a_kept_incremental_snapshot_goes_on_from_stays(void **state) {
    (void)state;
    Snap *s = snap_open();
    commit(s, "epoch-0001", 1, true, NULL);
    commit(s, "epoch-0002-step-000010", 2, false, NULL);
    commit(s, "epoch-0002-step-000020", 2, false, "epoch-0002-step-000010");
    commit(s, "epoch-0002-step-000030", 2, false, "epoch-0002-step-000010");
    assert_int_equal(snapshot_prune(s->root, 1, (uint32_t[]){0, 0}), OK);
    assert_true(exists(s, "epoch-0002-step-000030") && exists(s, "epoch-0002-step-000010"));
    assert_false(exists(s, "epoch-0002-step-000020") || exists(s, "epoch-0001"));
    commit(s, "epoch-0002-step-000040", 2, false, NULL);
    assert_int_equal(snapshot_prune(s->root, 1, (uint32_t[]){0, 0}), OK);
    assert_true(exists(s, "epoch-0002-step-000040"));
    assert_false(exists(s, "epoch-0002-step-000030") || exists(s, "epoch-0002-step-000010"));
    snap_close(s);
}

static void what_an_unreadable_snapshot_may_go_on_from_stays(void **state) {
    (void)state;
    Snap *s = snap_open();
    char path[256];
    commit(s, "epoch-0001", 1, true, NULL);
    commit(s, "epoch-0002-step-000010", 2, false, "epoch-0001");
    commit(s, "epoch-0002-step-000020", 2, false, "epoch-0001");
    commit(s, "epoch-0003", 3, true, NULL);
    commit(s, "epoch-0004", 4, true, NULL);
    snprintf(path, sizeof path, "%s/epoch-0002-step-000020/manifest.json", s->root);
    assert_int_equal(truncate(path, 100), 0); /* for good, or read through a disk that stutters */
    assert_int_equal(snapshot_prune(s->root, 1, (uint32_t[]){0, 0}), OK);
    assert_true(exists(s, "epoch-0001/manifest.json") && exists(s, "epoch-0002-step-000020"));
    assert_true(exists(s, "epoch-0004"));
    assert_false(exists(s, "epoch-0002-step-000010")); /* nothing goes on from an incremental one */
    assert_false(exists(s, "epoch-0003"));             /* nor from a later one */
    snap_close(s);
}

static void only_exact_names_are_swept_and_rows_that_were_committed_stay(void **state) {
    (void)state;
    static const char *const STAY[] = {
        "server-x.A.safetensors",       "server-.A.safetensors",           "server-0.safetensors",
        "server-0..safetensors",        "server-0.A.old.safetensors",      "server-0.A.safetensors.bak",
        "server-0.A.safetensors.tmp.1", "manifest.json.tmp.0123456789ABCDEF"};
    static const char *const GO[] = {"server-0.A.safetensors", "server-12.dense_A.safetensors",
                                     "server-0.A.safetensors.tmp.0123456789abcdef",
                                     "evaluation.json.tmp.0123456789abcdef", "manifest.json.tmp"};
    Snap *s = snap_open();
    char name[128];
    put_directory(s, "epoch-0001");
    for (size_t i = 0; i < sizeof STAY / sizeof *STAY; i++) {
        snprintf(name, sizeof name, "epoch-0001/%s", STAY[i]);
        put_file(s, name);
    }
    for (size_t i = 0; i < sizeof GO / sizeof *GO; i++) {
        snprintf(name, sizeof name, "epoch-0001/%s", GO[i]);
        put_file(s, name);
    }
    put_directory(s, "epoch-0002"); /* evaluated, so it was committed */
    put_file(s, "epoch-0002/evaluation.json");
    put_file(s, "epoch-0002/server-0.A.safetensors");
    assert_int_equal(snapshot_sweep(s->root), OK);
    for (size_t i = 0; i < sizeof STAY / sizeof *STAY; i++) {
        snprintf(name, sizeof name, "epoch-0001/%s", STAY[i]);
        assert_true(exists(s, name));
    }
    for (size_t i = 0; i < sizeof GO / sizeof *GO; i++) {
        snprintf(name, sizeof name, "epoch-0001/%s", GO[i]);
        assert_false(exists(s, name));
    }
    assert_true(exists(s, "epoch-0002/evaluation.json") && exists(s, "epoch-0002/server-0.A.safetensors"));
    snap_close(s);
}

static void what_has_no_manifest_is_swept_and_nothing_else(void **state) {
    (void)state;
    Snap *s = snap_open();
    char path[256];
    commit(s, "epoch-0001", 1, true, NULL);
    put_file(s, "epoch-0001/server-1.A.safetensors.tmp.0123456789abcdef"); /* left by a process that was killed */
    put_file(s, "epoch-0001/evaluation.json");
    put_directory(s, "epoch-0002-step-000010"); /* another server's write failed */
    put_file(s, "epoch-0002-step-000010/server-0.A.safetensors");
    put_file(s, "epoch-0002-step-000010/server-1.A.safetensors.tmp");
    put_file(s, "epoch-0002-step-000010/manifest.json.tmp");
    put_directory(s, "epoch-0002"); /* somebody's notes */
    put_file(s, "epoch-0002/server-0.A.safetensors");
    put_file(s, "epoch-0002/notes.tmp");
    put_directory(s, "epoch-0003"); /* a manifest that cannot be read */
    put_file(s, "epoch-0003/manifest.json");
    put_file(s, "epoch-0003/server-0.A.safetensors");
    put_directory(s, "epoch-4"); /* not our name */
    put_file(s, "epoch-4/server-0.A.safetensors");
    assert_int_equal(snapshot_sweep(s->root), OK);
    assert_int_equal(snapshot_prune(s->root, 1, (uint32_t[]){0, 0}), OK);
    assert_true(exists(s, "epoch-0001/manifest.json") && exists(s, "epoch-0001/evaluation.json"));
    assert_false(exists(s, "epoch-0001/server-1.A.safetensors.tmp.0123456789abcdef"));
    assert_false(exists(s, "epoch-0002-step-000010"));
    assert_false(exists(s, "epoch-0002/server-0.A.safetensors"));
    assert_true(exists(s, "epoch-0002/notes.tmp"));
    assert_true(exists(s, "epoch-0003/manifest.json") && exists(s, "epoch-0003/server-0.A.safetensors"));
    assert_true(exists(s, "epoch-4/server-0.A.safetensors"));
    snprintf(path, sizeof path, "%s/none", s->root);
    assert_int_equal(snapshot_sweep(path), OK); /* a run without a snapshot */
    snap_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_of_an_epoch_is_newer_than_its_middle_and_best_is_its_end_alone),
        cmocka_unit_test(what_a_kept_incremental_snapshot_goes_on_from_stays),
        cmocka_unit_test(what_an_unreadable_snapshot_may_go_on_from_stays),
        cmocka_unit_test(only_exact_names_are_swept_and_rows_that_were_committed_stay),
        cmocka_unit_test(what_has_no_manifest_is_swept_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
