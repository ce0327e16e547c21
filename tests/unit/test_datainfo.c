/* The manifest's text from a stranger: what is wrong is said, nothing is believed.
 * link: mg_common */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/datainfo.h"
#include "common/rng.h"

#define RULES   "[[0.5,0.5,0.3],[0.25,0.5,0.3],[0.75,1,0]]"
#define BOTH(x) "{\"warm\": " x ", \"all\": " x "}"

static const char GOOD[] =
    "{\"format\": 1, \"fingerprint\": \"00000000deadbeef\", \"n_items\": 12, \"n_users\": 5,\n"
    " \"lineage\": [\"0000000000000001\", \"fedcba9876543210\"],\n"
    " \"domains\": [{\"n_train_items\": 7}, {\"n_train_items\": 12}], \"n_chunks\": 2,\n"
    " \"chunks\": " BOTH("[[1,2,3,4,5,6],[7,8,9,10,11,12]]") ",\n"
                                                             " \"probes\": " BOTH(
                                                                 "[{\"valid\": " RULES ", \"test\": " RULES
                                                                 "}, {\"valid\": " RULES ", \"test\": " RULES "}]") "}";

static void a_good_manifest_is_understood(void **state) {
    (void)state;
    DataInfo info;
    assert_int_equal(datainfo_parse(&info, GOOD, strlen(GOOD)), OK);
    assert_true(info.fingerprint == 0xdeadbeef && info.n_items == 12 && info.n_users == 5 && info.n_chunks == 2);
    assert_int_equal(info.n_train_items[DOMAIN_A], 7);
    assert_int_equal(info.n_train_items[DOMAIN_B], 12);
    assert_int_equal(info.counts[PROTOCOL_WARM][1].n[DOMAIN_A][SPLIT_TRAIN], 7);
    assert_int_equal(info.counts[PROTOCOL_ALL][0].n[DOMAIN_B][SPLIT_TEST], 6);
    Probe cold = info.probes[PROTOCOL_ALL][DOMAIN_B][SPLIT_TEST][2];
    assert_true(cold.auc == 0.75 && cold.wauc == 1 && cold.mrr == 0);
    datainfo_free(&info);
}

static void a_data_set_descends_from_itself_and_its_bases(void **state) {
    (void)state;
    DataInfo info;
    assert_int_equal(datainfo_parse(&info, GOOD, strlen(GOOD)), OK);
    assert_int_equal(info.n_lineage, 2);
    assert_true(info.lineage[0] == 1 && info.lineage[1] == 0xfedcba9876543210);
    assert_true(datainfo_descends_from(&info, 0xdeadbeef));
    assert_true(datainfo_descends_from(&info, 1));
    assert_true(datainfo_descends_from(&info, 0xfedcba9876543210));
    assert_false(datainfo_descends_from(&info, 0));
    assert_false(datainfo_descends_from(&info, 2));
    datainfo_free(&info);
}

static void a_manifest_without_lineage_has_no_base(void **state) {
    (void)state;
    DataInfo info;
    char text[2048];
    strcpy(text, GOOD);
    memcpy(strstr(text, "lineage"), "LINEAGE", 7);
    assert_int_equal(datainfo_parse(&info, text, strlen(text)), OK);
    assert_int_equal(info.n_lineage, 0);
    assert_true(datainfo_descends_from(&info, 0xdeadbeef));
    assert_false(datainfo_descends_from(&info, 1));
    datainfo_free(&info);
}

/* A good manifest with a lineage of n. */
static char *with_lineage(int n) {
    char *text = malloc(sizeof GOOD + 24 * (size_t)n);
    const char *hole = strstr(GOOD, "[\"0000"), *rest = strchr(hole, ']');
    int at = sprintf(text, "%.*s[", (int)(hole - GOOD), GOOD);
    for (int i = 0; i < n; i++)
        at += sprintf(text + at, "%s\"%016x\"", i ? ", " : "", (unsigned)i);
    strcpy(text + at, rest);
    return text;
}

static void a_lineage_is_bounded(void **state) {
    (void)state;
    DataInfo info;
    char *most = with_lineage(DATAINFO_MAX_LINEAGE), *more = with_lineage(DATAINFO_MAX_LINEAGE + 1);
    assert_int_equal(datainfo_parse(&info, most, strlen(most)), OK);
    assert_true(info.lineage[DATAINFO_MAX_LINEAGE - 1] == DATAINFO_MAX_LINEAGE - 1);
    datainfo_free(&info);
    assert_int_equal(datainfo_parse(&info, more, strlen(more)), ERR_DATA);
    assert_string_equal(err_message(), "the data manifest's lineage is no list of at most 4096");
    free(most);
    free(more);
}

/* One change each: the first occurrence of `from` becomes `to`. */
static const struct Bad {
    const char *from, *to, *sentence;
} BAD[] = {
    {"{\"format\"", "[\"format\"", "the data manifest is no JSON: line 1: ']' expected near ':'"},
    {"{\"format\": 1", "{\"format\": 2",
     "the data manifest has format 2, this program reads 1: prepare the data again"},
    {"{\"format\": 1", "{\"format\": \"1\"", "the data manifest's format is no integer in [0, 2147483647]"},
    {"\"00000000deadbeef\"", "\"00000000deadbee\"", "the data manifest's fingerprint is not of 16 hexadecimal digits"},
    {"\"00000000deadbeef\"", "\"00000000deadbeeg\"", "the data manifest's fingerprint is not of 16 hexadecimal digits"},
    {"\"fedcba9876543210\"", "\"fedcba987654321\"", "the data manifest's lineage is not of 16 hexadecimal digits"},
    {"\"fedcba9876543210\"", "7", "the data manifest's lineage is not of 16 hexadecimal digits"},
    {"[\"0000000000000001\", \"fedcba9876543210\"]", "\"fedcba9876543210\"",
     "the data manifest's lineage is no list of at most 4096"},
    {"\"n_items\": 12", "\"n_items\": 4294967297", "the data manifest's n_items is no integer in [1, 2147483647]"},
    {"\"n_items\": 12", "\"n_items\": 1.5", "the data manifest's n_items is no integer in [1, 2147483647]"},
    {"\"n_users\": 5", "\"n_users\": -5", "the data manifest's n_users is no integer in [1, 2147483647]"},
    {"\"n_users\": 5,", "", "the data manifest's n_users is no integer in [1, 2147483647]"},
    {"\"n_chunks\": 2", "\"n_chunks\": 2000000000", "the data manifest's n_chunks is no integer in [1, 131072]"},
    {"\"n_chunks\": 2", "\"n_chunks\": 3", "the data manifest's chunks is no list of 3"},
    {"{\"n_train_items\": 12}", "7", "the data manifest's n_train_items is no integer in [0, 12]"},
    {"\"n_train_items\": 12", "\"n_train_items\": 13", "the data manifest's n_train_items is no integer in [0, 12]"},
    {"[1,2,3,4,5,6]", "[1,2,3,4,5]", "the data manifest's chunk is no list of 6"},
    {"[1,2,3,4,5,6]", "[1,2,3,4,5,-6]", "the data manifest has a chunk whose counts are no numbers of 32 bits"},
    {"[1,2,3,4,5,6]", "[1,2,3,4,5,4294967284]", "the data manifest has a chunk whose counts are no numbers of 32 bits"},
    {"[1,2,3,4,5,6]", "[2,2,3,4,5,6]", "the data manifest has different training counts for chunk 0"},
    {"[0.5,0.5,0.3]", "[0.5,0.5]", "the data manifest's probe is no list of 3"},
    {"[0.5,0.5,0.3]", "[1.5,0.5,0.3]", "the data manifest has a probe that is no number in [0, 1]"},
    {"[0.5,0.5,0.3]", "[0.5,null,0.3]", "the data manifest has a probe that is no number in [0, 1]"},
    {"\"test\"", "\"next\"", "the data manifest's probes is no list of 3"},
    {"\"n_users\": 5", "\"n_users\": 5, \"n_users\": 5", "the data manifest is no JSON: line 1: duplicate object key"},
};

static void every_bad_manifest_gets_its_sentence(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        char text[2048];
        DataInfo info;
        const char *hole = strstr(GOOD, BAD[i].from);
        assert_non_null(hole);
        int n =
            snprintf(text, sizeof text, "%.*s%s%s", (int)(hole - GOOD), GOOD, BAD[i].to, hole + strlen(BAD[i].from));
        assert_int_equal(datainfo_parse(&info, text, (size_t)n), ERR_DATA);
        assert_string_equal(strncmp(err_message(), BAD[i].sentence, strlen(BAD[i].sentence)) ? err_message()
                                                                                             : BAD[i].sentence,
                            BAD[i].sentence);
        assert_null(info.counts[PROTOCOL_WARM]);
    }
}

static void a_manifest_over_the_limit_is_not_read(void **state) {
    (void)state;
    DataInfo info;
    char *text = calloc(DATAINFO_MAX_BYTES + 1, 1);
    assert_int_equal(datainfo_parse(&info, text, DATAINFO_MAX_BYTES + 1), ERR_DATA);
    assert_string_equal(err_message(), "the data manifest has 8388609 bytes, at most 8388608 are read");
    free(text);
}

/* Under the sanitizers this finds what a table of cases does not: 20,000 random edits, every one survived. */
static void random_damage_never_crashes(void **state) {
    (void)state;
    Rng r = rng_stream(3, RNG_TEST, 0, 0);
    static const char LETTERS[] = "0123456789-.,:[]{}\"ae ";
    for (int i = 0; i < 20000; i++) {
        char text[sizeof GOOD];
        DataInfo info;
        memcpy(text, GOOD, sizeof GOOD);
        for (uint32_t k = 1 + rng_below(&r, 3); k > 0; k--)
            text[rng_below(&r, sizeof GOOD - 1)] = LETTERS[rng_below(&r, sizeof LETTERS - 1)];
        if (datainfo_parse(&info, text, rng_below(&r, 8) ? strlen(text) : rng_below(&r, sizeof GOOD)) == OK) {
            assert_true(info.n_chunks == 2 && info.n_items > 0);
            datainfo_free(&info);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_manifest_is_understood),
        cmocka_unit_test(a_data_set_descends_from_itself_and_its_bases),
        cmocka_unit_test(a_manifest_without_lineage_has_no_base),
        cmocka_unit_test(a_lineage_is_bounded),
        cmocka_unit_test(every_bad_manifest_gets_its_sentence),
        cmocka_unit_test(a_manifest_over_the_limit_is_not_read),
        cmocka_unit_test(random_damage_never_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
