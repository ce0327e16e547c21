/* Synthetic ratings: what is planted is there, and the same seed gives the same bytes.
 * link: mg_data */
#include "data_fixture.h"

#include <math.h>

#include "worker/data/synth.h"
#include "worker/data/vocab.h"

enum { MAX_ROWS = 400000 };

typedef struct SynthRow {
    uint32_t user, item;
    int64_t time;
} SynthRow;

typedef struct SynthFile {
    Vocab users, items;
    uint32_t n;
    SynthRow *rows;
} SynthFile;

static SynthOptions small_options(const Scratch *s, const char *preset, double scale) {
    SynthOptions o = synth_find_preset(preset)->options;
    synth_scale(&o, scale);
    o.out_dir = s->out;
    return o;
}

static void write_or_fail(const SynthOptions *o) {
    uint64_t n_rows[N_DOMAINS];
    if (synth_write(o, n_rows))
        fail_msg("%s", err_message());
}

static Err take_row(void *self, const RatingsRow *row) {
    SynthFile *f = self;
    assert_true(f->n < MAX_ROWS);
    f->rows[f->n++] = (SynthRow){.user = vocab_intern(&f->users, row->user, row->user_length),
                                 .item = vocab_intern(&f->items, row->item, row->item_length),
                                 .time = row->time};
    return OK;
}

static void load(SynthFile *f, const Scratch *s, int domain) {
    char path[128];
    RatingsOptions options = {0};
    RatingsStats stats;
    *f = (SynthFile){.rows = malloc(MAX_ROWS * sizeof(SynthRow))};
    vocab_init(&f->users);
    vocab_init(&f->items);
    snprintf(path, sizeof path, "%s/ratings_%c.csv", s->out, 'A' + domain);
    if (ratings_read(path, &options, take_row, f, &stats))
        fail_msg("%s", err_message());
    assert_int_equal(stats.n_bad, 0);
}

static void unload(SynthFile *f) {
    vocab_free(&f->users);
    vocab_free(&f->items);
    free(f->rows);
}

static uint32_t count_common(const Vocab *a, const Vocab *b) {
    uint32_t n = 0;
    for (uint32_t id = 1; id < a->n; id++)
        n += vocab_find(b, vocab_name(a, id), strlen(vocab_name(a, id))) != 0;
    return n;
}

/* Items are dealt to topics in turn, so the number in the name gives the topic. */
static uint32_t topic_of(const SynthFile *f, uint32_t item, uint32_t n_topics) {
    return (uint32_t)strtoul(vocab_name(&f->items, item) + 2, NULL, 10) % n_topics;
}

static void the_same_seed_gives_the_same_bytes_and_another_does_not(void **state) {
    Scratch *s = *state;
    SynthOptions o = small_options(s, "transfer", 0.05);
    char path[128], *first, *second;
    size_t n_first, n_second;
    snprintf(path, sizeof path, "%s/ratings_B.csv", s->out);
    write_or_fail(&o);
    first = read_bytes(path, &n_first);
    write_or_fail(&o);
    second = read_bytes(path, &n_second);
    assert_int_equal(n_first, n_second);
    assert_memory_equal(first, second, n_first);
    free(second);
    o.seed++;
    write_or_fail(&o);
    second = read_bytes(path, &n_second);
    assert_true(n_first != n_second || memcmp(first, second, n_first));
    free(first);
    free(second);
}

static void shares_of_common_names_are_as_asked(void **state) {
    Scratch *s = *state;
    SynthOptions o = small_options(s, "transfer", 0.5);
    o.common_users = 0.5;
    o.common_items = 0.7;
    write_or_fail(&o);
    SynthFile a, b;
    load(&a, s, DOMAIN_A);
    load(&b, s, DOMAIN_B);
    /* every user has rows; of the items some of the tail never occur, so that count is a little smaller */
    assert_int_equal(count_common(&a.users, &b.users), o.n_users[DOMAIN_A] / 2);
    uint32_t n = count_common(&a.items, &b.items), most = o.n_items[DOMAIN_B] * 7 / 10;
    assert_true(n <= most && n > most * 9 / 10);
    unload(&a);
    unload(&b);
}

static void disjoint_changes_names_and_nothing_else(void **state) {
    Scratch *s = *state;
    SynthOptions o = small_options(s, "transfer", 0.05);
    SynthFile a, before, after;
    write_or_fail(&o);
    load(&before, s, DOMAIN_B);
    o.disjoint = true;
    write_or_fail(&o);
    load(&after, s, DOMAIN_B);
    load(&a, s, DOMAIN_A);
    assert_true(count_common(&a.items, &before.items) > 0 && count_common(&a.users, &before.users) > 0);
    assert_int_equal(count_common(&a.items, &after.items), 0);
    assert_int_equal(count_common(&a.users, &after.users), 0);
    assert_int_equal(before.n, after.n);
    assert_memory_equal(before.rows, after.rows, before.n * sizeof *before.rows); /* ids by first appearance */
    unload(&a);
    unload(&before);
    unload(&after);
}

/* Of neighbouring events of a user, the share whose topics are equal, and the share of the most frequent other topic
 * that follows each topic. */
static void measure_transitions(const SynthFile *f, uint32_t n_topics, double *stay, double *next, uint32_t *follower) {
    uint32_t *count = calloc((size_t)n_topics * n_topics, sizeof *count), n = 0, n_stay = 0, n_next = 0;
    for (uint32_t i = 1; i < f->n; i++) {
        if (f->rows[i].user != f->rows[i - 1].user)
            continue;
        uint32_t from = topic_of(f, f->rows[i - 1].item, n_topics), to = topic_of(f, f->rows[i].item, n_topics);
        n++;
        n_stay += from == to;
        count[from * n_topics + to]++;
    }
    for (uint32_t from = 0; from < n_topics; from++) {
        uint32_t best = from ? 0 : 1;
        for (uint32_t to = 0; to < n_topics; to++)
            if (to != from && count[from * n_topics + to] > count[from * n_topics + best])
                best = to;
        follower[from] = best;
        n_next += count[from * n_topics + best];
    }
    *stay = (double)n_stay / n;
    *next = (double)n_next / n;
    free(count);
}

/* Without noise an event stays with .35 and moves on with .35, and of the rest some do so by chance; two events in a
 * row are without noise with .85 * .85 = .72, so .25 of each kind at least. By chance alone each would be .02. */
static void topics_and_their_successors_hold_in_both_domains(void **state) {
    Scratch *s = *state;
    SynthOptions o = small_options(s, "transfer", 0.5);
    double stay, next;
    uint32_t follower[N_DOMAINS][64];
    assert_true(o.n_topics <= 64);
    write_or_fail(&o);
    for (int d = 0; d < N_DOMAINS; d++) {
        SynthFile f;
        load(&f, s, d);
        measure_transitions(&f, o.n_topics, &stay, &next, follower[d]);
        assert_true(stay > 0.25 && next > 0.25);
        unload(&f);
    }
    assert_memory_equal(follower[0], follower[1], o.n_topics * sizeof(uint32_t));
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x > y ? -1 : x < y;
}

/* Counts of each id, largest first. */
static uint32_t *sorted_counts(const SynthFile *f, bool of_items, uint32_t *n) {
    *n = (of_items ? f->items.n : f->users.n) - 1;
    uint32_t *count = calloc(*n, sizeof *count);
    for (uint32_t i = 0; i < f->n; i++)
        count[(of_items ? f->rows[i].item : f->rows[i].user) - 1]++;
    qsort(count, *n, sizeof *count, by_size);
    return count;
}

static double share_of_top(const uint32_t *counts, uint32_t n, double share) {
    double sum = 0, top = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += counts[i];
        top += i < share * n ? counts[i] : 0;
    }
    return top / sum;
}

/* The games-toys sample: lengths have medians of 7 and 8, upper deciles of 18 and 27 and 99 % below 62 and 99; the most
 * popular 10 % of the items hold .50 and .42 of the events; .45 and .47 of neighbours share their day. The bounds leave
 * a third on each side: likeness, not a fit. */
static void shapes_are_like_reviews(void **state) {
    Scratch *s = *state;
    SynthOptions o = small_options(s, "amazon", 1);
    SynthFile f;
    uint32_t n, n_ties = 0, n_pairs = 0;
    write_or_fail(&o);
    load(&f, s, DOMAIN_A);
    uint32_t *lengths = sorted_counts(&f, false, &n);
    assert_in_range(lengths[n / 2], 5, 9);
    assert_in_range(lengths[n / 10], 13, 27);
    assert_in_range(lengths[n / 100], 40, 100);
    assert_true(lengths[n - 1] >= 4); /* 5 are drawn; a topic without unseen items may cost one */
    free(lengths);
    uint32_t *popularity = sorted_counts(&f, true, &n);
    double top = share_of_top(popularity, n, 0.1);
    assert_true(top > 0.3 && top < 0.6);
    free(popularity);
    for (uint32_t i = 0; i < f.n; i++) {
        assert_int_equal(f.rows[i].time % 86400, 0);
        if (i == 0 || f.rows[i].user != f.rows[i - 1].user)
            continue;
        assert_true(f.rows[i].time >= f.rows[i - 1].time);
        n_pairs++;
        n_ties += f.rows[i].time == f.rows[i - 1].time;
    }
    double ties = (double)n_ties / n_pairs;
    assert_true(ties > 0.35 && ties < 0.6);
    unload(&f);
}

static void impossible_worlds_are_refused(void **state) {
    Scratch *s = *state;
    uint64_t n_rows[N_DOMAINS];
    SynthOptions o = small_options(s, "transfer", 1);
    o.n_items[DOMAIN_B] = 10;
    assert_int_equal(synth_write(&o, n_rows), ERR_USAGE);
    assert_string_equal(err_message(), "domain B has 10 items for 50 topics: each needs one");
    o.n_items[DOMAIN_B] = 0;
    assert_int_equal(synth_write(&o, n_rows), ERR_USAGE);
    assert_string_equal(err_message(), "domain B needs 1 to 100,000,000 users and items, not 5000 and 0");
}

/* A full device: the sentence names the file. */
static void a_full_disk_is_told(void **state) {
    Scratch *s = *state;
    char path[128];
    uint64_t n_rows[N_DOMAINS];
    SynthOptions o = small_options(s, "transfer", 0.05);
    if (access("/dev/full", W_OK))
        skip();
    assert_int_equal(mkdir(s->out, 0700), 0);
    snprintf(path, sizeof path, "%s/ratings_A.csv", s->out);
    assert_int_equal(symlink("/dev/full", path), 0);
    assert_int_equal(synth_write(&o, n_rows), ERR_IO);
    assert_non_null(strstr(err_message(), "ratings_A.csv: No space left on device"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(the_same_seed_gives_the_same_bytes_and_another_does_not),
        SCRATCH_TEST(shares_of_common_names_are_as_asked),
        SCRATCH_TEST(disjoint_changes_names_and_nothing_else),
        SCRATCH_TEST(topics_and_their_successors_hold_in_both_domains),
        SCRATCH_TEST(shapes_are_like_reviews),
        SCRATCH_TEST(impossible_worlds_are_refused),
        SCRATCH_TEST(a_full_disk_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
