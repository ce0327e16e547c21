/* link: mg_server */
/* What a manifest says of where its snapshot comes from, and what manifests of version 1 leave open. */
#include <jansson.h>

#include "server/snapshot/snapshot_manifest.h"
#include "tests/unit/snapshot_fixture.h"

static Snapshot *open_snapshot(const char *dir) {
    Snapshot *s;
    if (snapshot_open(&s, dir) != OK)
        fail_msg("%s", err_message());
    return s;
}

/* An incremental snapshot without files beside the full one: facts.base_dir and cut as given. */
static Err commit_upon(const Snap *s, const char *dir, const char *base_dir, uint64_t base_cut) {
    uint16_t map[N_SLOTS];
    char *files[] = {NULL};
    Store *empty = snap_store(s, OPTIMIZER_ADAM);
    snap_map(map, 1);
    assert_int_equal(snap_tables(s, empty, 0, dir, &files[0]), OK);
    SnapshotFacts facts = snap_facts(s, dir, 1, map, files, snap_manifest());
    facts.base_dir = base_dir;
    facts.base_cut = base_cut;
    Err e = snapshot_commit(&facts, s->config_text, &(SnapshotParent){"resume", "/runs/one/snapshots/epoch-0002", 7});
    free(files[0]);
    store_close(&empty);
    return e;
}

static void seed_standing_base_and_parent_come_back(void **state) {
    (void)state;
    Snap *s = snap_open();
    char full_dir[128], dir[128];
    snap_write(s, 2, SNAP_EPOCH, full_dir);
    snprintf(dir, sizeof dir, "%s/epoch-0004-step-000012", s->root);
    assert_int_equal(commit_upon(s, dir, full_dir, UINT64_MAX), OK);
    Snapshot *full = open_snapshot(full_dir), *part = open_snapshot(dir);
    assert_null(full->base.dir);
    assert_null(full->parent.kind);
    assert_true(full->is_epoch_end);
    assert_int_equal(snapshot_seed(full), SNAP_SEED);
    assert_true(full->cut == UINT64_MAX);
    assert_true(full->has_standing && full->standing.best_wauc[DOMAIN_A] == 0.1 + 0.2); /* to the last bit */
    assert_true(full->standing.best_wauc[DOMAIN_B] == -1);
    assert_int_equal(full->standing.best_epoch[DOMAIN_A], 1);
    assert_int_equal(full->standing.stale[DOMAIN_A], 1);
    assert_string_equal(part->base.dir, "epoch-0003");
    assert_true(part->base.hash == full->hash && part->base.cut == UINT64_MAX);
    assert_string_equal(part->parent.kind, "resume");
    assert_string_equal(part->parent.dir, "/runs/one/snapshots/epoch-0002");
    assert_int_equal(part->parent.hash, 7);
    snapshot_close(&full);
    snapshot_close(&part);
    snap_close(s);
}

static void another_base_than_the_one_told_is_not_committed(void **state) {
    (void)state;
    Snap *s = snap_open();
    char full_dir[128], dir[128], second[128];
    Snapshot *none;
    snap_write(s, 1, SNAP_EPOCH, full_dir);
    snprintf(dir, sizeof dir, "%s/epoch-0004", s->root);
    snprintf(second, sizeof second, "%s/epoch-0005", s->root);
    assert_int_equal(commit_upon(s, dir, full_dir, 5), ERR_CORRUPT);
    assert_non_null(strstr(err_message(), "is not the full snapshot of cut 5"));
    assert_int_equal(snapshot_open(&none, dir), ERR_IO);
    assert_int_equal(commit_upon(s, dir, full_dir, UINT64_MAX), OK);
    assert_int_equal(commit_upon(s, second, dir, UINT64_MAX), ERR_CORRUPT); /* a chain has two links */
    snap_close(s);
}

/* Rewrites the manifest as change leaves it, with the right hash. */
static void rewrite(const char *dir, void (*change)(json_t *)) {
    char path[256];
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    json_t *json = json_load_file(path, 0, NULL);
    json_object_del(json, "hash");
    change(json);
    char *text = snapshot_manifest_text(json);
    assert_int_equal(write_file_durably(path, text, strlen(text)), OK);
    free(text);
}

static void make_version_1(json_t *json) {
    json_object_set_new(json, "version", json_integer(1));
    json_object_del(json, "base");
    json_object_del(json, "standing");
    json_object_del(json, "parent");
}

static void version_1_is_read_and_says_nothing_of_its_standing(void **state) {
    (void)state;
    Snap *s = snap_open();
    char dir[128];
    snap_write(s, 2, SNAP_EPOCH, dir);
    rewrite(dir, make_version_1);
    Snapshot *old = open_snapshot(dir);
    assert_false(old->has_standing);
    assert_true(old->standing.best_wauc[DOMAIN_A] == -1);
    assert_null(old->base.dir);
    snapshot_close(&old);
    Store *back = snap_store(s, OPTIMIZER_ADAM);
    assert_int_equal(snap_load(s, dir, back), OK);
    assert_int_equal(store_stats(back).n_rows, store_stats(s->whole).n_rows);
    store_close(&back);
    snap_close(s);
}

static void make_version_3(json_t *json) {
    json_object_set_new(json, "version", json_integer(3));
}
static void lose_standing(json_t *json) {
    json_object_del(json, "standing");
}
static void lose_base(json_t *json) {
    json_object_del(json, "base");
}
static void lead_outside(json_t *json) {
    json_object_set_new(json, "base",
                        json_pack("{s:s, s:s, s:s}", "dir", "../epoch-0001", "hash", "0123456789abcdef", "cut", "1"));
}
static void claim_a_later_best(json_t *json) {
    json_object_set_new(json_array_get(json_object_get(json, "standing"), 1), "best_epoch",
                        json_integer(SNAP_EPOCH + 1));
}
static void invent_a_parent(json_t *json) {
    json_object_set_new(json, "parent",
                        json_pack("{s:s, s:s, s:s}", "kind", "x", "dir", "y", "hash", "0123456789abcdef"));
}

static void what_version_2_must_say_is_checked(void **state) {
    (void)state;
    static const struct {
        void (*change)(json_t *);
        const char *words;
    } CASES[] = {
        {make_version_3, "version 3 of the format, this program reads 1 to 2"},
        {lose_standing, "'standing'"},
        {lose_base, "'base'"},
        {lead_outside, "'base'"},
        {claim_a_later_best, "'standing'"},
        {invent_a_parent, "'parent'"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        Snap *s = snap_open();
        char dir[128];
        Snapshot *bad;
        snap_write(s, 1, SNAP_EPOCH, dir);
        rewrite(dir, CASES[i].change);
        assert_int_equal(snapshot_open(&bad, dir), ERR_CORRUPT);
        if (!strstr(err_message(), CASES[i].words))
            fail_msg("expected %s in: %s", CASES[i].words, err_message());
        snap_close(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seed_standing_base_and_parent_come_back),
        cmocka_unit_test(another_base_than_the_one_told_is_not_committed),
        cmocka_unit_test(version_1_is_read_and_says_nothing_of_its_standing),
        cmocka_unit_test(what_version_2_must_say_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
