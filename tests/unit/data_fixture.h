/* Ratings files, prepared data sets and a place for them, for the tests of worker/data. */
#ifndef MANGROVE_TESTS_DATA_FIXTURE_H
#define MANGROVE_TESTS_DATA_FIXTURE_H

#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/rng.h"
#include "worker/data/dataset.h"
#include "worker/data/prepare.h"

typedef struct Scratch {
    char dir[64];
    char a[96], b[96], out[96]; /* ratings of the domains, prepared data set */
} Scratch;

static inline void scratch_open(Scratch *s) {
    const char *base = getenv("TMPDIR");
    snprintf(s->dir, sizeof s->dir, "%s/mangrove-data-XXXXXX", base && strlen(base) < 30 ? base : "/tmp");
    assert_non_null(mkdtemp(s->dir));
    snprintf(s->a, sizeof s->a, "%s/a.csv", s->dir);
    snprintf(s->b, sizeof s->b, "%s/b.csv", s->dir);
    snprintf(s->out, sizeof s->out, "%s/out", s->dir);
}

static inline int scratch_remove_one(const char *path, const struct stat *info, int kind, struct FTW *at) {
    (void)info;
    (void)kind;
    (void)at;
    return remove(path);
}

static inline void scratch_close(Scratch *s) {
    nftw(s->dir, scratch_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline int open_scratch(void **state) {
    Scratch *s = malloc(sizeof *s);
    scratch_open(s);
    *state = s;
    return 0;
}

static inline int close_scratch(void **state) {
    scratch_close(*state);
    free(*state);
    return 0;
}

/* A test with a Scratch as its state. */
#define SCRATCH_TEST(f) cmocka_unit_test_setup_teardown(f, open_scratch, close_scratch)

static inline void write_bytes(const char *path, const void *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static inline void write_text(const char *path, const char *text) {
    write_bytes(path, text, strlen(text));
}

static inline char *read_bytes(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *bytes = malloc(1 << 22);
    *size = fread(bytes, 1, 1 << 22, f);
    assert_true(*size < 1 << 22);
    fclose(f);
    return bytes;
}

/* Random ratings of 400 days in no order, with duplicates and ties: users u0.. in both domains. Those of stream 1 are
 * 60 days younger, so that the training of one domain lasts longer than that of the other. */
static inline void write_random_ratings(const char *path, uint64_t stream, uint32_t n_users, uint32_t n_items,
                                        uint32_t n_rows) {
    FILE *f = fopen(path, "wb");
    Rng r = rng_stream(17, RNG_TEST, 0, stream);
    assert_non_null(f);
    for (uint32_t i = 0; i < n_rows; i++) {
        uint32_t user = rng_below(&r, n_users), item = rng_below(&r, n_items),
                 day = rng_below(&r, 400) + (stream == 1 ? 60 : 0);
        fprintf(f, "u%u,B%09u,5.0,%u\n", user, item, day * 86400);
    }
    fclose(f);
}

static inline PrepareOptions scratch_options(const Scratch *s) {
    PrepareOptions o;
    prepare_defaults(&o);
    o.inputs[0] = s->a;
    o.inputs[1] = s->b;
    o.out_dir = s->out;
    o.chunk = 200;
    return o;
}

static inline Dataset *prepare_and_open(const PrepareOptions *o) {
    PrepareReport report;
    Dataset *data;
    if (prepare_run(o, &report) != OK || dataset_open(&data, o->out_dir) != OK)
        fail_msg("%s", err_message());
    return data;
}

/* A data set of random ratings, the domains of different size. */
static inline Dataset *random_dataset(const Scratch *s, SplitKind split) {
    write_random_ratings(s->a, 1, 60, 150, 2000);
    write_random_ratings(s->b, 2, 80, 90, 1500);
    PrepareOptions o = scratch_options(s);
    o.split = split;
    o.force = true;
    return prepare_and_open(&o);
}

#endif
