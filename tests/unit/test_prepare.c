/* What prepare makes of ratings, against a second derivation that is written to be read and not to be fast.
 * link: mg_data */
#include "tests/unit/ratings_fixture.h"

enum { K_CORE = 5, MAX_USER = 100 };

/* ---- the second derivation ---- */

/* One user's events: distinct items, in order of time, ties as in the file. */
static int load_user(const Ratings *all, const char *user, Rating *out) {
    int n = 0;
    for (int i = 0; i < all->n; i++) {
        bool is_new = !strcmp(all->at[i].user, user);
        for (int k = 0; k < n && is_new; k++)
            is_new = strcmp(out[k].item, all->at[i].item) != 0;
        if (is_new)
            out[n++] = all->at[i];
    }
    for (int i = 1; i < n; i++)
        for (int k = i; k > 0 && out[k - 1].time > out[k].time; k--) {
            Rating kept = out[k];
            out[k] = out[k - 1];
            out[k - 1] = kept;
        }
    return n;
}

static int by_value(const void *a, const void *b) {
    long long x = *(const long long *)a, y = *(const long long *)b;
    return x < y ? -1 : x > y;
}

/* The times of the events floor(.8 n) and floor(.9 n) of the users with K_CORE items. */
static void find_cuts(const Ratings *all, long long cuts[2]) {
    static long long times[MAX_EVENTS];
    int n = 0;
    for (int u = 0; u < MAX_USER; u++) {
        char name[24];
        static Rating events[MAX_EVENTS];
        snprintf(name, sizeof name, "u%d", u);
        int m = load_user(all, name, events);
        for (int i = 0; i < m && m >= K_CORE; i++)
            times[n++] = events[i].time;
    }
    qsort(times, (size_t)n, sizeof *times, by_value);
    cuts[0] = times[n * 8 / 10];
    cuts[1] = times[n * 9 / 10];
}

/* ---- */

static void check_instance(const Dataset *d, int domain, const Instance *x, const Rating *events, int position) {
    uint32_t n;
    const uint32_t *items = dataset_event_items(d, domain, &n);
    const int64_t *times = dataset_event_times(d, domain);
    assert_string_equal(dataset_user_name(d, x->user), events[0].user);
    assert_int_equal(x->target - x->first, position);
    for (int i = 0; i <= position; i++) {
        assert_string_equal(dataset_item_name(d, items[x->first + (uint32_t)i]), events[i].item);
        assert_int_equal(times[x->first + (uint32_t)i], events[i].time);
    }
}

/* Every instance of the user in a split is there, in order; advances *at. */
static void check_user(const Dataset *d, int domain, Split split, const Ratings *all, const long long cuts[2],
                       uint32_t *at) {
    static Rating events[MAX_EVENTS];
    uint32_t n;
    const Instance *list = dataset_instances(d, domain, split, PROTOCOL_ALL, &n);
    int m = load_user(all, dataset_user_name(d, list[*at].user), events);
    assert_true(m >= K_CORE);
    for (int i = 1; i < m; i++) {
        Split found = events[i].time < cuts[0] ? SPLIT_TRAIN : events[i].time < cuts[1] ? SPLIT_VALID : SPLIT_TEST;
        if (found != split)
            continue;
        assert_true(*at < n);
        check_instance(d, domain, &list[(*at)++], events, i);
    }
}

/* Users are counted apart, so that none is left out. */
static uint32_t count_expected(Split split, const Ratings *all, const long long cuts[2]) {
    static Rating events[MAX_EVENTS];
    uint32_t count = 0;
    for (int u = 0; u < MAX_USER; u++) {
        char name[24];
        snprintf(name, sizeof name, "u%d", u);
        int m = load_user(all, name, events);
        for (int i = 1; i < m && m >= K_CORE; i++)
            count += split == (events[i].time < cuts[0]   ? SPLIT_TRAIN
                               : events[i].time < cuts[1] ? SPLIT_VALID
                                                          : SPLIT_TEST);
    }
    return count;
}

static void instances_are_those_of_a_second_derivation(void **state) {
    Scratch *s = *state;
    Dataset *d = random_dataset(s, SPLIT_BY_QUANTILE);
    static Ratings all;
    for (int domain = 0; domain < N_DOMAINS; domain++) {
        long long cuts[2];
        load_ratings(domain ? s->b : s->a, &all);
        find_cuts(&all, cuts);
        assert_int_equal(dataset_train_end(d, domain), cuts[0]);
        for (int split = 0; split < N_SPLITS; split++) {
            uint32_t n, at = 0;
            (void)dataset_instances(d, domain, (Split)split, PROTOCOL_ALL, &n);
            assert_int_equal(n, count_expected((Split)split, &all, cuts));
            assert_true(n > 0);
            while (at < n)
                check_user(d, domain, (Split)split, &all, cuts, &at);
        }
    }
    dataset_close(&d);
}

/* Marks the items of training instances, as target or history. */
static uint8_t *find_warm(const Dataset *d, int domain) {
    uint8_t *warm = calloc(dataset_info(d)->n_items, 1);
    uint32_t n, n_events;
    const uint32_t *items = dataset_event_items(d, domain, &n_events);
    const Instance *train = dataset_instances(d, domain, SPLIT_TRAIN, PROTOCOL_WARM, &n);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t e = train[i].first; e <= train[i].target; e++)
            warm[items[e]] = 1;
    return warm;
}

static void warm_instances_are_those_whose_target_was_seen_in_training(void **state) {
    Dataset *d = random_dataset(*state, SPLIT_BY_QUANTILE);
    for (int domain = 0; domain < N_DOMAINS; domain++)
        for (int split = SPLIT_VALID; split < N_SPLITS; split++) {
            uint32_t n_all, n_warm, n_events, found = 0;
            uint8_t *warm = find_warm(d, domain);
            const uint32_t *items = dataset_event_items(d, domain, &n_events);
            const Instance *all = dataset_instances(d, domain, (Split)split, PROTOCOL_ALL, &n_all);
            const Instance *some = dataset_instances(d, domain, (Split)split, PROTOCOL_WARM, &n_warm);
            for (uint32_t i = 0; i < n_all; i++)
                if (warm[items[all[i].target]])
                    assert_memory_equal(&some[found++], &all[i], sizeof *all);
            assert_int_equal(found, n_warm);
            free(warm);
        }
    dataset_close(&d);
}

static void negatives_are_distinct_targets_of_their_list_and_never_the_positive(void **state) {
    Dataset *d = random_dataset(*state, SPLIT_BY_QUANTILE);
    for (int domain = 0; domain < N_DOMAINS; domain++)
        for (int protocol = 0; protocol < N_PROTOCOLS; protocol++)
            for (int split = SPLIT_VALID; split < N_SPLITS; split++) {
                uint32_t n, n_events;
                const uint32_t *items = dataset_event_items(d, domain, &n_events);
                const Instance *list = dataset_instances(d, domain, (Split)split, (Protocol)protocol, &n);
                uint8_t *is_target = calloc(dataset_info(d)->n_items, 1);
                for (uint32_t i = 0; i < n; i++)
                    is_target[items[list[i].target]] = 1;
                for (uint32_t i = 0; i < n; i++) {
                    const uint32_t *x = dataset_negatives(d, domain, (Split)split, (Protocol)protocol, i);
                    for (int k = 0; k < DATASET_NEGATIVES; k++) {
                        assert_true(is_target[x[k]]);
                        assert_int_not_equal(x[k], items[list[i].target]);
                        for (int j = 0; j < k; j++)
                            assert_int_not_equal(x[k], x[j]);
                    }
                }
                free(is_target);
            }
    dataset_close(&d);
}

/* Training instances of the user who has most, over both domains. */
static uint32_t most_of_a_user(const Dataset *d) {
    uint32_t *count = calloc(dataset_info(d)->n_users, sizeof *count), most = 0, n;
    for (int domain = 0; domain < N_DOMAINS; domain++) {
        const Instance *train = dataset_instances(d, domain, SPLIT_TRAIN, PROTOCOL_WARM, &n);
        for (uint32_t i = 0; i < n; i++)
            if (++count[train[i].user] > most)
                most = count[train[i].user];
    }
    free(count);
    return most;
}

/* A chunk holds all instances of its users, no user is in two, and it ends with the user who fills it. */
static void chunks_are_ranges_of_users_with_enough_training_instances(void **state) {
    Dataset *d = random_dataset(*state, SPLIT_BY_QUANTILE);
    const DataInfo *info = dataset_info(d);
    uint32_t *chunk_of = calloc(info->n_users, sizeof *chunk_of);
    assert_true(info->n_chunks > 3);
    for (uint32_t c = 0; c < info->n_chunks; c++) {
        uint32_t n_train = 0;
        for (int domain = 0; domain < N_DOMAINS; domain++)
            for (int split = 0; split < N_SPLITS; split++) {
                uint32_t n, first = dataset_chunk_start(d, c, domain, (Split)split, PROTOCOL_ALL),
                            end = dataset_chunk_start(d, c + 1, domain, (Split)split, PROTOCOL_ALL);
                const Instance *list = dataset_instances(d, domain, (Split)split, PROTOCOL_ALL, &n);
                assert_int_equal(end - first, info->counts[PROTOCOL_ALL][c].n[domain][split]);
                n_train += split == SPLIT_TRAIN ? end - first : 0;
                for (uint32_t i = first; i < end; i++) {
                    assert_true(chunk_of[list[i].user] == 0 || chunk_of[list[i].user] == c + 1);
                    chunk_of[list[i].user] = c + 1;
                }
            }
        assert_true(n_train >= 200);
        assert_true(c + 1 == info->n_chunks || n_train < 200 + most_of_a_user(d));
    }
    free(chunk_of);
    dataset_close(&d);
}

static void leave_one_out_keeps_the_last_two_events_of_a_user(void **state) {
    Dataset *d = random_dataset(*state, SPLIT_LEAVE_ONE_OUT);
    for (int domain = 0; domain < N_DOMAINS; domain++) {
        assert_int_equal(dataset_train_end(d, domain), INT64_MAX);
        for (int split = SPLIT_VALID; split < N_SPLITS; split++) {
            uint32_t n, first, n_events;
            const Instance *list = dataset_instances(d, domain, (Split)split, PROTOCOL_ALL, &n);
            for (uint32_t i = 0; i < n; i++) {
                dataset_user_events(d, domain, list[i].user, &first, &n_events);
                assert_int_equal(list[i].target - first, n_events - (split == SPLIT_VALID ? 2 : 1));
            }
        }
    }
    dataset_close(&d);
}

static void days_split_ends_where_the_data_end(void **state) {
    Scratch *s = *state;
    write_random_ratings(s->a, 1, 60, 150, 2000);
    write_random_ratings(s->b, 2, 80, 90, 1500);
    PrepareOptions o = scratch_options(s);
    o.split = SPLIT_BY_DAYS;
    o.days = 60;
    Dataset *d = prepare_and_open(&o);
    for (int domain = 0; domain < N_DOMAINS; domain++) {
        uint32_t n, n_events;
        int64_t newest = 0;
        const int64_t *times = dataset_event_times(d, domain);
        (void)dataset_event_items(d, domain, &n_events);
        for (uint32_t i = 0; i < n_events; i++)
            newest = times[i] > newest ? times[i] : newest;
        assert_int_equal(dataset_train_end(d, domain), newest - 120 * 86400);
        const Instance *test = dataset_instances(d, domain, SPLIT_TEST, PROTOCOL_ALL, &n);
        for (uint32_t i = 0; i < n; i++)
            assert_true(times[test[i].target] >= newest - 60 * 86400);
        const Instance *valid = dataset_instances(d, domain, SPLIT_VALID, PROTOCOL_ALL, &n);
        for (uint32_t i = 0; i < n; i++)
            assert_in_range(times[valid[i].target], newest - 120 * 86400, newest - 60 * 86400 - 1);
    }
    dataset_close(&d);
}

static void item_core_leaves_no_rare_item_and_no_short_user(void **state) {
    Scratch *s = *state;
    write_random_ratings(s->a, 1, 60, 150, 1200);
    write_random_ratings(s->b, 2, 80, 90, 1500);
    PrepareOptions o = scratch_options(s);
    o.user_core = 12;
    o.item_core = 6;
    Dataset *d = prepare_and_open(&o);
    const DataInfo *info = dataset_info(d);
    for (int domain = 0; domain < N_DOMAINS; domain++) {
        uint32_t *count = calloc(info->n_items, sizeof *count), n_events, first, n;
        const uint32_t *items = dataset_event_items(d, domain, &n_events);
        for (uint32_t i = 0; i < n_events; i++)
            count[items[i]]++;
        for (uint32_t i = 0; i < info->n_items; i++)
            assert_true(count[i] == 0 || count[i] >= 6);
        for (uint32_t u = 1; u < info->n_users; u++) {
            dataset_user_events(d, domain, u, &first, &n);
            assert_true(n == 0 || n >= 12);
        }
        free(count);
    }
    dataset_close(&d);
}

/* ---- the real ratings ---- */

static const char *shared_dir(void) {
    const char *dir = getenv("MANGROVE_SHARED");
    return dir ? dir : "../shared";
}

static void assert_counts(const Dataset *d, int domain, const uint32_t want[N_LISTS]) {
    uint32_t n;
    for (int split = 0; split < N_SPLITS; split++)
        for (int protocol = 0; protocol < (split ? N_PROTOCOLS : 1); protocol++) {
            (void)dataset_instances(d, domain, (Split)split, (Protocol)protocol, &n);
            assert_int_equal(n, want[split == SPLIT_TRAIN ? 0 : 1 + 2 * protocol + (split == SPLIT_TEST)]);
        }
}

/* Counts as an independent reading of the same files gives them. .02: the specification's bound for fair candidates;
 * one standard deviation of such an AUC is .004. */
static void games_and_toys_have_the_known_counts_and_fair_candidates(void **state) {
    Scratch *s = *state;
    char a[PATH_MAX], b[PATH_MAX];
    snprintf(a, sizeof a, "%s/data/amazon_games_toys/ratings_Video_Games.csv.gz", shared_dir());
    snprintf(b, sizeof b, "%s/data/amazon_games_toys/ratings_Toys_and_Games.csv.gz", shared_dir());
    if (access(a, R_OK) || access(b, R_OK)) {
        print_message("skipped: no ratings in %s/data/amazon_games_toys\n", shared_dir());
        skip();
    }
    PrepareOptions o = scratch_options(s);
    o.inputs[0] = a;
    o.inputs[1] = b;
    o.chunk = 8000;
    Dataset *d = prepare_and_open(&o);
    const DataInfo *info = dataset_info(d);
    assert_int_equal(info->n_items, 64054 + 1);
    assert_int_equal(info->n_users, 9160 + 1);
    assert_int_equal(info->n_train_items[0], 14832);
    assert_int_equal(info->n_train_items[1], 41336);
    assert_counts(d, DOMAIN_A, (uint32_t[]){63747, 6094, 5632, 8387, 8595});
    assert_counts(d, DOMAIN_B, (uint32_t[]){93464, 6468, 6515, 12357, 12395});
    for (int i = 0; i < N_PROTOCOLS * N_DOMAINS * N_PROBES; i++)
        for (int split = SPLIT_VALID; split < N_SPLITS; split++) {
            double auc = info->probes[i / 6][i / 3 % 2][split][i % 3].auc;
            assert_true(auc > 0.48 && auc < 0.52);
        }
    dataset_close(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(instances_are_those_of_a_second_derivation),
        SCRATCH_TEST(warm_instances_are_those_whose_target_was_seen_in_training),
        SCRATCH_TEST(negatives_are_distinct_targets_of_their_list_and_never_the_positive),
        SCRATCH_TEST(chunks_are_ranges_of_users_with_enough_training_instances),
        SCRATCH_TEST(leave_one_out_keeps_the_last_two_events_of_a_user),
        SCRATCH_TEST(days_split_ends_where_the_data_end),
        SCRATCH_TEST(item_core_leaves_no_rare_item_and_no_short_user),
        SCRATCH_TEST(games_and_toys_have_the_known_counts_and_fair_candidates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
