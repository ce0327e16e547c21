/* A disk that fails at the n-th call, for every n: a snapshot is whole or it is none, and the one before it stays
 * whole. link: mg_server faults The calls of this program go through libfiu's wrappers; which of them fail is decided
 * here. */
#include <errno.h>
#include <fiu-control.h>
#include <fiu.h>

#include "server/snapshot/snapshot_prune.h"
#include "tests/unit/snapshot_fixture.h"

enum { N_SERVERS = 2, MOST_CALLS = 2000 };

/* One call of one kind fails: the n-th from now on. */
typedef struct Fault {
    const char *point; /* libfiu's name of the call */
    int error;         /* the errno; 0: the call is cut short instead, and so is every later one */
} Fault;

static const Fault FAULTS[] = {
    {"posix/io/rw/write", EIO},     {"posix/io/rw/write/reduce", 0},  {"posix/io/rw/pwrite", EIO},
    {"posix/io/rw/pwrite", ENOSPC}, {"posix/io/rw/pwrite/reduce", 0}, {"posix/io/sync/fsync", EIO},
    {"posix/io/oc/open", EACCES},   {"posix/io/oc/close", EIO},       {"posix/io/dir/rename", EIO},
};
enum { N_FAULTS = sizeof FAULTS / sizeof *FAULTS };

/* libfiu's callback takes no context. */
static const Fault *fault;
static int calls_left, n_fired;

static int decides(const char *name, int *failnum, void **failinfo, unsigned int *flags) {
    (void)name, (void)failnum, (void)flags;
    if (calls_left > 0 && --calls_left > 0)
        return 0;
    if (fault->error && n_fired)
        return 0;
    n_fired++;
    *failinfo = (void *)(intptr_t)fault->error; /* NOLINT: libfiu's way to hand over an errno */
    return 1;
}

static void start_failing(const Fault *f, int n) {
    fault = f;
    calls_left = n;
    n_fired = 0;
    assert_int_equal(fiu_enable_external(f->point, 1, NULL, 0, decides), 0);
}

static void stop_failing(void) {
    assert_int_equal(fiu_disable(fault->point), 0);
}

typedef struct Cluster {
    Snap *s;
    uint16_t map[N_SLOTS];
    Store *parts[N_SERVERS];
} Cluster;

/* What the servers and the scheduler do for a snapshot of this epoch. */
static Err take_snapshot(const Cluster *c, uint32_t epoch, char dir[128]) {
    char *files[N_SERVERS] = {NULL};
    Err e = OK;
    snprintf(dir, 128, "%s/epoch-%04u", c->s->root, epoch);
    for (uint32_t i = 0; i < N_SERVERS && e == OK; i++)
        e = snap_tables(c->s, c->parts[i], i, dir, &files[i]);
    if (e == OK) {
        SnapshotFacts facts = snap_facts(c->s, dir, N_SERVERS, c->map, files, snap_manifest());
        facts.epoch = epoch;
        e = snapshot_commit(&facts, c->s->config_text, NULL);
    }
    for (uint32_t i = 0; i < N_SERVERS; i++)
        free(files[i]);
    return e;
}

static void is_whole(const Snap *s, const char *dir) {
    Store *store = snap_store(s, OPTIMIZER_ADAM);
    if (snap_load(s, dir, store) != OK)
        fail_msg("after %s: %s", fault->point, err_message());
    store_close(&store);
}

static bool is_committed(const char *dir) {
    char path[160];
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    return access(path, F_OK) == 0;
}

static int n_temporary;

static int count_temporary(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    n_temporary += strstr(path, ".tmp") != NULL;
    return 0;
}

static void clean_up(const Snap *s, int keep) {
    const uint32_t none[N_DOMAINS] = {0, 0};
    if (snapshot_prune(s->root, keep, none) != OK || snapshot_sweep(s->root) != OK)
        fail_msg("%s", err_message());
}

/* False: there are fewer than n such calls in a snapshot. */
static bool fails_at(const Cluster *c, const Fault *f, int n, const char *before) {
    const Snap *s = c->s;
    char failed[128], next[128];
    start_failing(f, n);
    Err e = take_snapshot(c, 2, failed);
    stop_failing();
    is_whole(s, before);
    assert_int_equal(is_committed(failed), e == OK); /* what is called failed is not to be seen */
    if (e == OK)
        is_whole(s, failed);
    assert_true(e == OK || n_fired);
    assert_int_equal(take_snapshot(c, 3, next), OK);
    clean_up(s, 3);
    is_whole(s, next);
    n_temporary = 0;
    assert_int_equal(nftw(s->root, count_temporary, 16, FTW_PHYS), 0);
    assert_int_equal(n_temporary, 0);
    assert_true(is_committed(failed) || access(failed, F_OK) != 0);
    nftw(failed, snap_remove, 16, FTW_DEPTH | FTW_PHYS);
    nftw(next, snap_remove, 16, FTW_DEPTH | FTW_PHYS);
    return n_fired > 0;
}

static void a_snapshot_is_whole_or_none_whichever_call_fails(void **state) {
    (void)state;
    Cluster c = {.s = snap_open()};
    char before[128];
    int n_cases = 0;
    snap_map(c.map, N_SERVERS);
    for (uint16_t i = 0; i < N_SERVERS; i++)
        c.parts[i] = snap_part(c.s, c.map, i);
    assert_int_equal(take_snapshot(&c, 1, before), OK);
    for (int i = 0; i < N_FAULTS; i++) {
        int n = 1;
        while (n < MOST_CALLS && fails_at(&c, &FAULTS[i], n, before))
            n++;
        assert_true(n > 1); /* the wrapper is in place */
        n_cases += n - 1;
    }
    print_message("%d calls failed in turn\n", n_cases);
    for (uint16_t i = 0; i < N_SERVERS; i++)
        store_close(&c.parts[i]);
    snap_close(c.s);
}

int main(void) {
    fiu_init(0);
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_snapshot_is_whole_or_none_whichever_call_fails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
