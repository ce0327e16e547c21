/* Batches: each instance once an epoch, histories and negatives as specified, the same whoever asks.
 * link: mg_data */
#include "data_fixture.h"

#include <math.h>

#include "worker/data/batch.h"

typedef struct Setup {
    Dataset *data;
    Geometry geometry;
    Config config;
    Batcher *batcher;
    Arena arena;
} Setup;

static void setup_open(Setup *x, const Scratch *s, SplitKind split, uint32_t ranks, int inputs) {
    memset(x, 0, sizeof *x);
    x->data = random_dataset(s, split);
    x->config.model.seq_len = 7;
    x->config.train.seed = 42;
    x->config.train.batch = 16;
    x->config.train.negatives = 9;
    x->config.eval.protocol = PROTOCOL_WARM;
    const DataInfo *info = dataset_info(x->data);
    assert_int_equal(geometry_init(&x->geometry, info->counts[PROTOCOL_WARM], info->n_chunks, ranks, 16, 25), OK);
    x->batcher = batcher_open(x->data, &x->geometry, &x->config, inputs);
    arena_init(&x->arena, 1 << 16);
}

static void setup_close(Setup *x) {
    arena_free(&x->arena);
    batcher_close(&x->batcher);
    geometry_free(&x->geometry);
    dataset_close(&x->data);
}

static Batch train_batch(Setup *x, int domain, uint32_t epoch, uint32_t step, uint16_t rank) {
    Batch batch;
    Work work = {.epoch = epoch, .domain = (uint8_t)domain, .split = SPLIT_TRAIN, .rank = rank, .step = step};
    batcher_train(x->batcher, &work, &x->arena, &batch);
    return batch;
}

/* The instance of the training list that made this row of the batch: user, target and history agree. */
static uint32_t find_instance(const Dataset *d, int domain, const Batch *b, int i, int seq_len) {
    uint32_t n, n_events;
    const uint32_t *items = dataset_event_items(d, domain, &n_events);
    const Instance *list = dataset_instances(d, domain, SPLIT_TRAIN, PROTOCOL_WARM, &n);
    uint32_t length = b->offset[i + 1] - b->offset[i];
    for (uint32_t k = 0; k < n; k++) {
        uint32_t whole = list[k].target - list[k].first;
        if (list[k].user != b->user[i] || items[list[k].target] != b->cand[i * b->n_candidates])
            continue;
        assert_int_equal(length, whole < (uint32_t)seq_len ? whole : (uint32_t)seq_len);
        assert_memory_equal(b->hist + b->offset[i], items + list[k].target - length, length * sizeof *items);
        return k;
    }
    fail_msg("a row of the batch is no training instance");
    return 0;
}

static void an_epoch_visits_every_instance_once(void **state) {
    Setup x;
    setup_open(&x, *state, SPLIT_BY_QUANTILE, 3, 0);
    for (int domain = 0; domain < N_DOMAINS; domain++) {
        uint32_t n, n_seen = 0;
        (void)dataset_instances(x.data, domain, SPLIT_TRAIN, PROTOCOL_WARM, &n);
        uint8_t *seen = calloc(n, 1);
        for (uint32_t step = 0; step < geometry_steps(&x.geometry, domain, SPLIT_TRAIN); step++) {
            int in_step = 0, promised = 0;
            for (uint16_t rank = 0; rank < 3; rank++) {
                Batch b = train_batch(&x, domain, 1, step, rank);
                assert_int_equal(b.offset[b.n_instances], b.n_positions);
                in_step += b.n_instances;
                promised = b.step_instances;
                for (int i = 0; i < b.n_instances; i++, n_seen++) {
                    uint32_t k = find_instance(x.data, domain, &b, i, 7);
                    assert_false(seen[k]);
                    seen[k] = 1;
                }
                arena_reset(&x.arena);
            }
            assert_int_equal(in_step, promised);
        }
        assert_int_equal(n_seen, n);
        free(seen);
    }
    setup_close(&x);
}

/* The slices of R ranks of b instances, one behind the other, are the batch of one rank with R*b. */
static void ranks_slice_the_step_in_order(void **state) {
    Setup x, whole;
    setup_open(&x, *state, SPLIT_BY_QUANTILE, 3, 0);
    setup_open(&whole, *state, SPLIT_BY_QUANTILE, 3, 0);
    whole.config.train.batch = 48;
    bool has_empty = false;
    for (uint32_t step = 0; step < geometry_steps(&x.geometry, DOMAIN_B, SPLIT_TRAIN); step++) {
        Batch all = train_batch(&whole, DOMAIN_B, 2, step, 0);
        int at = 0;
        for (uint16_t rank = 0; rank < 3; rank++) {
            Batch b = train_batch(&x, DOMAIN_B, 2, step, rank);
            size_t bytes = (size_t)b.n_instances * 10 * sizeof *b.cand;
            assert_int_equal(b.step_instances, all.n_instances);
            assert_memory_equal(b.cand, all.cand + at * 10, bytes);
            assert_memory_equal(b.user, all.user + at, (size_t)b.n_instances * sizeof *b.user);
            at += b.n_instances;
            has_empty |= b.n_instances == 0;
        }
        assert_int_equal(at, all.n_instances);
        arena_reset(&x.arena);
        arena_reset(&whole.arena);
    }
    assert_true(has_empty);
    setup_close(&x);
    setup_close(&whole);
}

static void assert_same_batch(const Batch *a, const Batch *b) {
    assert_int_equal(a->n_instances, b->n_instances);
    assert_int_equal(a->n_positions, b->n_positions);
    assert_memory_equal(a->hist, b->hist, (size_t)a->n_positions * sizeof *a->hist);
    assert_memory_equal(a->cand, b->cand, (size_t)(a->n_instances * a->n_candidates) * sizeof *a->cand);
    assert_memory_equal(a->user, b->user, (size_t)a->n_instances * sizeof *a->user);
}

/* Whoever is asked, and whatever was asked before. */
static void a_batch_is_a_function_of_its_name(void **state) {
    Setup x, y;
    setup_open(&x, *state, SPLIT_BY_QUANTILE, 1, 0);
    setup_open(&y, *state, SPLIT_BY_QUANTILE, 1, 0);
    uint32_t n_steps = geometry_steps(&x.geometry, DOMAIN_A, SPLIT_TRAIN);
    for (uint32_t i = 0; i < n_steps; i++) {
        uint32_t step = n_steps - 1 - i;
        (void)train_batch(&y, DOMAIN_A, 2, i, 0);
        Batch a = train_batch(&x, DOMAIN_A, 1, step, 0), b = train_batch(&y, DOMAIN_A, 1, step, 0);
        assert_same_batch(&a, &b);
        arena_reset(&x.arena);
        arena_reset(&y.arena);
    }
    setup_close(&x);
    setup_close(&y);
}

static void epochs_and_seeds_change_order_and_negatives(void **state) {
    Setup x;
    setup_open(&x, *state, SPLIT_BY_QUANTILE, 1, 0);
    Batch first = train_batch(&x, DOMAIN_A, 1, 0, 0), second = train_batch(&x, DOMAIN_A, 2, 0, 0);
    size_t users = (size_t)first.n_instances * sizeof *first.user;
    assert_memory_not_equal(first.user, second.user, users);
    x.config.train.seed = 43;
    Batch third = train_batch(&x, DOMAIN_A, 3, 0, 0);
    assert_memory_not_equal(third.user, first.user, users);
    setup_close(&x);
}

/* 9 draws from the list of targets, redrawn where they hit the positive. Each item's share among the negatives is its
 * share of the targets: over 40 epochs an item with n targets is drawn with standard error below 2 % where n is large;
 * here the whole distribution is compared, sum |p - q| < .1. */
static void negatives_follow_the_targets_and_avoid_the_positive(void **state) {
    Setup x;
    setup_open(&x, *state, SPLIT_BY_QUANTILE, 1, 0);
    uint32_t n_targets, n_items = dataset_info(x.data)->n_items;
    const uint32_t *targets = dataset_targets(x.data, DOMAIN_B, &n_targets);
    double *want = calloc(n_items, sizeof *want), *got = calloc(n_items, sizeof *got), n = 0, distance = 0;
    for (uint32_t i = 0; i < n_targets; i++)
        want[targets[i]] += 1.0 / n_targets;
    for (uint32_t epoch = 1; epoch <= 40; epoch++)
        for (uint32_t step = 0; step < geometry_steps(&x.geometry, DOMAIN_B, SPLIT_TRAIN); step++) {
            Batch b = train_batch(&x, DOMAIN_B, epoch, step, 0);
            assert_int_equal(b.n_candidates, 10);
            for (int i = 0; i < b.n_instances * 10; i++) {
                if (i % 10 == 0)
                    continue;
                assert_int_not_equal(b.cand[i], b.cand[i / 10 * 10]);
                got[b.cand[i]]++;
                n++;
            }
            arena_reset(&x.arena);
        }
    for (uint32_t i = 0; i < n_items; i++)
        distance += fabs(got[i] / n - want[i]);
    assert_true(distance < 0.1);
    free(want);
    free(got);
    setup_close(&x);
}

static void evaluation_ranks_the_stored_candidates(void **state) {
    Setup x;
    setup_open(&x, *state, SPLIT_BY_QUANTILE, 1, 0);
    for (int domain = 0; domain < N_DOMAINS; domain++)
        for (int split = SPLIT_VALID; split < N_SPLITS; split++) {
            uint32_t n, at = 0, n_events;
            const uint32_t *items = dataset_event_items(x.data, domain, &n_events);
            const Instance *list = dataset_instances(x.data, domain, (Split)split, PROTOCOL_WARM, &n);
            for (uint32_t step = 0; step < geometry_steps(&x.geometry, domain, (Split)split); step++) {
                Batch b;
                Work work = {.epoch = 1, .pass = 1, .domain = (uint8_t)domain, .split = (uint8_t)split, .step = step};
                batcher_eval(x.batcher, &work, &x.arena, &b);
                assert_int_equal(b.step_instances, b.n_instances);
                for (int i = 0; i < b.n_instances; i++, at++) {
                    assert_int_equal(b.user[i], list[at].user);
                    assert_int_equal(b.cand[i * 10], items[list[at].target]);
                    assert_memory_equal(b.cand + i * 10 + 1,
                                        dataset_negatives(x.data, domain, (Split)split, PROTOCOL_WARM, at), 36);
                    assert_int_equal(b.hist[b.offset[i + 1] - 1], items[list[at].target - 1]);
                }
                arena_reset(&x.arena);
            }
            assert_int_equal(at, n);
        }
    setup_close(&x);
}

/* Row i: the user's other events before the target's time, and in training before the other domain's validation. */
static void check_other(const Setup *x, const Batch *b, int i, bool is_training) {
    int other = 1 - b->domain;
    uint32_t first, n, n_events, end = 0, kept;
    const uint32_t *items = dataset_event_items(x->data, other, &n_events);
    const int64_t *times = dataset_event_times(x->data, other);
    dataset_user_events(x->data, other, b->user[i], &first, &n);
    while (end < n && times[first + end] < b->target_time[i] &&
           (!is_training || times[first + end] < dataset_train_end(x->data, other)))
        end++;
    kept = end < 7 ? end : 7;
    assert_int_equal(b->other_offset[i + 1] - b->other_offset[i], kept);
    assert_memory_equal(b->other + b->other_offset[i], items + first + end - kept, kept * sizeof *items);
    assert_memory_equal(b->other_time + b->other_offset[i], times + first + end - kept, kept * sizeof *times);
}

static void times_and_the_other_domain_come_when_asked_for(void **state) {
    Setup x;
    setup_open(&x, *state, SPLIT_BY_QUANTILE, 1, 0);
    Batch plain = train_batch(&x, DOMAIN_A, 1, 0, 0);
    assert_true(!plain.hist_time && !plain.target_time && !plain.other && !plain.other_offset);
    setup_close(&x);
    setup_open(&x, *state, SPLIT_BY_QUANTILE, 1, INPUT_TIMES | INPUT_OTHER);
    uint32_t n_other = 0;
    for (int domain = 0; domain < N_DOMAINS; domain++) {
        for (uint32_t step = 0; step < geometry_steps(&x.geometry, domain, SPLIT_TRAIN); step++) {
            Batch b = train_batch(&x, domain, 1, step, 0);
            for (int i = 0; i < b.n_instances; i++)
                check_other(&x, &b, i, true);
            for (int i = 0; i < b.n_instances; i++)
                for (uint32_t k = b.offset[i]; k < b.offset[i + 1]; k++)
                    assert_true(b.hist_time[k] <= b.target_time[i]);
            n_other += b.other_offset[b.n_instances];
            arena_reset(&x.arena);
        }
        Batch b;
        Work work = {.epoch = 1, .pass = 1, .domain = (uint8_t)domain, .split = SPLIT_TEST, .step = 0};
        batcher_eval(x.batcher, &work, &x.arena, &b);
        for (int i = 0; i < b.n_instances; i++)
            check_other(&x, &b, i, false);
    }
    assert_true(n_other > 0);
    setup_close(&x);
}

static void a_second_pass_needs_no_more_memory(void **state) {
    Setup x;
    setup_open(&x, *state, SPLIT_BY_QUANTILE, 1, INPUT_TIMES | INPUT_OTHER);
    size_t peak = 0;
    for (uint32_t epoch = 1; epoch <= 2; epoch++)
        for (uint32_t step = 0; step < geometry_steps(&x.geometry, DOMAIN_A, SPLIT_TRAIN); step++) {
            (void)train_batch(&x, DOMAIN_A, epoch, step, 0);
            arena_reset(&x.arena);
            if (epoch == 1)
                peak = x.arena.peak_bytes;
        }
    assert_true(peak < 1 << 16); /* the first block was enough, so nothing was allocated at all */
    assert_true(x.arena.peak_bytes < 1 << 16);
    setup_close(&x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(an_epoch_visits_every_instance_once),
        SCRATCH_TEST(ranks_slice_the_step_in_order),
        SCRATCH_TEST(a_batch_is_a_function_of_its_name),
        SCRATCH_TEST(epochs_and_seeds_change_order_and_negatives),
        SCRATCH_TEST(negatives_follow_the_targets_and_avoid_the_positive),
        SCRATCH_TEST(evaluation_ranks_the_stored_candidates),
        SCRATCH_TEST(times_and_the_other_domain_come_when_asked_for),
        SCRATCH_TEST(a_second_pass_needs_no_more_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
