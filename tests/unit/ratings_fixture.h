/* A ratings file as the tests read it, by scanf. */
#ifndef MANGROVE_TESTS_RATINGS_FIXTURE_H
#define MANGROVE_TESTS_RATINGS_FIXTURE_H

#include "tests/unit/data_fixture.h"

enum { MAX_EVENTS = 4096 };

typedef struct Rating {
    char user[24], item[24];
    long long time;
} Rating;

typedef struct Ratings {
    int n;
    Rating at[MAX_EVENTS];
} Ratings;

static inline void load_ratings(const char *path, Ratings *out) {
    FILE *f = fopen(path, "r");
    out->n = 0;
    assert_non_null(f);
    while (out->n < MAX_EVENTS && fscanf(f, "%23[^,],%23[^,],5.0,%lld\n", out->at[out->n].user, out->at[out->n].item,
                                         &out->at[out->n].time) == 3)
        out->n++;
    fclose(f);
}

#endif
