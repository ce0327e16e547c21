/* The formats of ratings files that prepare reads.
 * link: mg_data */
#include "tests/unit/ratings_fixture.h"

#include <zlib.h>

enum { USER_FIRST, ITEM_FIRST, HEADER, INTER, GZIP, N_STYLES };

/* The same ratings in another style. */
static void restyle(const char *from, const char *to, int style) {
    static Ratings all;
    char text[128];
    load_ratings(from, &all);
    gzFile f = gzopen(to, style == GZIP ? "wb" : "wbT");
    assert_non_null(f);
    if (style == HEADER)
        gzputs(f, "\xef\xbb\xbftimestamp,item_id,user_id\r\n");
    if (style == INTER)
        gzputs(f, "user_id:token\titem_id:token\trating:float\ttimestamp:float\n");
    for (int i = 0; i < all.n; i++) {
        const Rating *r = &all.at[i];
        if (style == ITEM_FIRST)
            snprintf(text, sizeof text, "\"%s\", %s,5.0,%lld\n", r->item, r->user, r->time);
        else if (style == HEADER)
            snprintf(text, sizeof text, "%lld.5,%s,%s\r\n", r->time, r->item, r->user);
        else if (style == INTER)
            snprintf(text, sizeof text, "%s\t%s\t5\t%lld.0\n\n", r->user, r->item, r->time);
        else
            snprintf(text, sizeof text, "%s,%s,5.0,%lld\n", r->user, r->item, r->time);
        gzputs(f, text);
    }
    gzclose(f);
}

static void every_format_gives_the_same_events(void **state) {
    Scratch *s = *state;
    Dataset *want = random_dataset(s, SPLIT_BY_QUANTILE);
    char a[160], b[160], out[160];
    snprintf(a, sizeof a, "%s/restyled_a", s->dir);
    snprintf(b, sizeof b, "%s/restyled_b", s->dir);
    for (int style = 0; style < N_STYLES; style++) {
        snprintf(out, sizeof out, "%s/out%d", s->dir, style);
        restyle(s->a, a, style);
        restyle(s->b, b, style);
        PrepareOptions o = scratch_options(s);
        o.inputs[0] = a;
        o.inputs[1] = b;
        o.out_dir = out;
        Dataset *got = prepare_and_open(&o);
        for (int domain = 0; domain < N_DOMAINS; domain++) {
            uint32_t n, n_want;
            const uint32_t *items = dataset_event_items(got, domain, &n);
            const uint32_t *want_items = dataset_event_items(want, domain, &n_want);
            assert_int_equal(n, n_want);
            assert_memory_equal(items, want_items, n * sizeof *items);
            assert_memory_equal(dataset_event_times(got, domain), dataset_event_times(want, domain), n * 8);
        }
        if (style == USER_FIRST || style == GZIP)
            assert_true(dataset_info(got)->fingerprint == dataset_info(want)->fingerprint);
        dataset_close(&got);
    }
    dataset_close(&want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(every_format_gives_the_same_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
