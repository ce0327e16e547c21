/* prepare --base wants the complete ratings: those of the new days alone are refused.
 * link: mg_data */
#include "data_fixture.h"

enum { N_ITEMS = 19, N_RATED = 8, N_BASE_USERS = 40 };

/* These users each rate N_RATED of N_ITEMS items in both domains. */
static void write_ratings(const Scratch *s, int first_user, int end_user, int first_item) {
    const char *paths[N_DOMAINS] = {s->a, s->b};
    for (int domain = 0; domain < N_DOMAINS; domain++) {
        FILE *f = fopen(paths[domain], "wb");
        assert_non_null(f);
        for (int user = first_user; user < end_user; user++)
            for (int i = 0; i < N_RATED; i++)
                fprintf(f, "u%d,B%09d,5.0,%d\n", user, 100 * domain + first_item + (user + i) % N_ITEMS,
                        86400 * (10 * user + i));
        fclose(f);
    }
}

static PrepareOptions options_of(const Scratch *s, char out[160], const char *base) {
    PrepareOptions o = scratch_options(s);
    snprintf(out, 160, "%s/%s", s->dir, base ? "new" : "base");
    o.out_dir = out;
    o.base_dir = base;
    return o;
}

/* The base's users and items, then these ratings on it. */
static Err prepare_after_base(const Scratch *s, int first_user, int end_user, int first_item, bool allows_vanished) {
    char base[160], new[160];
    PrepareReport report;
    write_ratings(s, 0, N_BASE_USERS, 0);
    PrepareOptions o = options_of(s, base, NULL);
    assert_int_equal(prepare_run(&o, &report), OK);
    write_ratings(s, first_user, end_user, first_item);
    o = options_of(s, new, base);
    o.allows_vanished = allows_vanished;
    Err err = prepare_run(&o, &report);
    assert_int_equal(access(new, F_OK), err ? -1 : 0);
    return err;
}

static void a_base_most_of_whose_items_have_gone_is_refused(void **state) {
    assert_int_equal(prepare_after_base(*state, 0, 60, 10, false), ERR_DATA);
    assert_string_equal(err_message(),
                        "of the base's 19 items of domain A 10 have no event now: give the complete "
                        "ratings, not the new ones alone, or say --allow-vanished if these are complete");
}

/* Its items stay because the others rate them. */
static void a_base_most_of_whose_users_have_gone_is_refused(void **state) {
    assert_int_equal(prepare_after_base(*state, 21, 60, 0, false), ERR_DATA);
    assert_string_equal(err_message(),
                        "of the base's 40 users 21 have no event now: give the complete ratings, not the "
                        "new ones alone, or say --allow-vanished if these are complete");
}

static void half_of_a_base_may_go(void **state) {
    assert_int_equal(prepare_after_base(*state, 20, 60, 9, false), OK);
}

static void who_allows_it_may_lose_more(void **state) {
    assert_int_equal(prepare_after_base(*state, 25, 90, 15, true), OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(a_base_most_of_whose_items_have_gone_is_refused),
        SCRATCH_TEST(a_base_most_of_whose_users_have_gone_is_refused),
        SCRATCH_TEST(half_of_a_base_may_go),
        SCRATCH_TEST(who_allows_it_may_lose_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
