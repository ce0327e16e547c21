/* link: mg_worker mg_store_f32 */
/* The compute thread and the loop's side of it, with servers made of stores and messages that pass as calls: everything
 * of a worker's threads but ZeroMQ, so that ThreadSanitizer can watch it. */
#include <pthread.h>
#include <time.h>

#include "tests/unit/trainer_fixture.h"

#include "deploy/local_client.c" /* the program's own file: no library holds deploy/ */
#include "worker/compute.h"

enum { N_SERVERS = 2, DEADLINE_MS = 60 * 1000, CREDIT_BYTES = 1 << 20, CREDIT_REQUESTS = 4 };

typedef struct Loom {
    Run *run; /* configuration, geometry and schema; its store is the expected result */
    Store *stores[N_SERVERS];
    char *endpoints[N_SERVERS];
    ClusterView view;
    Compute *compute;
    pthread_mutex_t mutex;
    pthread_cond_t knocked;
    bool has_knocked, is_mute; /* is_mute: the servers take requests and never answer */
    uint64_t n_held;           /* requests that a mute server has taken */
    uint32_t n_scored;
    uint64_t now_ms;
} Loom;

static void knock(void *ctx) {
    Loom *l = ctx;
    pthread_mutex_lock(&l->mutex);
    l->has_knocked = true;
    pthread_cond_signal(&l->knocked);
    pthread_mutex_unlock(&l->mutex);
}

static Loom *loom_open(const Dataset *data, const Config *config) {
    Loom *l = must_calloc(1, sizeof *l);
    l->run = run_open(data, config);
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->knocked, NULL);
    l->view = (ClusterView){.map = 1, .n_servers = N_SERVERS, .endpoints = l->endpoints};
    for (uint32_t i = 0; i < N_SLOTS; i++)
        l->view.slots[i] = (uint16_t)(i % N_SERVERS);
    for (int s = 0; s < N_SERVERS; s++) {
        l->endpoints[s] = "inproc://server";
        assert_int_equal(store_open(&l->stores[s], &l->run->schema, &config->optimizer, config->train.seed, 1), OK);
        store_open_epoch(l->stores[s], 1, (uint32_t[]){run_steps(l->run, DOMAIN_A), run_steps(l->run, DOMAIN_B)});
    }
    ComputeOptions options = {.data = data,
                              .geometry = &l->run->geometry,
                              .config = &l->run->config,
                              .schema = &l->run->schema,
                              .model = model_find(config->model.name),
                              .remote = {.schema = &l->run->schema,
                                         .config = 1,
                                         .is_sync = config->train.consistency == CONSISTENCY_SYNC,
                                         .limits = {.silent_ms = 1000, .request_ms = 100000}},
                              .notify = knock,
                              .ctx = l};
    assert_int_equal(compute_open(&l->compute, &options), OK);
    compute_set_view(l->compute, &l->view, l->now_ms);
    return l;
}

static void loom_close(Loom *l) {
    compute_close(&l->compute);
    for (int s = 0; s < N_SERVERS; s++)
        store_close(&l->stores[s]);
    pthread_cond_destroy(&l->knocked);
    pthread_mutex_destroy(&l->mutex);
    run_close(l->run);
    free(l);
}

/* ---- the servers -------------------------------------------------------------------------------------------- */

static void answer_pull(Loom *l, uint32_t server, Message *pull, Message *out) {
    size_t bytes, n_values;
    const uint64_t *keys = message_bytes(pull, 0, pull->n_frames, &bytes);
    uint32_t n_keys = (uint32_t)pull->pull.n_keys;
    assert_int_equal(store_check_keys(l->stores[server], keys, n_keys, &n_values), OK);
    float *values = must_alloc(n_values * sizeof *values + 1);
    store_pull(l->stores[server], keys, n_keys, values);
    message_init(out, MESSAGE_VALUES);
    out->values.n_values = n_values;
    if (n_values)
        message_add_bytes(out, values, n_values * sizeof *values);
    free(values);
}

static void answer_push(Loom *l, uint32_t server, Message *push, Message *out) {
    uint32_t n_keys = (uint32_t)push->push.n_keys;
    int n_key_frames = n_keys > 0; /* fewer than 131,072 keys: one frame */
    size_t key_bytes, value_bytes;
    const uint64_t *keys = message_bytes(push, 0, n_key_frames, &key_bytes);
    const float *grads = message_bytes(push, n_key_frames, push->n_frames - n_key_frames, &value_bytes);
    Work work = {
        .epoch = (uint32_t)push->push.epoch, .domain = (uint8_t)push->push.domain, .step = (uint32_t)push->push.step};
    PushResult result;
    assert_int_equal(store_push(l->stores[server], &work, keys, n_keys, grads, &result), OK);
    assert_int_equal(result, PUSH_APPLIED);
    message_init(out, MESSAGE_PUSHED);
}

static void answer(Loom *l, uint32_t server, Message *request) {
    Message reply;
    if (request->type == MESSAGE_HELLO) {
        message_init(&reply, MESSAGE_WELCOME);
        reply.welcome.config = 1;
        reply.welcome.credit_bytes = CREDIT_BYTES;
        reply.welcome.credit_requests = CREDIT_REQUESTS;
    } else if (request->type == MESSAGE_PULL) {
        answer_pull(l, server, request, &reply);
    } else {
        answer_push(l, server, request, &reply);
    }
    reply.sequence = request->sequence;
    compute_on_message(l->compute, server, &reply, l->now_ms);
    message_free(&reply);
}

/* ---- the loop ----------------------------------------------------------------------------------------------- */

static void wait_for_knock(Loom *l) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_MS / 1000;
    pthread_mutex_lock(&l->mutex);
    while (!l->has_knocked)
        assert_int_equal(pthread_cond_timedwait(&l->knocked, &l->mutex, &until), 0);
    l->has_knocked = false;
    pthread_mutex_unlock(&l->mutex);
}

/* Moves what there is to move; false: nothing. */
static bool turn(Loom *l) {
    bool has_moved = false;
    uint32_t server;
    for (Message m; compute_next_request(l->compute, &server, &m, l->now_ms); has_moved = true) {
        if (l->is_mute && m.type != MESSAGE_HELLO)
            l->n_held++;
        else
            answer(l, server, &m);
        message_free(&m);
    }
    for (Message m; compute_next_scores(l->compute, &m); has_moved = true) {
        l->n_scored += (uint32_t)m.scores.n;
        message_free(&m);
    }
    return has_moved;
}

static ComputeResult finish(Loom *l) {
    ComputeResult result;
    while (!compute_take_result(l->compute, &result))
        if (!turn(l))
            wait_for_knock(l);
    return result;
}

static void give_part(Loom *l, uint64_t lease, Part part) {
    Message m = lease_message(LEASE_PART, 1, NULL, 0);
    Assignment a;
    m.lease.lease = lease;
    m.lease.chunk = part.chunk;
    m.lease.part = part.index;
    assert_int_equal(assignment_decode(&a, &m, &l->run->geometry, &l->run->config), OK);
    message_free(&m);
    compute_work(l->compute, &a);
}

static void connect_servers(Loom *l) {
    turn(l);
    assert_true(compute_is_connected(l->compute));
}

static void wait_until_held(Loom *l, uint64_t n) {
    while (l->n_held < n)
        if (!turn(l))
            wait_for_knock(l);
}

/* ---- claims ------------------------------------------------------------------------------------------------- */

typedef struct Halves {
    Loom *loom;
    uint64_t n_rows;
} Halves;

/* Each of the expected rows is on the server that owns it, bit for bit: pulled values, and t through the next push. */
static void expect_row(void *ctx, uint64_t key, const real *row) {
    Halves *h = ctx;
    Loom *l = h->loom;
    float found[SCHEMA_DENSE_WIDTH];
    uint32_t width = l->run->schema.tables[key_table(key)].width;
    store_pull(l->stores[l->view.slots[key_slot(key)]], &key, 1, found);
    assert_memory_equal(found, row, width * sizeof *found);
    h->n_rows++;
}

static void over_two_servers_a_worker_ends_in_the_bits_of_one_store(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Config config = small_config(CONSISTENCY_ASYNC, 1, 20);
    Loom *l = loom_open(data, &config);
    connect_servers(l);
    run_open_epoch(l->run, 1);
    train_parts(l->run, 1);
    uint32_t n = geometry_parts(&l->run->geometry);
    Part *order = must_alloc(n * sizeof *order);
    geometry_part_order(&l->run->geometry, config.train.seed, 1, order);
    for (uint32_t i = 0; i < n; i++) {
        give_part(l, i + 1, order[i]);
        ComputeResult result = finish(l);
        assert_int_equal(result.code, OK);
        assert_true(result.result.is_done);
    }
    free(order);
    Halves h = {.loom = l};
    for (int table = 0; table < l->run->schema.n_tables; table++)
        for (uint32_t slot = 0; slot < N_SLOTS; slot++)
            store_visit(l->run->store, table, slot, expect_row, &h);
    assert_true(h.n_rows > 100);
    assert_int_equal(store_stats(l->stores[0]).n_rows + store_stats(l->stores[1]).n_rows, h.n_rows);
    loom_close(l);
    dataset_close(&data);
}

static void with_prefetch_every_step_reaches_every_server(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Config config = small_config(CONSISTENCY_ASYNC, 1, 20);
    config.train.prefetch = 1;
    Loom *l = loom_open(data, &config);
    connect_servers(l);
    for (uint32_t chunk = 0; chunk < l->run->geometry.n_chunks; chunk++) {
        give_part(l, chunk + 1, (Part){chunk, 0});
        assert_true(finish(l).result.is_done);
    }
    for (int s = 0; s < N_SERVERS; s++)
        assert_int_equal(store_applied_count(l->stores[s]), run_steps(l->run, DOMAIN_A) + run_steps(l->run, DOMAIN_B));
    loom_close(l);
    dataset_close(&data);
}

static void scores_come_before_the_result(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Config config = small_config(CONSISTENCY_ASYNC, 1, 20);
    config.eval.batch = 2; /* many messages of scores: they fill their queue */
    Loom *l = loom_open(data, &config);
    connect_servers(l);
    for (uint32_t chunk = 0; chunk < l->run->geometry.n_chunks; chunk++) {
        Assignment a;
        uint32_t before = l->n_scored;
        evaluation_of(l->run, chunk, DOMAIN_A, SPLIT_VALID, &a);
        compute_work(l->compute, &a);
        assert_true(finish(l).result.is_done);
        assert_int_equal(l->n_scored - before, l->run->geometry.counts[chunk].n[DOMAIN_A][SPLIT_VALID]);
    }
    loom_close(l);
    dataset_close(&data);
}

static void a_revoked_lease_does_not_wait_for_values(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Config config = small_config(CONSISTENCY_SYNC, 1, 20);
    Loom *l = loom_open(data, &config);
    connect_servers(l);
    l->is_mute = true;
    give_part(l, 7, (Part){0, 0});
    wait_until_held(l, N_SERVERS);
    compute_revoke(l->compute, 6); /* another one's */
    compute_revoke(l->compute, 7);
    ComputeResult result = finish(l);
    assert_int_equal(result.code, OK);
    assert_false(result.result.is_done);
    assert_int_equal(result.result.n_steps, 0);
    loom_close(l);
    dataset_close(&data);
}

static void a_server_that_falls_silent_ends_the_work_with_its_name(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Config config = small_config(CONSISTENCY_ASYNC, 1, 20);
    Loom *l = loom_open(data, &config);
    connect_servers(l);
    l->is_mute = true;
    give_part(l, 1, (Part){0, 0});
    wait_until_held(l, N_SERVERS);
    l->now_ms += 1001;
    compute_on_tick(l->compute, l->now_ms);
    ComputeResult result = finish(l);
    assert_int_equal(result.code, ERR_PEER);
    assert_non_null(strstr(result.sentence, "server 0 at inproc://server"));
    loom_close(l);
    dataset_close(&data);
}

static void closing_ends_a_wait_at_once(void **state) {
    Dataset *data = random_dataset(*state, SPLIT_BY_QUANTILE);
    Config config = small_config(CONSISTENCY_ASYNC, 1, 20);
    Loom *l = loom_open(data, &config);
    connect_servers(l);
    l->is_mute = true;
    give_part(l, 1, (Part){0, 0});
    wait_until_held(l, N_SERVERS);
    loom_close(l); /* would hang */
    dataset_close(&data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(over_two_servers_a_worker_ends_in_the_bits_of_one_store),
        SCRATCH_TEST(with_prefetch_every_step_reaches_every_server),
        SCRATCH_TEST(scores_come_before_the_result),
        SCRATCH_TEST(a_revoked_lease_does_not_wait_for_values),
        SCRATCH_TEST(a_server_that_falls_silent_ends_the_work_with_its_name),
        SCRATCH_TEST(closing_ends_a_wait_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
