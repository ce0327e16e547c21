/* Directories that are written beside their place: whole, or as before, and nothing left behind.
 * link: mg_data */
#include "data_fixture.h"

#include "common/new_directory.h"

static void touch(const char *dir, const char *name) {
    char path[2 * NEW_DIRECTORY_PATH];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
}

static bool holds(const char *dir, const char *name) {
    char path[2 * NEW_DIRECTORY_PATH];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static void make(NewDirectory *d, const char *path) {
    assert_int_equal(new_directory_name(d, path), OK);
    assert_int_equal(new_directory_make(d), OK);
}

static void it_takes_the_place_of_an_earlier_one(void **state) {
    Scratch *s = *state;
    NewDirectory d;
    char path[128];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/", s->out);
        make(&d, path);
        touch(d.temp, i ? "second" : "first");
        assert_int_equal(new_directory_commit(&d, directory_remove), OK);
        new_directory_end(&d);
    }
    assert_true(holds(s->out, "second") && !holds(s->out, "first"));
    assert_int_equal(rmdir(s->dir), -1); /* which holds it alone: */
    directory_remove(s->out);
    assert_int_equal(rmdir(s->dir), 0);
}

static void one_that_is_given_up_leaves_nothing(void **state) {
    Scratch *s = *state;
    NewDirectory d;
    make(&d, s->out);
    touch(d.temp, "file");
    new_directory_end(&d);
    assert_int_equal(rmdir(s->dir), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(it_takes_the_place_of_an_earlier_one),
        SCRATCH_TEST(one_that_is_given_up_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
