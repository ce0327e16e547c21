/* Ratings that cannot be used: each gets one sentence, known to the letter, and leaves nothing behind.
 * link: mg_data */
#include "data_fixture.h"

#include <zlib.h>

#include "worker/data/input.h"

enum { MAX_TEXT = 3 << 20 };

/* Writes the file that the case needs in place of domain A's. */
typedef void Maker(const char *path);

/* 2,000 good rows of 100 users, the text of every file that is damaged below. */
static size_t good_text(char *out) {
    size_t at = 0;
    Rng r = rng_stream(5, RNG_TEST, 0, 0);
    for (int i = 0; i < 2000; i++)
        at += (size_t)sprintf(out + at, "u%d,B%09u,5.0,%u\n", i / 20, rng_below(&r, 300), rng_below(&r, 300) * 86400);
    return at;
}

static void make_with(const char *path, const char *extra, size_t extra_size) {
    char *text = malloc(MAX_TEXT);
    size_t at = good_text(text);
    memcpy(text + at, extra, extra_size);
    write_bytes(path, text, at + extra_size);
    free(text);
}

/* Good rows and then the bad one so often that it passes 1 %. */
static void make_with_rows(const char *path, const char *row, size_t size) {
    char *text = malloc(MAX_TEXT);
    for (int i = 0; i < 25; i++)
        memcpy(text + (size_t)i * size, row, size);
    make_with(path, text, 25 * size);
    free(text);
}

#define MAKE_ROWS(name, row)                                                                                           \
    static void name(const char *path) {                                                                               \
        make_with_rows(path, row, sizeof(row) - 1);                                                                    \
    }

MAKE_ROWS(make_few_fields, "u1,B000000001\n")
MAKE_ROWS(make_open_quote, "\"u1,B000000001,5.0,86400\n")
MAKE_ROWS(make_nul, "u\0001,B000000001,5.0,86400\n")
MAKE_ROWS(make_control, "u\x1b[2J,B000000001,5.0,86400\n")
MAKE_ROWS(make_latin1, "u1,B00\xe9\x30\x30,5.0,86400\n")
MAKE_ROWS(make_surrogate, "u\xed\xa0\x80,B000000001,5.0,86400\n")
MAKE_ROWS(make_empty_user, ",B000000001,5.0,86400\n")
MAKE_ROWS(make_empty_item, "u1,,5.0,86400\n")
MAKE_ROWS(make_word_time, "u1,B000000001,5.0,yesterday\n")
MAKE_ROWS(make_milliseconds, "u1,B000000001,5.0,1577836800000\n")
MAKE_ROWS(make_negative_time, "u1,B000000001,5.0,-86400\n")
MAKE_ROWS(make_nan_time, "u1,B000000001,5.0,nan\n")

static void make_missing(const char *path) {
    (void)path;
}

static void make_empty(const char *path) {
    write_text(path, "");
}

static void make_header_only(const char *path) {
    write_text(path, "user,item,rating,timestamp\n");
}

static void make_directory(const char *path) {
    assert_int_equal(mkdir(path, 0700), 0);
}

static void make_long_name(const char *path) {
    char row[512];
    memset(row, 'x', 300);
    strcpy(row + 300, ",B000000001,5.0,86400\n");
    make_with_rows(path, row, strlen(row));
}

static void make_long_line(const char *path) {
    enum { LENGTH = INPUT_MAX_LINE + 2 };
    char *text = malloc(LENGTH);
    memset(text, 'x', LENGTH);
    text[LENGTH - 1] = '\n';
    write_bytes(path, text, LENGTH);
    free(text);
}

static void make_long_line_among_few(const char *path) {
    char *text = malloc(MAX_TEXT);
    size_t at = (size_t)sprintf(text, "u1,B000000001,5.0,86400\n");
    memset(text + at, ',', 2 * INPUT_MAX_LINE);
    write_bytes(path, text, at + 2 * INPUT_MAX_LINE);
    free(text);
}

static void write_gzip(const char *path, size_t drop_bytes, size_t flip) {
    char *text = malloc(MAX_TEXT);
    size_t size;
    gzFile f = gzopen(path, "wb");
    assert_non_null(f);
    assert_true(gzwrite(f, text, (unsigned)good_text(text)) > 0);
    gzclose(f);
    free(text);
    char *bytes = read_bytes(path, &size);
    if (flip)
        bytes[size - flip] ^= 1;
    write_bytes(path, bytes, size - drop_bytes);
    free(bytes);
}

static void make_truncated_gzip(const char *path) {
    write_gzip(path, 9, 0);
}

static void make_damaged_gzip(const char *path) {
    write_gzip(path, 0, 6); /* in the checksum */
}

static void make_same_looks(const char *path) {
    write_text(path, "1,2,5.0,86400\n3,4,5.0,86400\n");
}

static void make_three_columns(const char *path) {
    write_text(path, "u1,B000000001,86400\nu1,B000000002,86400\n");
}

static void make_inter_without_time(const char *path) {
    write_text(path, "user_id:token\titem_id:token\nu1\ti1\n");
}

static void make_short_users(const char *path) {
    write_text(path, "u1,B000000001,5.0,86400\nu1,B000000002,5.0,86400\nu2,B000000001,5.0,86400\n");
}

static void make_few_targets(const char *path) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (int u = 0; u < 40; u++)
        for (int i = 0; i < 8; i++)
            fprintf(f, "u%d,B%09d,5.0,%d\n", u, i, (u * 8 + i) * 86400);
    fclose(f);
}

static const struct BadData {
    Maker *make;
    Err code;
    const char *sentence; /* PATH stands for the file of domain A */
} BAD_DATA[] = {
    {make_missing, ERR_DATA, "cannot open PATH: No such file or directory"},
    {make_empty, ERR_DATA, "PATH is empty"},
    {make_header_only, ERR_DATA, "PATH holds no rows"},
    {make_directory, ERR_DATA, "PATH is not a regular file"},
    {make_truncated_gzip, ERR_DATA, "PATH is truncated: its gzip stream has no end"},
    {make_damaged_gzip, ERR_DATA, "PATH is a damaged gzip file: incorrect data check"},
    {make_same_looks, ERR_DATA,
     "PATH: cannot tell whether column 1 or 2 holds the items: say --columns user,item,rating,time or --columns "
     "item,user,rating,time"},
    {make_three_columns, ERR_DATA,
     "PATH: no row of the first 1000 has the 4 fields user,item,rating,time: name the columns with --columns"},
    {make_inter_without_time, ERR_DATA,
     "PATH:1: the header of an .inter file must name user_id, item_id and timestamp, each as name:type, separated by "
     "tabs"},
    {make_long_line, ERR_DATA,
     "PATH: no row of the first 1000 has the 4 fields user,item,rating,time: name the columns with --columns"},
    {make_long_line_among_few, ERR_DATA,
     "PATH: 1 of 2 rows are malformed, more than --max-bad 1 %; the first lines are 2, where the line is longer than "
     "1,048,576 bytes"},
#define TOO_MANY(reason)                                                                                               \
    ERR_DATA, "PATH: 25 of 2025 rows are malformed, more than --max-bad 1 %; the first lines are 2001, 2002, 2003, "   \
              "where " reason
    {make_few_fields, TOO_MANY("the line has too few fields")},
    {make_open_quote, TOO_MANY("the line has quotes that do not match")},
    {make_nul, TOO_MANY("the user holds a control character")},
    {make_control, TOO_MANY("the user holds a control character")},
    {make_latin1, TOO_MANY("the item is not UTF-8")},
    {make_surrogate, TOO_MANY("the user is not UTF-8")},
    {make_empty_user, TOO_MANY("the user is empty")},
    {make_empty_item, TOO_MANY("the item is empty")},
    {make_long_name, TOO_MANY("the user is longer than 255 bytes")},
    {make_word_time, TOO_MANY("the time is no number of seconds in [0, 1e11)")},
    {make_milliseconds, TOO_MANY("the time is no number of seconds in [0, 1e11)")},
    {make_negative_time, TOO_MANY("the time is no number of seconds in [0, 1e11)")},
    {make_nan_time, TOO_MANY("the time is no number of seconds in [0, 1e11)")},
    {make_short_users, ERR_DATA, "domain A is empty: of 3 rows in PATH no user has 5 distinct items"},
    {make_few_targets, ERR_DATA,
     "domain A has 7 distinct targets in its training split, at least 10 are needed: give more data, a lower --k-core "
     "or another --split"},
};

/* The case's sentence with the file's name in it. */
static void expected_sentence(char *out, size_t size, const char *sentence, const char *path) {
    const char *hole = strstr(sentence, "PATH");
    if (hole)
        snprintf(out, size, "%.*s%s%s", (int)(hole - sentence), sentence, path, hole + 4);
    else
        snprintf(out, size, "%s", sentence);
}

static void every_bad_file_gets_its_sentence_and_leaves_nothing(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof BAD_DATA / sizeof *BAD_DATA; i++) {
        Scratch s;
        char want[1024];
        PrepareReport report;
        scratch_open(&s);
        BAD_DATA[i].make(s.a);
        make_with(s.b, "", 0);
        PrepareOptions o = scratch_options(&s);
        assert_int_equal(prepare_run(&o, &report), BAD_DATA[i].code);
        expected_sentence(want, sizeof want, BAD_DATA[i].sentence, s.a);
        assert_string_equal(err_message(), want);
        assert_int_not_equal(access(s.out, F_OK), 0);
        scratch_close(&s);
    }
}

static void a_share_below_the_limit_is_skipped_and_counted(void **state) {
    Scratch *s = *state;
    PrepareReport report;
    make_latin1(s->a);
    make_with(s->b, "", 0);
    PrepareOptions o = scratch_options(s);
    o.ratings.max_bad = 0.0124; /* 25 of 2025 are 1.235 % */
    assert_int_equal(prepare_run(&o, &report), OK);
    assert_int_equal(report.inputs[0].n_bad, 25);
    assert_int_equal(report.inputs[0].n_rows, 2025);
    assert_int_equal(report.inputs[0].bad_lines[0], 2001);
    assert_int_equal(report.inputs[1].n_bad, 0);
}

static void quotes_in_an_inter_file_are_data(void **state) {
    Scratch *s = *state;
    PrepareReport report;
    char *text = malloc(MAX_TEXT);
    size_t at = (size_t)sprintf(text, "user_id:token\titem_id:token\ttimestamp:float\n");
    Rng r = rng_stream(5, RNG_TEST, 0, 0);
    for (int i = 0; i < 2000; i++)
        at += (size_t)sprintf(text + at, "\"u%d\tB%09u\t%u\n", i / 20, rng_below(&r, 300), rng_below(&r, 300) * 86400);
    write_bytes(s->a, text, at);
    free(text);
    make_with(s->b, "", 0);
    PrepareOptions o = scratch_options(s);
    assert_int_equal(prepare_run(&o, &report), OK);
    assert_int_equal(report.inputs[0].n_bad, 0);
    Dataset *d;
    assert_int_equal(dataset_open(&d, s->out), OK);
    assert_string_equal(dataset_user_name(d, 1), "\"u0");
    dataset_close(&d);
}

static void columns_are_what_the_user_says(void **state) {
    Scratch *s = *state;
    PrepareReport report;
    make_with(s->a, "", 0);
    make_with(s->b, "", 0);
    PrepareOptions o = scratch_options(s);
    o.ratings.columns = "item,user,rating,time"; /* the wrong way round, on purpose */
    o.user_core = 1;
    assert_int_equal(prepare_run(&o, &report), OK);
    assert_true(report.n_items[0] == 100 && report.n_users[0] > 200);
    o.ratings.columns = "item,item,rating,time";
    assert_int_equal(prepare_run(&o, &report), ERR_USAGE);
    assert_string_equal(err_message(), "the columns \"item,item,rating,time\" must name user, item and time once each, "
                                       "as in item,user,rating,time");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bad_file_gets_its_sentence_and_leaves_nothing),
        SCRATCH_TEST(a_share_below_the_limit_is_skipped_and_counted),
        SCRATCH_TEST(quotes_in_an_inter_file_are_data),
        SCRATCH_TEST(columns_are_what_the_user_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
