/* The formats of ratings files that prepare reads.
 * link: mg_data */
#include "tests/unit/ratings_fixture.h"

#include <zlib.h>

#include "worker/data/input.h"

enum { GZIPPED = 1, IN_MS = 2, SAME_TEXT = 4 };

/* A style's first line and its rows, with words in the places of user, item and time. */
static const struct Style {
    RatingsFormat format;
    int flags;
    const char *header, *row;
} STYLES[] = {
    {RATINGS_CSV, SAME_TEXT, "", "USER,ITEM,5.0,SECONDS\n"},
    {RATINGS_CSV, SAME_TEXT | GZIPPED, "", "USER,ITEM,5.0,SECONDS\n"},
    {RATINGS_CSV, 0, "", "\"ITEM\", USER,5.0,SECONDS\n"},
    {RATINGS_CSV, 0, "\xef\xbb\xbftimestamp,item_id,user_id\r\n", "SECONDS.5,ITEM,USER\r\n"},
    {RATINGS_INTER, 0, "user_id:token\titem_id:token\trating:float\ttimestamp:float\n", "USER\tITEM\t5\tSECONDS.0\n\n"},
    /* Amazon 2023 */
    {RATINGS_CSV, IN_MS, "user_id,parent_asin,rating,timestamp\n", "USER,ITEM,5.0,MILLIS\n"},
    {RATINGS_CSV, IN_MS | GZIPPED, "user_id,parent_asin,rating,timestamp,history\n",
     "USER,ITEM,4.0,MILLIS,B000000001 B000000002\n"},
    {RATINGS_CSV, IN_MS, "rating,title,asin,parent_asin,user_id,timestamp\n",
     "5.0,\"So, \"\"good\"\"\",B0EDITION,ITEM,USER,MILLIS\n"},
    {RATINGS_JSONL, IN_MS, "",
     "{\"rating\": 5.0, \"title\": \"So, \\\"good\\\" \\u2764\", \"text\": \"{}\", \"images\": [{\"user_id\": \"x\"}], "
     "\"asin\": \"B0EDITION\", \"parent_asin\": \"ITEM\", \"user_id\": \"USER\", \"timestamp\": MILLIS, "
     "\"helpful_vote\": 0, \"verified_purchase\": true}\n"},
    /* Amazon 2014 and 2018 */
    {RATINGS_JSONL, GZIPPED, "",
     "{\"reviewerID\": \"USER\", \"asin\": \"ITEM\", \"reviewerName\": null, \"helpful\": [0, 0], \"reviewText\": "
     "\"no\", \"overall\": 5.0, \"summary\": \"\", \"unixReviewTime\": SECONDS, \"reviewTime\": \"09 13, 2009\"}\n"},
    {RATINGS_JSONL, 0, "", " {\"time\":\"SECONDS.25\",\"it\\u0065m\":\"ITEM\",\"user\":\"USER\"}\r\n\r\n"},
};
enum { N_STYLES = sizeof STYLES / sizeof *STYLES, SHIFT_S = 1200000000 };

static void put_row(gzFile f, const char *row, const Rating *r, int number) {
    char seconds[24], millis[24];
    const struct Place {
        const char *word, *text;
    } places[] = {{"USER", r->user}, {"ITEM", r->item}, {"SECONDS", seconds}, {"MILLIS", millis}};
    long long time = r->time + SHIFT_S;
    snprintf(seconds, sizeof seconds, "%lld", time);
    snprintf(millis, sizeof millis, "%lld", time * 1000 + number % 1000);
    while (*row) {
        const struct Place *place = NULL;
        for (size_t i = 0; i < sizeof places / sizeof *places && !place; i++)
            if (!strncmp(row, places[i].word, strlen(places[i].word)))
                place = &places[i];
        if (place)
            gzputs(f, place->text);
        else
            gzputc(f, *row);
        row += place ? strlen(place->word) : 1;
    }
}

/* Our ratings are of 1970, where no milliseconds are recognised: all move into the years of the real ones. */
static void restyle(const char *from, const char *to, const struct Style *style) {
    static Ratings all;
    load_ratings(from, &all);
    gzFile f = gzopen(to, style->flags & GZIPPED ? "wb" : "wbT");
    assert_non_null(f);
    gzputs(f, style->header);
    for (int i = 0; i < all.n; i++)
        put_row(f, style->row, &all.at[i], i);
    gzclose(f);
}

static void assert_same_events(const Dataset *got, const Dataset *want) {
    for (int domain = 0; domain < N_DOMAINS; domain++) {
        uint32_t n, n_want;
        const uint32_t *items = dataset_event_items(got, domain, &n);
        const uint32_t *want_items = dataset_event_items(want, domain, &n_want);
        const int64_t *times = dataset_event_times(got, domain), *want_times = dataset_event_times(want, domain);
        assert_int_equal(n, n_want);
        assert_memory_equal(items, want_items, n * sizeof *items);
        for (uint32_t i = 0; i < n; i++)
            assert_int_equal(times[i], want_times[i] + SHIFT_S);
    }
}

static Dataset *prepare_files(const Scratch *s, const char *a, const char *b, PrepareReport *report) {
    Dataset *d;
    PrepareOptions o = scratch_options(s);
    o.inputs[0] = a;
    o.inputs[1] = b;
    o.force = true;
    if (prepare_run(&o, report) || dataset_open(&d, o.out_dir))
        fail_msg("%s", err_message());
    return d;
}

/* Both files in these styles give the wanted events. Returns the fingerprint. */
static uint64_t check_styles(const Scratch *s, const struct Style *of_a, const struct Style *of_b,
                             const Dataset *want) {
    char a[160], b[160];
    PrepareReport report;
    snprintf(a, sizeof a, "%s/restyled_a", s->dir);
    snprintf(b, sizeof b, "%s/restyled_b", s->dir);
    restyle(s->a, a, of_a);
    restyle(s->b, b, of_b);
    Dataset *got = prepare_files(s, a, b, &report);
    uint64_t fingerprint = dataset_info(got)->fingerprint;
    assert_same_events(got, want);
    assert_true(report.inputs[0].format == of_a->format && report.inputs[1].format == of_b->format);
    assert_int_equal(report.inputs[0].has_ms, (of_a->flags & IN_MS) != 0);
    assert_int_equal(report.inputs[1].has_ms, (of_b->flags & IN_MS) != 0);
    assert_int_equal(report.inputs[0].n_bad + report.inputs[1].n_bad, 0);
    dataset_close(&got);
    return fingerprint;
}

static void every_format_gives_the_same_events(void **state) {
    Dataset *want = random_dataset(*state, SPLIT_BY_QUANTILE);
    uint64_t first = check_styles(*state, &STYLES[0], &STYLES[0], want);
    for (int i = 0; i < N_STYLES; i++) {
        bool is_same = check_styles(*state, &STYLES[i], &STYLES[i], want) == first;
        assert_int_equal(is_same, (STYLES[i].flags & SAME_TEXT) != 0);
    }
    dataset_close(&want);
}

static void the_files_of_the_domains_may_differ_in_format_and_unit(void **state) {
    Dataset *want = random_dataset(*state, SPLIT_BY_QUANTILE);
    for (int i = 1; i < N_STYLES; i++)
        (void)check_styles(*state, &STYLES[i], &STYLES[i - 1], want);
    dataset_close(&want);
}

/* ---- the unit of time ---- */

typedef struct Times {
    int64_t first, last;
} Times;

static Err note_time(void *self, const RatingsRow *row) {
    Times *t = self;
    t->first = t->first < 0 ? row->time : t->first;
    t->last = row->time;
    return OK;
}

/* n_ms rows of milliseconds, then n_s of seconds. */
static Times read_mixed(const Scratch *s, int n_ms, int n_s, RatingsStats *stats) {
    RatingsOptions o = {.max_bad = 1};
    Times times = {-1, -1};
    FILE *f = fopen(s->a, "w");
    assert_non_null(f);
    fputs("user_id,item_id,timestamp\n", f);
    for (int i = 0; i < n_ms + n_s; i++)
        fprintf(f, "u,i,%s\n", i < n_ms ? "1400000000999" : "1500000000.9");
    fclose(f);
    assert_int_equal(ratings_read(s->a, &o, note_time, &times, stats), OK);
    return times;
}

static void the_unit_of_most_of_the_first_rows_is_that_of_all(void **state) {
    RatingsStats stats;
    Times t = read_mixed(*state, 6, 5, &stats);
    assert_true(stats.has_ms && stats.n_bad == 5 && stats.bad_lines[0] == 8);
    assert_string_equal(stats.bad_reason, "the time is no number of milliseconds in [1e11, 1e14)");
    assert_true(t.first == 1400000000 && t.last == 1400000000);
    t = read_mixed(*state, 5, 5, &stats);
    assert_true(!stats.has_ms && stats.n_bad == 5 && stats.bad_lines[0] == 2);
    assert_string_equal(stats.bad_reason, "the time is no number of seconds in [0, 1e11)");
    assert_true(t.first == 1500000000 && t.last == 1500000000);
    (void)read_mixed(*state, 999, 5000, &stats); /* the header is the first of 1000 lines */
    assert_true(stats.has_ms && stats.n_bad == 5000);
}

static void a_time_is_refused_where_it_is_out_of_bounds_in_either_unit(void **state) {
    static const struct {
        const char *time;
        bool is_good;
        int64_t seconds;
    } TIMES[] = {
        {"0", true, 0},
        {"99999999999", true, 99999999999},
        {"99999999999.9", true, 99999999999},
        {"100000000000", true, 100000000}, /* milliseconds */
        {"99999999999999", true, 99999999999},
        {"100000000000000", false, 0}, /* microseconds */
        {"-1", false, 0},
        {"1e400", false, 0},
        {"nan", false, 0},
        {"0x10", false, 0},
        {"", false, 0},
        {"1400000000 ", true, 1400000000}, /* libcsv drops it */
        {"2014-05-13", false, 0},
    };
    Scratch *s = *state;
    for (size_t i = 0; i < sizeof TIMES / sizeof *TIMES; i++) {
        char text[128];
        RatingsStats stats;
        RatingsOptions o = {.max_bad = 1};
        Times times = {-1, -1};
        snprintf(text, sizeof text, "user_id,item_id,timestamp\nu,i,%s\n", TIMES[i].time);
        write_text(s->a, text);
        assert_int_equal(ratings_read(s->a, &o, note_time, &times, &stats), OK);
        assert_int_equal(stats.n_bad, !TIMES[i].is_good);
        assert_int_equal(times.last, TIMES[i].is_good ? TIMES[i].seconds : -1);
    }
}

/* ---- JSON lines ---- */

static Err count_row(void *self, const RatingsRow *row) {
    (void)row;
    ++*(int *)self;
    return OK;
}

/* What a line is refused for, behind a good one; "" if it is not. */
static void a_bad_json_line_is_counted_with_its_reason(void **state) {
#define GOOD_LINE "{\"user_id\":\"u\",\"asin\":\"i\",\"timestamp\":86400}"
    static const struct {
        const char *line, *reason;
    } LINES[] = {
        {GOOD_LINE, ""},
        {"{\"timestamp\":\"86400\",\"asin\":12,\"user_id\":-7}", ""},
        {"{\"user_id\":\"u\",\"asin\":\"i\",\"timestamp\":86400.5}", ""},
        {"{\"user_id\":\"u\",\"asin\":\"i\",\"timestamp\":86400", "the line is no JSON object"},
        {GOOD_LINE "}", "the line is no JSON object"},
        {GOOD_LINE GOOD_LINE, "the line is no JSON object"},
        {"[" GOOD_LINE "]", "the line is no JSON object"},
        {"nonsense", "the line is no JSON object"},
        {"{'user_id': 'u', 'asin': 'i', 'timestamp': 86400}", "the line is no JSON object"},
        {"{\"user_id\":\"u\\u0000\",\"asin\":\"i\",\"timestamp\":86400}", "the line is no JSON object"},
        {"{\"user_id\":\"u\xe9\",\"asin\":\"i\",\"timestamp\":86400}", "the line is no JSON object"},
        {"{\"user_id\":\"u\",\"timestamp\":86400}", "the line lacks the user, the item or the time"},
        {"{\"user_id\":null,\"asin\":\"i\",\"timestamp\":1}", "the line lacks the user, the item or the time"},
        {"{\"user_id\":\"u\",\"asin\":[\"i\"],\"timestamp\":1}", "the line lacks the user, the item or the time"},
        {"{\"user_id\":\"\",\"asin\":\"i\",\"timestamp\":86400}", "the user is empty"},
        {"{\"user_id\":\"u\",\"asin\":\"a\\tb\",\"timestamp\":86400}", "the item holds a control character"},
        {"{\"user_id\":\"u\",\"asin\":\"i\",\"timestamp\":-1}", "the time is no number of seconds in [0, 1e11)"},
        {"{\"user_id\":\"u\",\"asin\":\"i\",\"timestamp\":1e300}", "the time is no number of seconds in [0, 1e11)"},
        {"{\"user_id\":\"u\",\"asin\":\"i\",\"timestamp\":true}", "the line lacks the user, the item or the time"},
    };
    Scratch *s = *state;
    for (size_t i = 0; i < sizeof LINES / sizeof *LINES; i++) {
        char text[512];
        RatingsStats stats;
        RatingsOptions o = {.max_bad = 0.5};
        int n_rows = 0, n = snprintf(text, sizeof text, GOOD_LINE "\n%s\n", LINES[i].line);
        write_bytes(s->a, text, (size_t)n);
        assert_int_equal(ratings_read(s->a, &o, count_row, &n_rows, &stats), OK);
        assert_string_equal(stats.bad_reason, LINES[i].reason);
        assert_int_equal(stats.n_bad, *LINES[i].reason != 0);
        assert_int_equal(n_rows + (int)stats.n_bad, 2);
        assert_int_equal(stats.bad_lines[0], *LINES[i].reason ? 2 : 0);
    }
}

static void expect_sentence(const Scratch *s, const RatingsOptions *o, Err code, const char *sentence) {
    char want[512];
    RatingsStats stats;
    int n_rows = 0;
    assert_int_equal(ratings_read(s->a, o, count_row, &n_rows, &stats), code);
    snprintf(want, sizeof want, "%s%s", s->a, sentence);
    assert_string_equal(err_message(), want);
    assert_int_equal(code == ERR_USAGE ? n_rows : 0, 0);
}

static void json_that_names_no_user_item_and_time_is_refused(void **state) {
    static const char *const TEXTS[] = {
        "{\n  \"user_id\": \"u\",\n  \"asin\": \"i\",\n  \"timestamp\": 86400\n}\n",
        "{\"user\":\"u\",\"user_id\":\"u\",\"asin\":\"i\",\"timestamp\":86400}\n",
        "{\"asin\":\"i\",\"timestamp\":86400}\n",
        "{}\n",
    };
    Scratch *s = *state;
    RatingsOptions o = {.max_bad = 1};
    static const char WANT[] =
        ": no line of the first 1000 is a JSON object that names user, item and time, as in user_id, parent_asin, "
        "timestamp or reviewerID, asin, unixReviewTime";
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        write_text(s->a, TEXTS[i]);
        expect_sentence(s, &o, ERR_DATA, WANT);
    }
    write_text(s->a, "u,B000000001,5.0,86400\n");
    o.format = RATINGS_JSONL;
    expect_sentence(s, &o, ERR_DATA, WANT);
}

static void json_with_too_many_bad_lines_or_columns_is_refused(void **state) {
    Scratch *s = *state;
    RatingsOptions o = {.max_bad = 0.01};
    write_text(s->a, GOOD_LINE "\n\nnonsense\n" GOOD_LINE "\n{}\n");
    expect_sentence(s, &o, ERR_DATA,
                    ": 2 of 4 rows are malformed, more than --max-bad 1 %; the first lines are 3, 5, where the line "
                    "is no JSON object");
    o.columns = "user,item,time";
    expect_sentence(s, &o, ERR_USAGE, " holds JSON lines, which name their values: --columns is for csv and inter");
}

static void a_forced_format_beats_the_looks(void **state) {
    Scratch *s = *state;
    RatingsOptions o = {.format = RATINGS_CSV, .max_bad = 0};
    RatingsStats stats;
    int n_rows = 0;
    write_text(s->a, "{u},B000000001,5.0,86400\n{v},B000000002,5.0,86400\n");
    assert_int_equal(ratings_read(s->a, &o, count_row, &n_rows, &stats), OK);
    assert_int_equal(n_rows, 2);
    o.format = RATINGS_SNIFF;
    assert_int_equal(ratings_read(s->a, &o, count_row, &n_rows, &stats), ERR_DATA);
}

static void the_fingerprint_does_not_depend_on_who_named_the_format(void **state) {
    Scratch *s = *state;
    Dataset *sniffed = random_dataset(s, SPLIT_BY_QUANTILE);
    PrepareOptions o = scratch_options(s);
    o.ratings.format = RATINGS_CSV;
    o.force = true;
    Dataset *named = prepare_and_open(&o);
    assert_true(dataset_info(named)->fingerprint == dataset_info(sniffed)->fingerprint);
    dataset_close(&sniffed);
    dataset_close(&named);
}

/* A review with pictures; one byte more than the limit is too long. */
static void a_json_line_may_have_a_mebibyte(void **state) {
    Scratch *s = *state;
    for (size_t extra = 0; extra < 2; extra++) {
        static const char HEAD[] = GOOD_LINE "\n{\"text\":\"",
                          TAIL[] = "\",\"user_id\":\"u\",\"asin\":\"i\",\"timestamp\":1}\n";
        size_t head = sizeof HEAD - 1, tail = sizeof TAIL - 1, line = INPUT_MAX_LINE + extra;
        size_t size = sizeof GOOD_LINE + line + 1, at = size - tail;
        char *text = malloc(size);
        RatingsStats stats;
        RatingsOptions o = {.max_bad = 1};
        int n_rows = 0;
        memset(text, 'x', size);
        memcpy(text, HEAD, head);
        memcpy(text + at, TAIL, tail);
        write_bytes(s->a, text, size);
        free(text);
        assert_int_equal(ratings_read(s->a, &o, count_row, &n_rows, &stats), OK);
        assert_int_equal(n_rows, 2 - (int)extra);
        assert_string_equal(stats.bad_reason, extra ? "the line is longer than 1,048,576 bytes" : "");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(every_format_gives_the_same_events),
        SCRATCH_TEST(the_files_of_the_domains_may_differ_in_format_and_unit),
        SCRATCH_TEST(the_unit_of_most_of_the_first_rows_is_that_of_all),
        SCRATCH_TEST(a_time_is_refused_where_it_is_out_of_bounds_in_either_unit),
        SCRATCH_TEST(a_bad_json_line_is_counted_with_its_reason),
        SCRATCH_TEST(json_that_names_no_user_item_and_time_is_refused),
        SCRATCH_TEST(json_with_too_many_bad_lines_or_columns_is_refused),
        SCRATCH_TEST(a_forced_format_beats_the_looks),
        SCRATCH_TEST(the_fingerprint_does_not_depend_on_who_named_the_format),
        SCRATCH_TEST(a_json_line_may_have_a_mebibyte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
