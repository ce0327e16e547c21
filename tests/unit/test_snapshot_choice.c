/* link: mg_server */
/* Which snapshot a domain of a run is read from. */
#include "deploy/tools/snapshot_choice.c" /* the program's own file: no library holds deploy/ */
#include "tests/unit/snapshot_fixture.h"

/* run/snapshots are the fixture's; epochs 1 and 2, of which A's best is 1 and B's is 2. */
static Snap *open_run(char run[128], char last[128]) {
    Snap *s = snap_open();
    char first[128], link[160];
    EpochResult result = {.epoch = 2, .best_epoch = {1, 2}};
    snap_write(s, 1, 1, first);
    snap_write(s, 1, 2, last);
    assert_int_equal(snapshot_write_evaluation(last, &result, &s->config), OK);
    result = (EpochResult){.epoch = 1, .best_epoch = {1, 1}};
    assert_int_equal(snapshot_write_evaluation(first, &result, &s->config), OK);
    snprintf(run, 128, "%s/run", s->root);
    snprintf(link, sizeof link, "%s/snapshots", run);
    assert_int_equal(make_directories(run), OK);
    assert_int_equal(symlink("..", link), 0);
    return s;
}

static void assert_chosen(const char *run, int domain, const char *name) {
    char chosen[SNAPSHOT_CHOICE_PATH], want[256];
    snprintf(want, sizeof want, "%s/snapshots/%s", run, name);
    if (snapshot_choose_best(run, domain, chosen))
        fail_msg("%s", err_message());
    assert_string_equal(chosen, want);
}

static void set_aside(const Snap *s, const char *name) {
    char from[128], to[128];
    snprintf(from, sizeof from, "%s/%s", s->root, name);
    snprintf(to, sizeof to, "%s/%s.damaged", s->root, name);
    assert_int_equal(rename(from, to), 0);
}

static void each_domain_of_a_run_is_read_from_its_best_epoch(void **state) {
    (void)state;
    char run[128], last[128], chosen[SNAPSHOT_CHOICE_PATH];
    Snap *s = open_run(run, last);
    assert_chosen(run, DOMAIN_A, "epoch-0001");
    assert_chosen(run, DOMAIN_B, "epoch-0002");
    assert_int_equal(snapshot_choose_best(last, DOMAIN_A, chosen), OK);
    assert_string_equal(chosen, last);
    snap_close(s);
}

static void a_domain_is_found_where_the_best_snapshot_of_the_other_is_gone(void **state) {
    (void)state;
    char run[128], last[128], chosen[SNAPSHOT_CHOICE_PATH];
    Snap *s = open_run(run, last);
    set_aside(s, "epoch-0001");
    assert_chosen(run, DOMAIN_B, "epoch-0002");
    assert_int_equal(snapshot_choose_best(run, DOMAIN_A, chosen), ERR_IO);
    assert_non_null(strstr(err_message(), "the best epoch of domain A is 1, whose snapshot is not in"));
    snap_close(s);
}

static void a_snapshot_that_was_set_aside_as_damaged_is_not_the_newest(void **state) {
    (void)state;
    char run[128], last[128], chosen[SNAPSHOT_CHOICE_PATH];
    Snap *s = open_run(run, last);
    set_aside(s, "epoch-0002");
    assert_chosen(run, DOMAIN_A, "epoch-0001");
    assert_chosen(run, DOMAIN_B, "epoch-0001");
    set_aside(s, "epoch-0001");
    assert_int_equal(snapshot_choose_best(run, DOMAIN_A, chosen), ERR_IO);
    assert_non_null(strstr(err_message(), "a run without an evaluated snapshot"));
    snap_close(s);
}

static void an_evaluation_with_a_changed_digit_is_corrupt(void **state) {
    (void)state;
    char run[128], last[128], path[160], *text, chosen[SNAPSHOT_CHOICE_PATH];
    size_t size;
    Snap *s = open_run(run, last);
    snprintf(path, sizeof path, "%s/evaluation.json", last);
    assert_int_equal(read_file(path, 1 << 20, &text, &size), OK);
    char *best = strstr(text, "\"best_epoch\": 1");
    assert_non_null(best);
    best[strlen("\"best_epoch\": ")] = '2';
    assert_int_equal(write_file_durably(path, text, size), OK);
    assert_int_equal(snapshot_choose_best(run, DOMAIN_A, chosen), ERR_CORRUPT);
    assert_non_null(strstr(err_message(), path + strlen(s->root)));
    free(text);
    snap_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_domain_of_a_run_is_read_from_its_best_epoch),
        cmocka_unit_test(a_domain_is_found_where_the_best_snapshot_of_the_other_is_gone),
        cmocka_unit_test(a_snapshot_that_was_set_aside_as_damaged_is_not_the_newest),
        cmocka_unit_test(an_evaluation_with_a_changed_digit_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
