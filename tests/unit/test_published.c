/* Published files: what is read, what is refused and where, and what a model is shown of them. */
/* link: mg_data */
#include "tests/unit/data_fixture.h"

#include "common/log.h"
#include "common/options.h"
#include "worker/data/input.h"
#include "worker/data/published.h"
#include "worker/data/published_set.h"

enum { N = RANKING_CANDIDATES };

/* ---- files -------------------------------------------------------------------------------------------------- */

typedef struct Text {
    char *bytes;
    size_t length;
} Text;

static void add(Text *t, const char *format, ...) {
    char *more;
    va_list args;
    va_start(args, format);
    int n = vasprintf(&more, format, args);
    va_end(args);
    assert_true(n >= 0);
    t->bytes = realloc(t->bytes, t->length + (size_t)n + 1);
    memcpy(t->bytes + t->length, more, (size_t)n + 1);
    t->length += (size_t)n;
    free(more);
}

/* A positive and its first n_negatives: items named item, item-1, item-2, .. */
static void add_group(Text *t, const char *user, const char *item, int n_negatives, const char *history,
                      const char *times) {
    add(t, "1\t%s\t%s\tc\t500\t%s\tc,c\t%s\n", user, item, history, times);
    for (int i = 1; i <= n_negatives; i++)
        add(t, "0\t%s\t%s-%d\tc\t500\t%s\tc,c\t%s\n", user, item, i, history, times);
}

/* Writes dir/name and frees the text. */
static void put(const Scratch *s, const char *name, Text *t) {
    char path[160];
    Output *out;
    snprintf(path, sizeof path, "%s/%s", s->dir, name);
    assert_int_equal(output_open(&out, path), OK);
    output_write(out, t->bytes, t->length);
    assert_int_equal(output_close(&out), OK);
    free(t->bytes);
    *t = (Text){0};
}

static void put_text(const Scratch *s, const char *name, const char *text) {
    Text t = {0};
    add(&t, "%s", text);
    put(s, name, &t);
}

static Published read_good(const Scratch *s) {
    Published p;
    bool exists;
    if (published_read(&p, s->dir, DOMAIN_A, SPLIT_TEST, &exists) != OK)
        fail_msg("%s", err_message());
    assert_true(exists);
    return p;
}

/* test_A.tsv is refused, with this in the sentence; the text is freed. */
static void refused(const Scratch *s, Text *t, const char *want) {
    Published p;
    bool exists;
    put(s, "test_A.tsv", t);
    assert_int_equal(published_read(&p, s->dir, DOMAIN_A, SPLIT_TEST, &exists), ERR_DATA);
    if (!strstr(err_message(), want))
        fail_msg("\"%s\" does not hold \"%s\"", err_message(), want);
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

static void names_are_bytes_and_lists_keep_their_order(void **state) {
    const Scratch *s = *state;
    Text t = {0};
    add_group(&t, "\"o'br\xff\x01ien\"", "x", 9, "h1,\"h\xc3\xa9", "100,200");
    add(&t, "\n");
    add_group(&t, "second", "h1", 9, "h1", "7");
    put(s, "test_A.tsv", &t);
    Published p = read_good(s);
    assert_int_equal(p.n, 2);
    assert_string_equal(vocab_name(&p.users, p.user[0]), "\"o'br\xff\x01ien\"");
    assert_string_equal(vocab_name(&p.users, p.user[1]), "second");
    assert_string_equal(vocab_name(&p.items, p.candidates[0]), "x");
    assert_string_equal(vocab_name(&p.items, p.candidates[N - 1]), "x-9");
    assert_int_equal(p.start[1], 2);
    assert_int_equal(p.start[2], 3);
    assert_string_equal(vocab_name(&p.items, p.history[1]), "\"h\xc3\xa9");
    assert_int_equal(p.history_time[1], 200);
    assert_int_equal(p.time[0], 500);
    assert_int_equal(p.history[2], p.candidates[N]); /* one name, one id */
    published_free(&p);
}

static void gzip_is_read_before_plain_text(void **state) {
    const Scratch *s = *state;
    Text t = {0};
    add_group(&t, "gzip", "x", 9, "h", "1");
    put(s, "test_A.tsv.gz", &t);
    put_text(s, "test_A.tsv", "nonsense\n");
    Published p = read_good(s);
    assert_string_equal(vocab_name(&p.users, 1), "gzip");
    published_free(&p);
}

static void a_file_that_is_not_there_is_no_error(void **state) {
    const Scratch *s = *state;
    Published p;
    bool exists = true;
    assert_int_equal(published_read(&p, s->dir, DOMAIN_B, SPLIT_VALID, &exists), OK);
    assert_false(exists);
}

static void many_groups_are_read(void **state) {
    const Scratch *s = *state;
    Text t = {0};
    for (int i = 0; i < 500; i++)
        add_group(&t, "u", "x", 9, "a,b,c", "1,2,3");
    put(s, "test_A.tsv", &t);
    Published p = read_good(s);
    assert_int_equal(p.n, 500);
    assert_int_equal(p.start[500], 1500);
    published_free(&p);
}

/* ---- what is refused ---------------------------------------------------------------------------------------- */

static void a_positive_needs_its_nine_negatives(void **state) {
    const Scratch *s = *state;
    Text t = {0};
    add_group(&t, "u", "x", 8, "h", "1");
    add_group(&t, "u", "y", 9, "h", "1");
    refused(s, &t, "test_A.tsv:10: a positive, but that of line 1 has 8 of its 9 negatives");
    add_group(&t, "u", "x", 9, "h", "1");
    add_group(&t, "u", "y", 5, "h", "1");
    refused(s, &t, "test_A.tsv:16: the file ends here, but the positive of line 11 has 5 of its 9 negatives");
    add_group(&t, "u", "x", 10, "h", "1");
    refused(s, &t, "test_A.tsv:11: a negative without its positive");
    add(&t, "\n");
    refused(s, &t, "test_A.tsv holds no positive");
}

static void a_negative_shares_its_positives_user_time_and_history(void **state) {
    static const struct {
        const char *negative, *want;
    } CASES[] = {
        {"0\tv\ty\tc\t500\th,i\tc,c\t1,2\n",
         "test_A.tsv:2: the negative's user differs from that of its positive in line 1"},
        {"0\tu\ty\tc\t501\th,i\tc,c\t1,2\n", "test_A.tsv:2: the negative's time differs"},
        {"0\tu\ty\tc\t500\th,j\tc,c\t1,2\n", "test_A.tsv:2: the negative's history differs"},
        {"0\tu\ty\tc\t500\th,i\tc,c\t1,3\n", "test_A.tsv:2: the negative's history of times differs"},
    };
    const Scratch *s = *state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        Text t = {0};
        add_group(&t, "u", "x", 0, "h,i", "1,2");
        add(&t, "%s", CASES[i].negative);
        refused(s, &t, CASES[i].want);
    }
}

static void a_line_that_breaks_the_format_is_named(void **state) {
    static const struct {
        const char *line, *want;
    } CASES[] = {
        {"1\tu\tx\tc\t500\th\tc\n", ":1: 7 tab-separated fields were found, 8 are expected"},
        {"1\tu\tx\tc\t500\th\tc\t1\t\n", ":1: 9 tab-separated fields were found, 8 are expected"},
        {"1\n", ":1: 1 tab-separated fields"},
        {"2\tu\tx\tc\t500\th\tc\t1\n", ":1: the label is \"2\", 0 or 1 is expected"},
        {"\x1b[2J\tu\tx\tc\t500\th\tc\t1\n", ":1: the label is \"?[2J\""},
        {"1\t\tx\tc\t500\th\tc\t1\n", ":1: the user's name has 0 bytes"},
        {"1\tu\t\tc\t500\th\tc\t1\n", ":1: the item's name has 0 bytes"},
        {"1\tu\tx\tc\tsoon\th\tc\t1\n", ":1: the time \"soon\" is no number of seconds"},
        {"1\tu\tx\tc\t-5\th\tc\t1\n", ":1: the time \"-5\""},
        {"1\tu\tx\tc\t123456789012\th\tc\t1\n", ":1: the time \"123456789012\""},
        {"1\tu\tx\tc\t500\th,\tc,c\t1,2\n", ":1: a name in the history has 0 bytes"},
        {"1\tu\tx\tc\t500\t\t\t\n", ":1: a name in the history has 0 bytes"},
        {"1\tu\tx\tc\t500\th,i\tc,c\t1\n", ":1: the history has 2 items and 1 times"},
        {"1\tu\tx\tc\t500\th,i\tc,c\t1,2.5\n", ":1: the time \"2.5\" in the history is no number"},
    };
    const Scratch *s = *state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        Text t = {0};
        add(&t, "%s", CASES[i].line);
        refused(s, &t, CASES[i].want);
    }
}

static void overlong_names_lines_and_fields_are_named(void **state) {
    const Scratch *s = *state;
    Text t = {0};
    add(&t, "1\t%0256d\tx\tc\t500\th\tc\t1\n", 0);
    refused(s, &t, ":1: the user's name has 256 bytes, 1 to 255 are expected");
    add(&t, "1\tu\tx\tc\t500\th\tc\t%01100000d\n", 0);
    refused(s, &t, ":1: the line is longer than 1048576 bytes");
    for (int i = 0; i < 80; i++)
        add(&t, "1\t");
    refused(s, &t, ":1: 64 tab-separated fields or more were found");
}

static void a_truncated_gzip_is_named_with_its_last_line(void **state) {
    const Scratch *s = *state;
    Text t = {0};
    char path[160], user[16];
    for (int i = 0; i < 3000; i++) {
        snprintf(user, sizeof user, "u%d", i * 7919 % 100003);
        add_group(&t, user, "x", 9, "a,b", "1,2");
    }
    put(s, "test_A.tsv.gz", &t);
    snprintf(path, sizeof path, "%s/test_A.tsv.gz", s->dir);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(truncate(path, info.st_size / 2), 0);
    Published p;
    bool exists;
    assert_int_equal(published_read(&p, s->dir, DOMAIN_A, SPLIT_TEST, &exists), ERR_DATA);
    assert_non_null(strstr(err_message(), "test_A.tsv.gz is truncated"));
    assert_non_null(strstr(err_message(), "test_A.tsv.gz:"));
}

/* ---- vocabularies and protocols ----------------------------------------------------------------------------- */

static Evalset open_set(const PublishedSource *source) {
    Evalset set;
    bool exists;
    if (published_set_open(&set, source, DOMAIN_A, &exists) != OK)
        fail_msg("%s", err_message());
    assert_true(exists);
    return set;
}

/* Two groups: x with all ten names known, y whose positive is not; user u is known, v and w are not. */
static void put_small(const Scratch *s) {
    Text t = {0};
    add_group(&t, "u", "x", 9, "h", "1");
    add_group(&t, "v", "y", 9, "h,h,h", "1,2,3");
    add_group(&t, "w", "x", 9, "h", "1");
    put(s, "test_A.tsv", &t);
    add(&t, "0\tdefault_mid\n1\tx\n7\t\"quoted\n");
    for (int i = 1; i < N; i++)
        add(&t, "%d\tx-%d\n%d\ty-%d\n", 10 + i, i, 20 + i, i);
    put(s, "item_vocab.tsv", &t);
    put_text(s, "user_vocab.tsv", "0\tdefault_uid\n5\tu\n");
}

static void under_paper_the_unknown_are_id_0(void **state) {
    const Scratch *s = *state;
    put_small(s);
    Evalset set = open_set(&(PublishedSource){.dir = s->dir, .protocol = EVAL_PAPER, .split = SPLIT_TEST});
    assert_int_equal(set.n, 3);
    assert_int_equal(set.ties, TIES_HEAPSORT);
    for (size_t i = 0; i < 3 * N; i++)
        assert_int_equal(set.is_unknown[i], i == N); /* y */
    assert_int_equal(set.users[0], 5);
    assert_int_equal(set.users[1], 0);
    assert_int_equal(set.users[2], 0);
    assert_int_equal(set.lengths[1], 3);
    evalset_close(&set);
}

static void under_all_users_keep_their_names(void **state) {
    const Scratch *s = *state;
    put_small(s);
    Evalset set = open_set(&(PublishedSource){.dir = s->dir, .protocol = EVAL_ALL, .split = SPLIT_TEST});
    assert_int_equal(set.n, 3);
    assert_int_equal(set.ties, TIES_EXPECTED);
    assert_true(set.users[1] != set.users[2] && set.users[1] && set.users[2]);
    assert_int_equal(set.is_unknown[N], 1);
    evalset_close(&set);
}

static void under_warm_only_groups_of_known_items_are_left(void **state) {
    const Scratch *s = *state;
    put_small(s);
    Evalset set = open_set(&(PublishedSource){.dir = s->dir, .protocol = EVAL_WARM, .split = SPLIT_TEST});
    assert_int_equal(set.n, 2);
    assert_int_equal(set.ties, TIES_EXPECTED);
    for (size_t i = 0; i < 2 * N; i++)
        assert_int_equal(set.is_unknown[i], 0);
    assert_true(set.users[0] != set.users[1]);
    evalset_close(&set);
}

static void a_bad_vocabulary_is_named(void **state) {
    static const struct {
        const char *text, *want;
    } CASES[] = {
        {"0\tdefault\n1\tx\ty\n", "item_vocab.tsv:2: 3 tab-separated fields were found, 2 are expected"},
        {"one\tx\n", "item_vocab.tsv:1: the id \"one\" is no number below 2^31"},
        {"4294967296\tx\n", "item_vocab.tsv:1: the id \"4294967296\" is no number below 2^31"},
        {"1\t\n", "item_vocab.tsv:1: the name has 0 bytes"},
    };
    const Scratch *s = *state;
    put_small(s);
    const PublishedSource source = {.dir = s->dir, .protocol = EVAL_PAPER, .split = SPLIT_TEST};
    char path[160];
    Evalset set;
    bool exists;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        put_text(s, "item_vocab.tsv", CASES[i].text);
        assert_int_equal(published_set_open(&set, &source, DOMAIN_A, &exists), ERR_DATA);
        if (!strstr(err_message(), CASES[i].want))
            fail_msg("\"%s\" does not hold \"%s\"", err_message(), CASES[i].want);
    }
    snprintf(path, sizeof path, "%s/item_vocab.tsv", s->dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(published_set_open(&set, &source, DOMAIN_A, &exists), ERR_DATA);
    assert_non_null(strstr(err_message(), "item_vocab.tsv.gz exists"));
}

/* ---- over a data set ---------------------------------------------------------------------------------------- */

/* A file whose names are the data set's first items and users, and some that it does not hold. */
static void put_for(const Scratch *s, const Dataset *data) {
    Text t = {0};
    for (uint32_t i = 1; i <= 3; i++) {
        char history[200] = "", times[200] = "";
        for (uint32_t k = 0; k < 4 * i; k++) {
            snprintf(history + strlen(history), 40, "%s%s", k ? "," : "",
                     k % 3 == 2 ? "nowhere" : dataset_item_name(data, 1 + k));
            snprintf(times + strlen(times), 8, "%s%u", k ? "," : "", k);
        }
        for (uint32_t k = 0; k < N; k++)
            add(&t, "%d\t%s\t%s\tc\t9%u\t%s\tc\t%s\n", k == 0, i == 2 ? "nobody" : dataset_user_name(data, i),
                k == i ? "elsewhere" : dataset_item_name(data, 20 + k), i, history, times);
    }
    put(s, "test_A.tsv.gz", &t);
}

static void a_model_sees_the_data_sets_ids_and_the_recent_history(void **state) {
    const Scratch *s = *state;
    Dataset *data = random_dataset(s, SPLIT_BY_QUANTILE);
    put_for(s, data);
    Config config;
    config_defaults(&config);
    config.model.seq_len = 6;
    config.eval.batch = 2;
    Evalset set = open_set(
        &(PublishedSource){.dir = s->dir, .protocol = EVAL_ALL, .split = SPLIT_TEST, .data = data, .config = &config});
    assert_int_equal(set.n, 3);
    assert_int_equal(set.n_batches, 2);
    Arena arena;
    arena_init(&arena, 1 << 16);
    for (uint32_t batch = 0, i = 1; batch < 2; batch++) {
        Batch b;
        set.make(set.self, batch, &arena, &b);
        assert_int_equal(b.n_instances, batch ? 1 : 2);
        assert_int_equal(b.n_positions, batch ? 6 : 4 + 6);
        assert_int_equal(b.longest, 6);
        for (int row = 0; row < b.n_instances; row++, i++) {
            assert_int_equal(b.user[row], i == 2 ? 0 : i);
            assert_int_equal(b.target_time[row], 90 + i);
            for (uint32_t k = 0; k < N; k++)
                assert_int_equal(b.cand[(size_t)row * N + k], k == i ? 0 : 20 + k);
            uint32_t length = b.offset[row + 1] - b.offset[row], first = 4 * i - length;
            assert_int_equal(length, i == 1 ? 4 : 6);
            for (uint32_t k = 0; k < length; k++) {
                assert_int_equal(b.hist[b.offset[row] + k], (first + k) % 3 == 2 ? 0 : 1 + first + k);
                assert_int_equal(b.hist_time[b.offset[row] + k], first + k);
            }
        }
    }
    arena_free(&arena);
    evalset_close(&set);
    dataset_close(&data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(names_are_bytes_and_lists_keep_their_order),
        SCRATCH_TEST(gzip_is_read_before_plain_text),
        SCRATCH_TEST(a_file_that_is_not_there_is_no_error),
        SCRATCH_TEST(many_groups_are_read),
        SCRATCH_TEST(a_positive_needs_its_nine_negatives),
        SCRATCH_TEST(a_negative_shares_its_positives_user_time_and_history),
        SCRATCH_TEST(a_line_that_breaks_the_format_is_named),
        SCRATCH_TEST(overlong_names_lines_and_fields_are_named),
        SCRATCH_TEST(a_truncated_gzip_is_named_with_its_last_line),
        SCRATCH_TEST(under_paper_the_unknown_are_id_0),
        SCRATCH_TEST(under_all_users_keep_their_names),
        SCRATCH_TEST(under_warm_only_groups_of_known_items_are_left),
        SCRATCH_TEST(a_bad_vocabulary_is_named),
        SCRATCH_TEST(a_model_sees_the_data_sets_ids_and_the_recent_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
