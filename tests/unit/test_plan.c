/* The plan's arithmetic, on a small schema whose figures can be worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/options.h"
#include "deploy/plan.c" /* deploy is no library */

/* Two item tables of width 4, one for A and one for both; dense: 3x64 = 3 rows for B; stats: one sum for A. */
static void declare(Schema *s, uint32_t n_items) {
    *s = (Schema){0};
    schema_add_sparse(s, "item.A", REACHED_BY_A, n_items, 4, 0.01);
    schema_add_sparse(s, "item.shared", REACHED_BY_BOTH, n_items, 4, 0.01);
    schema_add_dense(s, "head.B", REACHED_BY_B, 3, 64, INIT_CONSTANT, 0, true);
    schema_add_sum(s, "loss.A", REACHED_BY_A, 1, 4);
    schema_finish(s);
}

static ChunkCounts chunks[] = {{{{70, 10, 10}, {30, 5, 5}}}, {{{50, 0, 10}, {61, 5, 0}}}};

static DataInfo info_of(uint32_t n_items) {
    return (DataInfo){
        .n_items = n_items, .n_users = 50, .n_chunks = 2, .n_train_items = {300, 500}, .counts = {chunks, chunks}};
}

static Config config_of(int batch, int ranks) {
    Config c;
    config_defaults(&c);
    c.train.batch = batch;
    c.train.ranks = ranks;
    c.train.consistency = ranks > 1 ? CONSISTENCY_SYNC : CONSISTENCY_ASYNC;
    c.eval.batch = 8;
    return c;
}

static Plan plan_of(const Config *c, const DataInfo *info, const PlanSample *samples) {
    static Schema schema; /* a plan borrows its names */
    Plan plan;
    declare(&schema, info ? info->n_items : 2);
    assert_int_equal(plan_make(&plan, c, &schema, info, samples), OK);
    return plan;
}

static const PlanTable *table_of(const Plan *plan, const char *name) {
    for (int i = 0; i < plan->n_tables; i++) {
        if (!strcmp(plan->tables[i].name, name))
            return &plan->tables[i];
    }
    fail_msg("no table %s", name);
    return NULL;
}

static void item_tables_hold_at_most_what_training_touches(void **state) {
    (void)state;
    Config c = config_of(20, 1);
    DataInfo many = info_of(1000), few = info_of(600);
    Plan plan = plan_of(&c, &many, NULL);
    assert_int_equal(table_of(&plan, "A")->rows, 300);
    assert_int_equal(table_of(&plan, "shared")->rows, 800);
    assert_false(table_of(&plan, "shared")->is_exact);
    plan = plan_of(&c, &few, NULL);
    assert_int_equal(table_of(&plan, "shared")->rows, 599); /* never more than there are ids, less padding */
}

static void dense_and_stats_rows_are_exact_without_data(void **state) {
    (void)state;
    Config c = config_of(20, 1);
    Plan plan = plan_of(&c, NULL, NULL);
    assert_false(table_of(&plan, "A")->is_known);
    assert_true(table_of(&plan, "dense_B")->is_exact);
    assert_int_equal(table_of(&plan, "dense_B")->rows, 3);
    assert_int_equal(table_of(&plan, "stats")->rows, 1);
}

static void a_row_carries_one_moment_set_per_domain(void **state) {
    (void)state;
    Config c = config_of(20, 1);
    Plan adam = plan_of(&c, NULL, NULL);
    assert_int_equal(table_of(&adam, "A")->row_bytes, 4 * (4 + 8) + 24);
    assert_int_equal(table_of(&adam, "shared")->row_bytes, 4 * (4 + 16) + 24);
    assert_int_equal(table_of(&adam, "dense_B")->row_bytes, 4 * (64 + 128) + 24);
    assert_int_equal(table_of(&adam, "stats")->row_bytes, 4 * 64 + 24);
    c.optimizer.kind = OPTIMIZER_SGD;
    Plan sgd = plan_of(&c, NULL, NULL);
    assert_int_equal(table_of(&sgd, "shared")->row_bytes, 4 * 4 + 24);
}

static void servers_share_the_memory(void **state) {
    (void)state;
    Config c = config_of(20, 1);
    DataInfo info = info_of(1000);
    c.cluster.servers = 3;
    Plan plan = plan_of(&c, &info, NULL);
    uint64_t bytes = 300 * 72 + 800 * 104 + 3 * 792 + 280;
    assert_int_equal(plan.bytes, bytes);
    assert_int_equal(plan.server_bytes, (bytes + 2) / 3);
}

static void steps_stay_in_their_chunks(void **state) {
    (void)state;
    Config c = config_of(20, 1);
    DataInfo info = info_of(1000);
    Plan plan = plan_of(&c, &info, NULL);
    assert_int_equal(plan.domains[0].instances, 120);
    assert_int_equal(plan.domains[0].steps, 4 + 3); /* ceil(70/20) + ceil(50/20) */
    assert_int_equal(plan.domains[1].steps, 2 + 4);
    assert_int_equal(plan.domains[0].eval_batches[SPLIT_VALID], 2);
    assert_int_equal(plan.domains[0].eval_batches[SPLIT_TEST], 4);
    c = config_of(20, 2);
    plan = plan_of(&c, &info, NULL);
    assert_int_equal(plan.domains[0].steps, 2 + 2);
    assert_int_equal(plan.domains[0].batches, 8);
}

static void a_batch_moves_what_was_measured_and_its_statistics(void **state) {
    (void)state;
    Config c = config_of(20, 1);
    DataInfo info = info_of(1000);
    PlanSample samples[N_DOMAINS] = {{.n_batches = 8, .n_keys = 100, .n_values = 400},
                                     {.n_batches = 8, .n_keys = 53, .n_values = 392}};
    Plan plan = plan_of(&c, &info, samples);
    assert_true(plan.domains[0].is_measured);
    assert_int_equal(plan.domains[0].pull_bytes, 100 * 8 + 400 * 4);
    assert_int_equal(plan.domains[0].push_bytes, 100 * 8 + 400 * 4 + 8 + 64 * 4); /* and the row of loss.A */
    assert_int_equal(plan.domains[1].push_bytes, 53 * 8 + 392 * 4);
}

static void without_data_a_batch_is_bounded_by_its_size(void **state) {
    (void)state;
    Config c = config_of(20, 1); /* 20 instances, 20 of history and 10 candidates */
    Plan plan = plan_of(&c, NULL, NULL);
    assert_false(plan.domains[0].is_measured);
    assert_int_equal(plan.domains[0].pull_bytes, 2 * 600 * (8 + 16));
    assert_int_equal(plan.domains[1].pull_bytes, 600 * (8 + 16) + 3 * (8 + 256));
}

static void the_json_is_json_and_says_the_same(void **state) {
    (void)state;
    for (int has_data = 0; has_data < 2; has_data++) {
        Config c = config_of(20, 1);
        DataInfo info = info_of(1000);
        Plan plan = plan_of(&c, has_data ? &info : NULL, NULL);
        char *text;
        size_t size;
        FILE *out = open_memstream(&text, &size);
        plan_print_json(&plan, out);
        fclose(out);
        json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(root);
        assert_int_equal(json_integer_value(json_object_get(root, "server_bytes")), plan.server_bytes);
        json_t *rows = json_object_get(json_array_get(json_object_get(root, "tables"), 0), "rows");
        assert_true(has_data ? json_integer_value(rows) == 300 : json_is_null(rows));
        json_t *a = json_object_get(json_object_get(root, "domains"), "A");
        assert_int_equal(json_object_get(a, "steps") != NULL, has_data);
        json_decref(root);
        free(text);
    }
}

static void a_printed_plan_is_a_yaml_comment(void **state) {
    (void)state;
    Config c = config_of(20, 1);
    DataInfo info = info_of(1000);
    Plan plan = plan_of(&c, &info, NULL);
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    plan_print(&plan, out);
    fclose(out);
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) && rest;)
        assert_int_equal(line[0], '#');
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(item_tables_hold_at_most_what_training_touches),
        cmocka_unit_test(dense_and_stats_rows_are_exact_without_data),
        cmocka_unit_test(a_row_carries_one_moment_set_per_domain),
        cmocka_unit_test(servers_share_the_memory),
        cmocka_unit_test(steps_stay_in_their_chunks),
        cmocka_unit_test(a_batch_moves_what_was_measured_and_its_statistics),
        cmocka_unit_test(without_data_a_batch_is_bounded_by_its_size),
        cmocka_unit_test(the_json_is_json_and_says_the_same),
        cmocka_unit_test(a_printed_plan_is_a_yaml_comment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
