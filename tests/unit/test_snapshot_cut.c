/* link: mg_server */
/* Files written while pushes go on are those of a store that rests; an increment holds what was touched. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "common/safetensors.h"
#include "tests/unit/snapshot_fixture.h"

static const char *const TABLES[] = {"A", "B", "shared", "dense_shared", "stats"};
enum { N_FILES = sizeof TABLES / sizeof *TABLES };

static char *file_path(const Snap *s, const char *dir, const char *table) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s/server-0.%s.safetensors", s->root, dir, table);
    return path;
}

static void assert_same_files(const Snap *s, const char *a, const char *b) {
    for (int i = 0; i < N_FILES; i++) {
        char *x, *y;
        size_t n_x, n_y;
        assert_int_equal(read_file(file_path(s, a, TABLES[i]), 1 << 28, &x, &n_x), OK);
        assert_int_equal(read_file(file_path(s, b, TABLES[i]), 1 << 28, &y, &n_y), OK);
        assert_int_equal(n_x, n_y);
        assert_memory_equal(x, y, n_x);
        free(x);
        free(y);
    }
}

typedef struct Writer {
    const Snap *s;
    StoreCut *cut;
    char dir[128];
    char *files;
    Err err;
    atomic_bool is_done;
} Writer;

static void *write_tables(void *ctx) {
    Writer *w = ctx;
    w->err = snapshot_write_tables(w->cut, &w->s->schema, 0, w->dir, NULL, &w->files);
    atomic_store(&w->is_done, true);
    return NULL;
}

/* Writes on another thread and pushes meanwhile. Steps of domain A with odd numbers were left free by snap_open. */
static void write_while_pushing(Snap *s, Writer *w, uint32_t *step, Rng *r) {
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, write_tables, w), 0);
    do
        snap_push(s, DOMAIN_A, *step += 2, r);
    while (!atomic_load(&w->is_done) && *step + 2 < 2 * SNAP_STEPS);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void files_of_a_busy_store_are_those_of_one_at_rest(void **state) {
    (void)state;
    Snap *s = snap_open();
    Rng r = rng_stream(SNAP_SEED, RNG_TEST, 1, 0);
    uint32_t step = 1;
    char dir[128], *at_rest;
    snprintf(dir, sizeof dir, "%s/rest", s->root);
    assert_int_equal(snap_tables(s, s->whole, 0, dir, &at_rest), OK);
    Writer w = {.s = s, .cut = store_cut_begin(s->whole, false, SIZE_MAX)};
    snprintf(w.dir, sizeof w.dir, "%s/busy", s->root);
    snap_push(s, DOMAIN_A, step, &r);
    write_while_pushing(s, &w, &step, &r);
    assert_int_equal(w.err, OK);
    assert_string_equal(w.files, at_rest); /* sizes and hashes */
    assert_same_files(s, "rest", "busy");
    store_cut_end(&w.cut, true);
    free(w.files);
    free(at_rest);
    snap_close(s);
}

static void an_increment_holds_only_what_was_touched(void **state) {
    (void)state;
    Snap *s = snap_open();
    Rng r = rng_stream(SNAP_SEED, RNG_TEST, 2, 0);
    char dir[128], *full, *files;
    Safetensors *all, *some;
    const void *ids, *slots;
    snprintf(dir, sizeof dir, "%s/full", s->root);
    assert_int_equal(snap_tables(s, s->whole, 0, dir, &full), OK);
    snap_push(s, DOMAIN_A, 1, &r);
    StoreCut *cut = store_cut_begin(s->whole, true, SIZE_MAX);
    snprintf(dir, sizeof dir, "%s/some", s->root);
    assert_int_equal(snapshot_write_tables(cut, &s->schema, 0, dir, NULL, &files), OK);
    store_cut_end(&cut, false);
    assert_int_equal(access(file_path(s, "some", "B"), F_OK), -1); /* a step of A does not reach it */
    assert_int_equal(safetensors_open(&all, file_path(s, "full", "shared")), OK);
    assert_int_equal(safetensors_open(&some, file_path(s, "some", "shared")), OK);
    uint64_t n_all = safetensors_find(all, "rows")->n_elements, n_some = safetensors_find(some, "rows")->n_elements;
    assert_in_range(n_some, SNAP_KEYS / 2, n_all); /* the rows pushed, and those beside them */
    assert_int_equal(safetensors_require(some, "rows", DTYPE_U64, &ids, 1, n_some), OK);
    assert_int_equal(safetensors_require(some, "slots", DTYPE_U64, &slots, 1, (uint64_t)(N_SLOTS + 1)), OK);
    const uint64_t *first = slots;
    assert_int_equal(first[N_SLOTS], n_some);
    for (uint32_t slot = 0; slot < N_SLOTS; slot++)
        for (uint64_t i = first[slot]; i < first[slot + 1]; i++) {
            uint64_t row = ((const uint64_t *)ids)[i];
            assert_int_equal(key_slot(key_of(TOY_SHARED, row)), slot);
            assert_true(i == first[slot] || ((const uint64_t *)ids)[i - 1] < row);
        }
    safetensors_close(&all);
    safetensors_close(&some);
    free(full);
    free(files);
    snap_close(s);
}

/* The store goes on as if the cut had not been, and the next snapshot is whole. */
static void a_write_that_fails_costs_only_itself(void **state) {
    (void)state;
    Snap *s = snap_open();
    Rng r = rng_stream(SNAP_SEED, RNG_TEST, 3, 0);
    uint32_t step = 1;
    char dir[128], *at_rest, *again;
    struct rlimit before, small;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 1000000, .rlim_max = before.rlim_max}; /* in the midst of the largest table */
    Writer w = {.s = s, .cut = store_cut_begin(s->whole, false, SIZE_MAX)};
    snprintf(w.dir, sizeof w.dir, "%s/failed", s->root);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    write_while_pushing(s, &w, &step, &r);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(w.err, ERR_IO);
    assert_null(w.files);
    store_cut_end(&w.cut, false);
    snprintf(dir, sizeof dir, "%s/rest", s->root);
    assert_int_equal(snap_tables(s, s->whole, 0, dir, &at_rest), OK);
    snprintf(dir, sizeof dir, "%s/failed", s->root); /* over what the failed one has left */
    assert_int_equal(snap_tables(s, s->whole, 0, dir, &again), OK);
    assert_same_files(s, "rest", "failed");
    free(at_rest);
    free(again);
    snap_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_a_busy_store_are_those_of_one_at_rest),
        cmocka_unit_test(an_increment_holds_only_what_was_touched),
        cmocka_unit_test(a_write_that_fails_costs_only_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
