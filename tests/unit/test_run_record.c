/* What a run leaves in its directory. */
/* link: mg_server */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/files.h"
#include "common/log.h"
#include "common/options.h"
#include "server/report.h"
#include "server/run_record.h"

typedef struct Place {
    Config config;
    char root[64], *text;
} Place;

static Place place(void) {
    Place p = {.root = "/tmp/mangrove-record-XXXXXX"};
    assert_non_null(mkdtemp(p.root));
    config_defaults(&p.config);
    snprintf(p.config.run_dir, sizeof p.config.run_dir, "%s/runs/one", p.root);
    p.text = config_text(&p.config);
    return p;
}

static void leave(Place *p) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", p->root);
    assert_int_equal(system(command), 0);
    free(p->text);
}

static char *contents(const Place *p, const char *name) {
    char path[CONFIG_PATH + 64], *data;
    size_t size;
    snprintf(path, sizeof path, "%s/%s", p->config.run_dir, name);
    assert_int_equal(read_file(path, 1 << 20, &data, &size), OK);
    return data;
}

/* Values that decimal digits do not hold exactly. */
static EpochResult result_of(uint32_t epoch) {
    EpochResult r = {.epoch = epoch};
    for (int d = 0; d < N_DOMAINS; d++) {
        r.data_loss[d] = 2.0 / 3 + d;
        r.regulariser[d] = -1e-7 / 3;
        r.n_steps[d] = 100 + (uint64_t)d;
        r.is_scored[d][SPLIT_VALID] = true;
        r.metrics[d][SPLIT_VALID] = (RankingMetrics){.n = 7, .auc = 1.0 / 3, .wauc = 0.1 + 0.2, .mrr = 1.0 / 7};
        r.is_best[d] = d == DOMAIN_A;
        r.best_epoch[d] = 1;
        r.stale[d] = (uint32_t)d;
    }
    r.is_scored[DOMAIN_A][SPLIT_TEST] = true;
    r.metrics[DOMAIN_A][SPLIT_TEST] = (RankingMetrics){.n = 9, .auc = 2.0 / 3};
    return r;
}

static double number(const json_t *root, const char *a, const char *b, const char *c) {
    const json_t *value = json_object_get(json_object_get(json_object_get(root, a), b), c);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void metrics_come_back_to_the_last_bit(void **state) {
    (void)state;
    Place p = place();
    RunRecord *record;
    EpochResult r = result_of(1);
    assert_int_equal(run_record_open(&record, &p.config, p.text, NULL), OK);
    assert_int_equal(run_record_write_epoch(record, &r, NULL), OK);
    char *text = contents(&p, "metrics.jsonl");
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* one line */
    json_t *line = json_loads(text, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(line, "epoch")), 1);
    assert_true(number(line, "A", "valid", "auc") == 1.0 / 3);
    assert_true(number(line, "A", "valid", "wauc") == 0.1 + 0.2);
    assert_true(number(line, "B", "valid", "mrr") == 1.0 / 7);
    assert_true(number(line, "A", "test", "auc") == 2.0 / 3);
    assert_true(json_is_null(json_object_get(json_object_get(line, "B"), "test")));
    assert_true(json_number_value(json_object_get(json_object_get(line, "A"), "regulariser")) == -1e-7 / 3);
    json_decref(line);
    free(text);
    run_record_close(&record);
    leave(&p);
}

/* A limit on the file's size stands for a full disk. */
static void a_line_that_fails_leaves_nothing_of_it(void **state) {
    (void)state;
    Place p = place();
    RunRecord *record;
    struct rlimit limit, before;
    EpochResult r = result_of(1), next = result_of(2);
    assert_int_equal(run_record_open(&record, &p.config, p.text, NULL), OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){100, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(run_record_write_epoch(record, &r, NULL), ERR_IO);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(run_record_write_epoch(record, &next, NULL), OK);
    char *text = contents(&p, "metrics.jsonl");
    json_t *line = json_loads(text, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(line, "epoch")), 2);
    json_decref(line);
    free(text);
    run_record_close(&record);
    leave(&p);
}

static void the_configuration_is_kept_beside_the_metrics(void **state) {
    (void)state;
    Place p = place();
    RunRecord *record;
    assert_int_equal(run_record_open(&record, &p.config, p.text, NULL), OK);
    char *text = contents(&p, "config.yaml");
    assert_string_equal(text, p.text);
    free(text);
    run_record_close(&record);
    leave(&p);
}

static void a_directory_takes_one_run_at_a_time(void **state) {
    (void)state;
    Place p = place();
    RunRecord *first, *second;
    assert_int_equal(run_record_open(&first, &p.config, p.text, NULL), OK);
    assert_int_equal(run_record_open(&second, &p.config, p.text, NULL), ERR_CONFIG);
    assert_null(second);
    assert_non_null(strstr(err_message(), "another run is going on"));
    run_record_close(&first);
    assert_int_equal(run_record_open(&second, &p.config, p.text, NULL), OK); /* nothing was trained: free again */
    run_record_close(&second);
    leave(&p);
}

static void an_earlier_run_is_never_overwritten(void **state) {
    (void)state;
    Place p = place();
    RunRecord *record;
    EpochResult r = result_of(1);
    char path[CONFIG_PATH + 64];
    assert_int_equal(run_record_open(&record, &p.config, p.text, NULL), OK);
    assert_int_equal(run_record_write_epoch(record, &r, NULL), OK);
    run_record_close(&record);
    assert_int_equal(run_record_open(&record, &p.config, p.text, NULL), ERR_CONFIG);
    assert_non_null(strstr(err_message(), "earlier run"));
    char *text = contents(&p, "metrics.jsonl");
    assert_true(strlen(text) > 100);
    free(text);
    snprintf(path, sizeof path, "%s/metrics.jsonl", p.config.run_dir);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/snapshots/epoch-0001", p.config.run_dir);
    assert_int_equal(make_directories(path), OK);
    assert_int_equal(run_record_open(&record, &p.config, p.text, NULL), ERR_CONFIG); /* its snapshots are a run too */
    leave(&p);
}

static void a_directory_becomes_absolute(void **state) {
    (void)state;
    Place p = place();
    char before[256], want[CONFIG_PATH];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(p.root), 0);
    snprintf(p.config.run_dir, sizeof p.config.run_dir, "a/./b");
    assert_int_equal(run_record_directory(&p.config), OK);
    assert_non_null(realpath("a/b", want));
    assert_string_equal(p.config.run_dir, want);
    assert_int_equal(chdir(before), 0);
    leave(&p);
}

static void a_directory_under_one_that_is_no_utf8_is_refused(void **state) {
    (void)state;
    Place p = place();
    char before[256], odd[CONFIG_PATH];
    assert_non_null(getcwd(before, sizeof before));
    snprintf(odd, sizeof odd, "%s/odd\xff", p.root);
    assert_int_equal(make_directories(odd), OK);
    assert_int_equal(chdir(odd), 0);
    snprintf(p.config.run_dir, sizeof p.config.run_dir, "run");
    assert_int_equal(run_record_directory(&p.config), ERR_CONFIG);
    assert_non_null(strstr(err_message(), "/odd?/run\", expected printable UTF-8"));
    assert_int_equal(chdir(before), 0);
    leave(&p);
}

static void an_epoch_leaves_a_line_of_performance(void **state) {
    (void)state;
    Place p = place();
    RunRecord *record;
    EpochResult r = result_of(1);
    SchedulerProgress progress = {.epoch = 1, .phase = "evaluating", .n_instances = 4711, .instances_per_s = 2.5};
    assert_int_equal(run_record_open(&record, &p.config, p.text, NULL), OK);
    assert_int_equal(log_open("test", LOG_ERROR, NULL), OK);
    run_record_progress(record, &progress);
    run_record_show_epoch(record, &r);
    char *text = contents(&p, "perf.jsonl");
    json_t *line = json_loads(text, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(line, "instances")), 4711);
    assert_true(json_number_value(json_object_get(line, "instances_per_s")) == 2.5);
    json_decref(line);
    free(text);
    run_record_close(&record);
    leave(&p);
}

/* In its first seconds an epoch's rate is that of its opening. */
static void time_left_is_told_once_it_can_be(void **state) {
    (void)state;
    Config config;
    Report report;
    char line[256];
    config_defaults(&config);
    report_init(&report, &config);
    SchedulerProgress p = {.epoch = 2, .epochs = 50, .phase = "training", .steps_total = 1000};
    report_line(&report, &p, 10000, line, sizeof line);
    assert_null(strstr(line, "left"));
    p.steps_done = 10;
    report_line(&report, &p, 10900, line, sizeof line);
    assert_null(strstr(line, "left"));
    p.steps_done = 200;
    report_line(&report, &p, 20000, line, sizeof line); /* a fifth in 10 s */
    assert_non_null(strstr(line, "epoch 2 of at most 50  training  20 %"));
    assert_non_null(strstr(line, "0:40 left"));
    p.steps_done = 1000;
    report_line(&report, &p, 60000, line, sizeof line);
    assert_null(strstr(line, "left"));
}

static void durations_read_as_clocks_do(void **state) {
    (void)state;
    char text[32];
    report_duration(7, text, sizeof text);
    assert_string_equal(text, "0:07");
    report_duration(187, text, sizeof text);
    assert_string_equal(text, "3:07");
    report_duration(3765, text, sizeof text);
    assert_string_equal(text, "1:02:45");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_come_back_to_the_last_bit),
        cmocka_unit_test(a_line_that_fails_leaves_nothing_of_it),
        cmocka_unit_test(the_configuration_is_kept_beside_the_metrics),
        cmocka_unit_test(a_directory_takes_one_run_at_a_time),
        cmocka_unit_test(an_earlier_run_is_never_overwritten),
        cmocka_unit_test(a_directory_becomes_absolute),
        cmocka_unit_test(a_directory_under_one_that_is_no_utf8_is_refused),
        cmocka_unit_test(an_epoch_leaves_a_line_of_performance),
        cmocka_unit_test(time_left_is_told_once_it_can_be),
        cmocka_unit_test(durations_read_as_clocks_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
