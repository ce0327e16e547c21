/* link: mg_worker mg_store_f32 */
/* Dense rows that travel now and then: what is pulled, summed and pushed, against a training in which they travel with
 * every batch. The learning rate is so small that no value changes; so every gradient is the same in both, to the bit.
 */
#include <math.h>

#include "tests/unit/trainer_fixture.h"

#include "deploy/local_client.c" /* the program's own file: no library holds deploy/ */

enum { MOST_STEPS = 400 };

/* Between the trainer and its store. */
typedef struct Recorder {
    ParameterClient inner;
    Run *run;
    real *grads[N_DOMAINS][MOST_STEPS]; /* dense ones, of steps or under the first step of their group */
    uint16_t group[N_DOMAINS][MOST_STEPS];
    size_t n_dense[N_DOMAINS]; /* values */
    uint64_t n_fetches, n_wrong;
} Recorder;

static bool is_dense(const Recorder *r, uint64_t key) {
    const Table *t = &r->run->schema.tables[key_table(key)];
    return !t->is_sparse && !t->is_stats;
}

static Err record_pull_start(void *self, Exchange *x) {
    Recorder *r = self;
    r->n_fetches += x->n_keys && is_dense(r, x->keys[x->n_keys - 1]);
    Err err = r->inner.pull_start(r->inner.self, x);
    for (size_t i = 0; x->is_applied && i < x->n_values; i++)
        x->values[i] = NAN; /* undefined: nobody may use them */
    return err;
}

static Err record_pull_wait(void *self, Exchange *x) {
    Recorder *r = self;
    return r->inner.pull_wait(r->inner.self, x);
}

static Err record_push(void *self, const Work *work, const uint64_t *keys, uint32_t n_keys, const real *grads,
                       size_t n_values) {
    Recorder *r = self;
    size_t first = SIZE_MAX, n = 0, at = 0;
    for (uint32_t i = 0; i < n_keys; i++) {
        if (is_dense(r, keys[i])) {
            first = first == SIZE_MAX ? at : first;
            n += SCHEMA_DENSE_WIDTH;
        }
        at += r->run->schema.tables[key_table(keys[i])].width;
    }
    r->n_wrong += at != n_values || (work->group ? n != n_values : (n > 0) != (r->run->config.dense.push == 1));
    if (n && !store_has_push(r->run->store, work)) {
        real **kept = &r->grads[work->domain][work->step];
        r->n_wrong += *kept != NULL;
        *kept = must_realloc(*kept, n * sizeof **kept);
        memcpy(*kept, grads + first, n * sizeof **kept);
        r->n_dense[work->domain] = n;
        r->group[work->domain][work->step] = work->group;
    }
    return r->inner.push(r->inner.self, work, keys, n_keys, grads, n_values);
}

static Err record_flush(void *self) {
    Recorder *r = self;
    return r->inner.flush(r->inner.self);
}

static Recorder *recorder_open(const Dataset *data, int fetch, int push, int prefetch) {
    Recorder *r = must_calloc(1, sizeof *r);
    Config config = small_config(CONSISTENCY_ASYNC, 1, 20);
    config.optimizer.kind = OPTIMIZER_SGD;
    config.optimizer.lr = 1e-30;
    config.dense = (DenseConfig){.fetch = fetch, .push = push};
    config.train.prefetch = prefetch;
    r->run = run_open(data, &config);
    r->inner = r->run->inner;
    r->run->inner = (ParameterClient){.self = r,
                                      .pull_start = record_pull_start,
                                      .pull_wait = record_pull_wait,
                                      .push = record_push,
                                      .flush = record_flush};
    if (push > 1)
        store_use_groups(r->run->store);
    for (int d = 0; d < N_DOMAINS; d++)
        assert_true(run_steps(r->run, d) <= MOST_STEPS);
    run_open_epoch(r->run, 1);
    return r;
}

static void recorder_close(Recorder *r) {
    for (int d = 0; d < N_DOMAINS; d++)
        for (int i = 0; i < MOST_STEPS; i++)
            free(r->grads[d][i]);
    run_close(r->run);
    free(r);
}

/* The sum, in the order of steps, of what a training without groups pushes. */
static void expect_sums(const Recorder *grouped, const Recorder *plain) {
    for (int d = 0; d < N_DOMAINS; d++) {
        size_t n = plain->n_dense[d];
        real *sum = must_alloc(n * sizeof *sum);
        assert_int_equal(grouped->n_dense[d], n);
        for (uint32_t step = 0, size; step < run_steps(plain->run, d); step += size) {
            assert_non_null(grouped->grads[d][step]);
            size = grouped->group[d][step] ? grouped->group[d][step] : 1;
            for (size_t k = 0; k < n; k++) {
                sum[k] = 0;
                for (uint32_t i = 0; i < size; i++)
                    sum[k] += plain->grads[d][step + i][k];
            }
            assert_memory_equal(grouped->grads[d][step], sum, n * sizeof *sum);
            for (uint32_t i = 1; i < size; i++)
                assert_null(grouped->grads[d][step + i]);
        }
        free(sum);
    }
}

/* Leases a part; after stop_after steps, if not 0, it is taken back. */
static bool lease(Recorder *r, Part part, uint64_t stop_after) {
    TrainerResult result;
    Message m = lease_message(LEASE_PART, 1, NULL, 0);
    m.lease.chunk = part.chunk;
    m.lease.part = part.index;
    r->run->stop_after = stop_after;
    assert_int_equal(run_lease(r->run, &m, &result), OK);
    return result.is_done;
}

/* With stop_after each part is begun by a worker that loses it, and done by another. */
static void train_all(Recorder *r, const Dataset *data, uint64_t stop_after) {
    uint32_t n = geometry_parts(&r->run->geometry);
    Part *order = must_alloc(n * sizeof *order);
    geometry_part_order(&r->run->geometry, r->run->config.train.seed, 1, order);
    for (uint32_t i = 0; i < n; i++) {
        if (stop_after) {
            lease(r, order[i], stop_after);
            run_new_trainer(r->run, data);
        }
        assert_true(lease(r, order[i], 0));
    }
    free(order);
    assert_epoch_is_full(r->run);
    assert_int_equal(r->n_wrong, 0);
}

static void a_group_sums_what_its_steps_would_push_however_often_values_are_fetched(void **state) {
    static const int CASES[][3] = {{1, 5, 0}, {4, 1, 0}, {3, 3, 1}, {8, 8, 0}, {7, 2, 1}, {1000, 1000, 1}};
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Recorder *plain = recorder_open(data, 1, 1, 0);
    train_all(plain, data, 0);
    assert_int_equal(plain->n_fetches, run_steps(plain->run, DOMAIN_A) + run_steps(plain->run, DOMAIN_B));
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        Recorder *r = recorder_open(data, CASES[i][0], CASES[i][1], CASES[i][2]);
        train_all(r, data, 0);
        expect_sums(r, plain);
        uint64_t n_parts = geometry_parts(&r->run->geometry), n = (uint64_t)CASES[i][0];
        assert_true(r->n_fetches <= plain->n_fetches / n + N_DOMAINS * n_parts);
        assert_true(r->n_fetches >= plain->n_fetches / n);
        recorder_close(r);
    }
    recorder_close(plain);
    dataset_close(&data);
}

static void a_lease_taken_back_within_groups_leaves_them_whole_to_the_next_holder(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Recorder *plain = recorder_open(data, 1, 1, 0);
    train_all(plain, data, 0);
    for (uint64_t stop_after = 1; stop_after < 8; stop_after++)
        for (int prefetch = 0; prefetch < 2; prefetch++) {
            Recorder *r = recorder_open(data, 3, 4, prefetch);
            train_all(r, data, stop_after);
            expect_sums(r, plain);
            assert_int_equal(store_stats(r->run->store).t[DOMAIN_A], run_steps(r->run, DOMAIN_A));
            recorder_close(r);
        }
    recorder_close(plain);
    dataset_close(&data);
}

/* In a cut: one step is listed, its whole group is done. */
static void a_listed_step_brings_its_group(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Recorder *r = recorder_open(data, 1, 4, 0);
    Assignment a;
    Message m = lease_message(LEASE_STEPS, 1, (uint32_t[]){DOMAIN_A, 2}, 2);
    assert_int_equal(assignment_decode(&a, &m, &r->run->geometry, &r->run->config), OK);
    assert_true(a.n_steps >= 2 && a.n_steps == a.steps[0].group);
    for (uint32_t i = 0; i < a.n_steps; i++) {
        assert_int_equal(a.steps[i].domain, DOMAIN_A);
        assert_int_equal(a.steps[i].step, a.steps[0].step + i);
        assert_int_equal(a.steps[i].place % 4, i);
    }
    message_free(&m);
    assignment_free(&a);
    recorder_close(r);
    dataset_close(&data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(a_group_sums_what_its_steps_would_push_however_often_values_are_fetched),
        SCRATCH_TEST(a_lease_taken_back_within_groups_leaves_them_whole_to_the_next_holder),
        SCRATCH_TEST(a_listed_step_brings_its_group),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
