/* link: mg_server */
/* Where a run stands when it is resumed, and what becomes of its directory. */
#include <math.h>

#include "server/run_record.h"
#include "server/run_resume.h"
#include "server/snapshot/snapshot_manifest.h"
#include "server/snapshot/snapshot_start.h"
#include "tests/unit/snapshot_fixture.h"

/* A run of epochs 1 to n, each with a snapshot and a line of metrics; epoch 1 and 2 are evaluated. */
typedef struct Run {
    Snap *s;
    char top[64]; /* run.dir; s->root is its directory of snapshots */
} Run;

static EpochResult result_of(uint32_t epoch) {
    EpochResult r = {.epoch = epoch, .n_steps = {40, 23}};
    for (int d = 0; d < N_DOMAINS; d++) {
        r.is_scored[d][SPLIT_VALID] = true;
        r.metrics[d][SPLIT_VALID] = (RankingMetrics){.n = 7, .auc = 0.5, .wauc = 0.5 + 0.1 / 3 * epoch};
    }
    r.is_best[DOMAIN_A] = true; /* B was best in epoch 1 */
    r.best_epoch[DOMAIN_A] = epoch;
    r.is_best[DOMAIN_B] = epoch == 1;
    r.best_epoch[DOMAIN_B] = 1;
    r.stale[DOMAIN_B] = epoch - 1;
    return r;
}

static Run run_of(uint32_t n_epochs) {
    Run r = {.s = snap_open()};
    char dir[128];
    RunRecord *record;
    strcpy(r.top, r.s->root);
    strcat(r.s->root, "/snapshots");
    snprintf(r.s->config.run_dir, sizeof r.s->config.run_dir, "%s", r.top);
    r.s->config.snapshot.keep = 100;
    assert_int_equal(run_record_open(&record, &r.s->config, r.s->config_text, NULL), OK);
    for (uint32_t epoch = 1; epoch <= n_epochs; epoch++) {
        EpochResult result = result_of(epoch);
        snap_write(r.s, 1, epoch, dir);
        if (epoch <= 2)
            assert_int_equal(run_record_write_epoch(record, &result, dir), OK);
    }
    run_record_close(&record);
    return r;
}

static void leave(Run *r) {
    strcpy(r->s->root, r->top);
    snap_close(r->s);
}

static char *in_run(const Run *r, const char *name) {
    return snapshot_path(r->top, name);
}

static bool exists(const Run *r, const char *name) {
    char *path = in_run(r, name);
    bool is_there = access(path, F_OK) == 0;
    free(path);
    return is_there;
}

static void damage(const Run *r, const char *name) {
    char *path = in_run(r, name);
    assert_int_equal(truncate(path, 100), 0);
    free(path);
}

static int n_lines(const Run *r, const char *run_dir) {
    char *path = snapshot_path(run_dir ? run_dir : r->top, "metrics.jsonl"), *text;
    size_t size;
    int n = 0;
    assert_int_equal(read_file(path, 1 << 20, &text, &size), OK);
    for (size_t i = 0; i < size; i++)
        n += text[i] == '\n';
    free(path);
    free(text);
    return n;
}

/* Opens the start at name in the run ("": the run itself). */
static SnapshotStart *start_at(const Run *r, const char *name) {
    SnapshotStart *start = must_calloc(1, sizeof *start);
    char *path = in_run(r, name);
    if (snapshot_start_open(start, path, RESTORE_RESUME) != OK)
        fail_msg("%s", err_message());
    free(path);
    return start;
}

static void end(SnapshotStart *start) {
    snapshot_start_close(start);
    free(start);
}

/* ---- where it stands ------------------------------------------------------------------------------------------ */

static void standing_is_that_of_the_evaluation_else_of_the_manifest(void **state) {
    (void)state;
    Run r = run_of(3);
    SnapshotStart *two = start_at(&r, "snapshots/epoch-0002"), *three = start_at(&r, "");
    const SchedulerStart *s = &two->scheduler;
    assert_int_equal(s->restore, RESTORE_RESUME);
    assert_int_equal(s->epoch, 2);
    assert_int_equal(s->seed, SNAP_SEED);
    assert_int_equal(s->data, 0xab);
    assert_int_equal(s->n_steps[DOMAIN_A], 2 * SNAP_STEPS);
    assert_true(s->cut == UINT64_MAX);
    assert_true(s->is_evaluated);
    assert_true(s->standing.best_wauc[DOMAIN_A] == 0.5 + 0.1 / 3 * 2); /* just improved */
    assert_int_equal(s->standing.best_epoch[DOMAIN_A], 2);
    assert_true(s->standing.best_wauc[DOMAIN_B] == -1); /* the manifest's: it has not improved */
    assert_int_equal(s->standing.stale[DOMAIN_B], 1);
    assert_string_equal(two->run_dir, r.top);
    assert_string_equal(two->parent.kind, "resume");
    assert_string_equal(two->parent.dir, s->dir);
    assert_int_equal(three->scheduler.epoch, 3); /* the newest of the run */
    assert_false(three->scheduler.is_evaluated);
    assert_true(three->scheduler.standing.best_wauc[DOMAIN_A] == 0.1 + 0.2); /* the manifest's */
    end(two);
    end(three);
    leave(&r);
}

static void an_evaluation_of_another_manifest_does_not_count(void **state) {
    (void)state;
    Run r = run_of(2);
    char *from = in_run(&r, "snapshots/epoch-0001/evaluation.json"),
         *to = in_run(&r, "snapshots/epoch-0002/evaluation.json");
    assert_int_equal(rename(from, to), 0);
    SnapshotStart *start = start_at(&r, "");
    assert_false(start->scheduler.is_evaluated);
    end(start);
    free(from);
    free(to);
    leave(&r);
}

/* Still JSON, still of this manifest, but not what was written. */
static void an_evaluation_with_a_changed_digit_is_done_again(void **state) {
    (void)state;
    static const char *const FIELDS[] = {"\"stale\": ", "\"best_epoch\": ", "\"wauc\": 0."};
    for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++) {
        Run r = run_of(2);
        char *path = in_run(&r, "snapshots/epoch-0002/evaluation.json"), *text;
        size_t size;
        assert_int_equal(read_file(path, 1 << 20, &text, &size), OK);
        char *digit = strstr(text, FIELDS[i]);
        assert_non_null(digit);
        digit += strlen(FIELDS[i]);
        *digit = *digit == '1' ? '2' : '1';
        assert_int_equal(write_file_durably(path, text, size), OK);
        SnapshotStart *start = start_at(&r, "");
        assert_false(start->scheduler.is_evaluated);
        assert_true(start->scheduler.standing.best_wauc[DOMAIN_A] == 0.1 + 0.2); /* the manifest's */
        end(start);
        free(text);
        free(path);
        leave(&r);
    }
}

static void a_damaged_newest_is_passed_over_and_a_named_one_refused(void **state) {
    (void)state;
    Run r = run_of(3);
    SnapshotStart start;
    damage(&r, "snapshots/epoch-0003/server-0.A.safetensors");
    SnapshotStart *newest = start_at(&r, "");
    assert_int_equal(newest->scheduler.epoch, 2);
    char *path = in_run(&r, "snapshots/epoch-0003");
    assert_int_equal(snapshot_start_open(&start, path, RESTORE_RESUME), ERR_CORRUPT);
    assert_null(start.snapshot);
    assert_non_null(strstr(err_message(), "server-0.A.safetensors"));
    damage(&r, "snapshots/epoch-0002/manifest.json");
    damage(&r, "snapshots/epoch-0001/manifest.json");
    assert_int_equal(snapshot_start_open(&start, r.top, RESTORE_RESUME), ERR_CORRUPT);
    assert_non_null(strstr(err_message(), "has no snapshot that is whole"));
    free(path);
    end(newest);
    leave(&r);
}

/* It would go into configuration and manifests, which cannot hold it. */
static void a_path_that_is_no_utf8_is_refused(void **state) {
    (void)state;
    static const Restore RESTORES[] = {RESTORE_RESUME, RESTORE_INIT, RESTORE_INIT_MOMENTS};
    Run r = run_of(1);
    SnapshotStart start;
    char *from = in_run(&r, "snapshots"), *to = in_run(&r, "odd\xff"), *path = in_run(&r, "odd\xff/epoch-0001");
    assert_int_equal(rename(from, to), 0);
    for (size_t i = 0; i < sizeof RESTORES / sizeof *RESTORES; i++) {
        assert_int_equal(snapshot_start_open(&start, path, RESTORES[i]), ERR_CONFIG);
        assert_non_null(strstr(err_message(), "/odd?/epoch-0001\", expected printable UTF-8"));
        assert_null(start.snapshot);
    }
    free(from);
    free(to);
    free(path);
    leave(&r);
}

/* ---- its directory -------------------------------------------------------------------------------------------- */

static void metrics_are_cut_back_to_the_epochs_before(void **state) {
    (void)state;
    static const struct {
        const char *start;
        int n_lines;
    } CASES[] = {{"snapshots/epoch-0003", 2}, {"snapshots/epoch-0002", 2}, {"snapshots/epoch-0001", 1}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        Run r = run_of(3);
        char *path = in_run(&r, "metrics.jsonl");
        FILE *f = fopen(path, "a");
        fputs("{\"epoch\": 3, \"A\": ", f); /* a line that a crash cut short */
        assert_int_equal(fclose(f), 0);
        for (uint32_t epoch = 3; epoch > 3 - i; epoch--) {
            char name[64];
            snprintf(name, sizeof name, "snapshots/epoch-%04u/manifest.json", epoch);
            damage(&r, name);
        }
        SnapshotStart *start = start_at(&r, CASES[i].start);
        RunRecord *record;
        EpochResult next = result_of(start->scheduler.epoch + 1);
        if (run_record_open(&record, &r.s->config, r.s->config_text, start) != OK)
            fail_msg("%s", err_message());
        assert_int_equal(n_lines(&r, NULL), CASES[i].n_lines);
        assert_int_equal(run_record_write_epoch(record, &next, NULL), OK);
        assert_int_equal(n_lines(&r, NULL), CASES[i].n_lines + 1);
        run_record_close(&record);
        end(start);
        free(path);
        leave(&r);
    }
}

static void newer_snapshots_refuse_it_by_name_and_broken_ones_are_set_aside(void **state) {
    (void)state;
    Run r = run_of(3);
    SnapshotStart *start = start_at(&r, "snapshots/epoch-0001");
    RunRecord *record;
    assert_int_equal(run_record_open(&record, &r.s->config, r.s->config_text, start), ERR_CONFIG);
    assert_non_null(strstr(err_message(), "the newest is epoch-0003: resume that"));
    assert_int_equal(n_lines(&r, NULL), 2); /* nothing was touched */
    damage(&r, "snapshots/epoch-0003/server-0.B.safetensors");
    assert_int_equal(run_record_open(&record, &r.s->config, r.s->config_text, start), ERR_CONFIG);
    assert_non_null(strstr(err_message(), "the newest is epoch-0002"));
    assert_true(exists(&r, "snapshots/epoch-0003.damaged/manifest.json"));
    damage(&r, "snapshots/epoch-0002/manifest.json");
    char *left = in_run(&r, "snapshots/epoch-0002-step-000007"), *taken = in_run(&r, "snapshots/epoch-0002.damaged");
    assert_int_equal(make_directories(left), OK); /* never finished */
    assert_int_equal(make_directories(taken), OK);
    assert_int_equal(run_record_open(&record, &r.s->config, r.s->config_text, start), OK);
    assert_true(exists(&r, "snapshots/epoch-0002.damaged-2/manifest.json"));
    assert_false(exists(&r, "snapshots/epoch-0002") || exists(&r, "snapshots/epoch-0002-step-000007"));
    assert_int_equal(n_lines(&r, NULL), 1);
    run_record_close(&record);
    free(left);
    free(taken);
    end(start);
    leave(&r);
}

static void another_directory_begins_a_branch_and_leaves_the_run_alone(void **state) {
    (void)state;
    Run r = run_of(3);
    SnapshotStart *start = start_at(&r, "snapshots/epoch-0001");
    RunRecord *record;
    Config config = r.s->config;
    snprintf(config.run_dir, sizeof config.run_dir, "%s/branch", r.top);
    assert_int_equal(run_record_open(&record, &config, r.s->config_text, start), OK);
    assert_int_equal(n_lines(&r, config.run_dir), 1);
    assert_int_equal(n_lines(&r, NULL), 2);
    assert_true(exists(&r, "snapshots/epoch-0003/manifest.json"));
    run_record_close(&record);
    assert_int_equal(run_record_open(&record, &config, r.s->config_text, start), OK); /* nothing was trained */
    assert_int_equal(n_lines(&r, config.run_dir), 1);
    EpochResult next = result_of(2);
    assert_int_equal(run_record_write_epoch(record, &next, NULL), OK);
    run_record_close(&record);
    assert_int_equal(run_record_open(&record, &config, r.s->config_text, start), ERR_CONFIG); /* it holds a run now */
    assert_non_null(strstr(err_message(), "holds an earlier run"));
    end(start);
    leave(&r);
}

/* The end of epoch 3 was not evaluated: the branch evaluates it, for itself. */
static void a_branch_writes_no_evaluation_into_the_other_run(void **state) {
    (void)state;
    Run r = run_of(3);
    SnapshotStart *start = start_at(&r, "snapshots/epoch-0003");
    RunRecord *record;
    Config config = r.s->config;
    EpochResult result = result_of(3);
    snprintf(config.run_dir, sizeof config.run_dir, "%s/branch", r.top);
    assert_int_equal(run_record_open(&record, &config, r.s->config_text, start), OK);
    assert_int_equal(run_record_write_epoch(record, &result, start->scheduler.dir), OK);
    assert_int_equal(n_lines(&r, config.run_dir), 3);
    assert_false(exists(&r, "snapshots/epoch-0003/evaluation.json"));
    run_record_close(&record);
    end(start);
    leave(&r);
}

static void a_line_that_nobody_can_read_hides_none_behind_it(void **state) {
    (void)state;
    Run r = run_of(3);
    SnapshotStart *start = start_at(&r, "snapshots/epoch-0003");
    RunRecord *record;
    char *path = in_run(&r, "metrics.jsonl");
    FILE *f = fopen(path, "w");
    fputs("{\"epoch\": 1, \"A\"{\"epoch\": 1}\n{\"epoch\": 2}\n{\"epoch\": 3}\n", f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(run_record_open(&record, &r.s->config, r.s->config_text, start), OK);
    assert_int_equal(n_lines(&r, NULL), 2);
    run_record_close(&record);
    end(start);
    free(path);
    leave(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(standing_is_that_of_the_evaluation_else_of_the_manifest),
        cmocka_unit_test(an_evaluation_of_another_manifest_does_not_count),
        cmocka_unit_test(an_evaluation_with_a_changed_digit_is_done_again),
        cmocka_unit_test(a_damaged_newest_is_passed_over_and_a_named_one_refused),
        cmocka_unit_test(a_path_that_is_no_utf8_is_refused),
        cmocka_unit_test(metrics_are_cut_back_to_the_epochs_before),
        cmocka_unit_test(newer_snapshots_refuse_it_by_name_and_broken_ones_are_set_aside),
        cmocka_unit_test(another_directory_begins_a_branch_and_leaves_the_run_alone),
        cmocka_unit_test(a_branch_writes_no_evaluation_into_the_other_run),
        cmocka_unit_test(a_line_that_nobody_can_read_hides_none_behind_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
