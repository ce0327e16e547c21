/* Directories that are written beside their place: whole, or as before, and nothing left behind.
 * link: mg_data */
#include "data_fixture.h"

#include <sys/wait.h>

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

/* Of a process that has ended. */
static int dead_pid(void) {
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return pid;
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

static void what_dead_processes_left_is_removed_and_nothing_else(void **state) {
    Scratch *s = *state;
    NewDirectory d;
    char name[5][160];
    int dead = dead_pid();
    snprintf(name[0], sizeof *name, "%s.mangrove-tmp.%d", s->out, dead);
    snprintf(name[1], sizeof *name, "%s.mangrove-tmp.%d", s->out, getppid());
    snprintf(name[2], sizeof *name, "%s.mangrove-tmp.%dx", s->out, dead);
    snprintf(name[3], sizeof *name, "%s.tmp.%d", s->out, dead);
    snprintf(name[4], sizeof *name, "%s2.mangrove-tmp.%d", s->out, dead);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(mkdir(name[i], 0777), 0);
        touch(name[i], "file");
    }
    make(&d, s->out);
    new_directory_end(&d);
    for (int i = 0; i < 5; i++)
        assert_int_equal(access(name[i], F_OK), i ? 0 : -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(it_takes_the_place_of_an_earlier_one),
        SCRATCH_TEST(one_that_is_given_up_leaves_nothing),
        SCRATCH_TEST(what_dead_processes_left_is_removed_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
