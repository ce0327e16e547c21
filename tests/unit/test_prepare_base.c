/* prepare --base: ids of an earlier data set are kept, whatever the newer ratings hold.
 * link: mg_data */
#include "data_fixture.h"

#include <xxhash.h>

#include "worker/data/datafile.h"

enum { N_DAYS = 400, N_ROWS = 3000 };

/* Ratings of the days [from, end), user and item in the file's first and second column; users and items appear day by
 * day, and those of the first days fall silent. No order. */
static void write_days(const char *path, uint64_t stream, uint32_t from, uint32_t end) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (uint32_t i = 0; i < N_ROWS; i++) {
        Rng r = rng_stream(41, RNG_TEST, (uint32_t)stream, i);
        uint32_t day = rng_below(&r, N_DAYS), user = day / 8 + rng_below(&r, 20), item = day / 3 + rng_below(&r, 60);
        if (day >= from && day < end)
            fprintf(f, "u%u,B%09u,5.0,%u\n", user, item + (stream == 1 ? 0 : 100), day * 86400);
    }
    fclose(f);
}

typedef struct Sets {
    char dir[3][128]; /* each but the first prepared on the one before it */
} Sets;

static void sets_name(Sets *x, const Scratch *s) {
    for (int i = 0; i < 3; i++)
        snprintf(x->dir[i], sizeof x->dir[i], "%s/set%d", s->dir, i);
}

static PrepareOptions options_of(const Scratch *s, const char *out, const char *base) {
    PrepareOptions o = scratch_options(s);
    o.out_dir = out;
    o.base_dir = base;
    return o;
}

/* The data set of the ratings of these days. */
static Dataset *prepare_days(const Scratch *s, uint32_t from, uint32_t end, const char *out, const char *base) {
    write_days(s->a, 1, from, end);
    write_days(s->b, 2, from, end);
    PrepareOptions o = options_of(s, out, base);
    return prepare_and_open(&o);
}

static bool knows_item(const Dataset *d, const char *name) {
    for (uint32_t i = 1; i < dataset_info(d)->n_items; i++)
        if (!strcmp(dataset_item_name(d, i), name))
            return true;
    return false;
}

static void assert_ids_kept(const Dataset *old, const Dataset *new) {
    assert_true(dataset_info(new)->n_items >= dataset_info(old)->n_items);
    assert_true(dataset_info(new)->n_users >= dataset_info(old)->n_users);
    for (uint32_t i = 0; i < dataset_info(old)->n_items; i++)
        assert_string_equal(dataset_item_name(new, i), dataset_item_name(old, i));
    for (uint32_t i = 0; i < dataset_info(old)->n_users; i++)
        assert_string_equal(dataset_user_name(new, i), dataset_user_name(old, i));
    for (uint32_t i = dataset_info(old)->n_items; i < dataset_info(new)->n_items; i++)
        assert_false(knows_item(old, dataset_item_name(new, i)));
}

static void old_ids_are_kept_over_a_chain_of_bases(void **state) {
    Sets x;
    Dataset *d[3];
    sets_name(&x, *state);
    for (int i = 0; i < 3; i++)
        d[i] = prepare_days(*state, 0, 300 + 50 * (uint32_t)i, x.dir[i], i ? x.dir[i - 1] : NULL);
    for (int i = 1; i < 3; i++) {
        const DataInfo *old = dataset_info(d[i - 1]), *new = dataset_info(d[i]);
        assert_ids_kept(d[i - 1], d[i]);
        assert_true(new->n_items > old->n_items &&new->n_users > old->n_users);
        assert_int_equal(new->n_lineage, i);
        assert_true(new->lineage[i - 1] == old->fingerprint);
        for (int k = 0; k < i; k++)
            assert_true(datainfo_descends_from(new, dataset_info(d[k])->fingerprint));
        assert_false(datainfo_descends_from(old, new->fingerprint));
    }
    for (int i = 0; i < 3; i++)
        dataset_close(&d[i]);
}

static uint32_t find_user(const Dataset *d, const char *name) {
    for (uint32_t u = 1; u < dataset_info(d)->n_users; u++)
        if (!strcmp(dataset_user_name(d, u), name))
            return u;
    fail_msg("no user %s", name);
    return 0;
}

/* Ids alone differ: events, splits and counts are those of the same ratings without a base. */
static void a_base_changes_nothing_but_ids(void **state) {
    Sets x;
    sets_name(&x, *state);
    Dataset *old = prepare_days(*state, 0, 350, x.dir[0], NULL);
    Dataset *got = prepare_days(*state, 0, N_DAYS, x.dir[1], x.dir[0]);
    Dataset *want = prepare_days(*state, 0, N_DAYS, x.dir[2], NULL);
    assert_true(dataset_info(got)->fingerprint != dataset_info(want)->fingerprint);
    assert_int_equal(dataset_info(want)->n_lineage, 0);
    for (int domain = 0; domain < N_DOMAINS; domain++) {
        uint32_t n, n_want, first, first_want;
        const uint32_t *items = dataset_event_items(got, domain, &n);
        const uint32_t *want_items = dataset_event_items(want, domain, &n_want);
        assert_int_equal(n, n_want);
        assert_int_equal(dataset_train_end(got, domain), dataset_train_end(want, domain));
        assert_int_equal(dataset_info(got)->n_train_items[domain], dataset_info(want)->n_train_items[domain]);
        for (int list = 0; list < N_LISTS; list++) {
            Split split = list ? (list % 2 ? SPLIT_VALID : SPLIT_TEST) : SPLIT_TRAIN;
            Protocol protocol = list > 2 ? PROTOCOL_ALL : PROTOCOL_WARM;
            (void)dataset_instances(got, domain, split, protocol, &n);
            (void)dataset_instances(want, domain, split, protocol, &n_want);
            assert_int_equal(n, n_want);
        }
        for (uint32_t u = 1; u < dataset_info(want)->n_users; u++) {
            dataset_user_events(want, domain, u, &first_want, &n_want);
            dataset_user_events(got, domain, find_user(got, dataset_user_name(want, u)), &first, &n);
            assert_int_equal(n, n_want);
            for (uint32_t i = 0; i < n; i++)
                assert_string_equal(dataset_item_name(got, items[first + i]),
                                    dataset_item_name(want, want_items[first_want + i]));
        }
    }
    dataset_close(&old);
    dataset_close(&got);
    dataset_close(&want);
}

static void the_same_inputs_and_base_give_the_same_bytes(void **state) {
    Sets x;
    sets_name(&x, *state);
    Dataset *base = prepare_days(*state, 0, 350, x.dir[0], NULL);
    for (int i = 1; i < 3; i++) {
        Dataset *d = prepare_days(*state, 0, N_DAYS, x.dir[i], x.dir[0]);
        dataset_close(&d);
    }
    for (int file = 0; file <= N_DATA_FILES; file++) {
        char path[2][192], *bytes[2];
        size_t size[2];
        for (int i = 0; i < 2; i++) {
            snprintf(path[i], sizeof path[i], "%s/%s", x.dir[i + 1],
                     file < N_DATA_FILES ? DATA_FILES[file].name : "manifest.json");
            bytes[i] = read_bytes(path[i], &size[i]);
        }
        assert_int_equal(size[0], size[1]);
        assert_memory_equal(bytes[0], bytes[1], size[0]);
        free(bytes[0]);
        free(bytes[1]);
    }
    dataset_close(&base);
}

static void count_silent(const Dataset *d, uint32_t *n_users, uint32_t *n_items) {
    uint8_t *occurs = calloc(dataset_info(d)->n_items, 1);
    *n_users = *n_items = 0;
    for (int domain = 0; domain < N_DOMAINS; domain++) {
        uint32_t n;
        const uint32_t *items = dataset_event_items(d, domain, &n);
        for (uint32_t i = 0; i < n; i++)
            occurs[items[i]] = 1;
    }
    for (uint32_t i = 1; i < dataset_info(d)->n_items; i++)
        *n_items += !occurs[i];
    for (uint32_t u = 1; u < dataset_info(d)->n_users; u++) {
        uint32_t first, n[N_DOMAINS];
        for (int domain = 0; domain < N_DOMAINS; domain++)
            dataset_user_events(d, domain, u, &first, &n[domain]);
        *n_users += n[DOMAIN_A] + n[DOMAIN_B] == 0;
    }
    free(occurs);
}

/* The ratings of the first 100 days are gone: who and what occurred only then keeps the id, and no instance has it. */
static void names_that_vanish_keep_their_ids_and_have_no_events(void **state) {
    Sets x;
    Scratch *s = *state;
    PrepareReport report;
    sets_name(&x, s);
    Dataset *new, *old = prepare_days(s, 0, 350, x.dir[0], NULL);
    write_days(s->a, 1, 100, N_DAYS);
    write_days(s->b, 2, 100, N_DAYS);
    PrepareOptions o = options_of(s, x.dir[1], x.dir[0]);
    assert_int_equal(prepare_run(&o, &report), OK);
    assert_int_equal(dataset_open(&new, x.dir[1]), OK);
    assert_ids_kept(old, new);
    uint32_t n_users, n_items;
    count_silent(new, &n_users, &n_items);
    assert_true(n_users > 0 && n_items > 0);
    assert_int_equal(report.user_ids.n_vanished, n_users);
    assert_int_equal(report.item_ids.n_vanished, n_items);
    assert_int_equal(report.user_ids.n_kept + n_users + 1, dataset_info(old)->n_users);
    assert_int_equal(report.item_ids.n_kept + n_items + 1, dataset_info(old)->n_items);
    assert_int_equal(report.user_ids.n_new, dataset_info(new)->n_users - dataset_info(old)->n_users);
    assert_int_equal(report.item_ids.n_new, dataset_info(new)->n_items - dataset_info(old)->n_items);
    dataset_close(&old);
    dataset_close(&new);
}

/* ---- refusals ---- */

static void expect_refusal(const PrepareOptions *o, Err code, const char *sentence) {
    PrepareReport report;
    assert_int_equal(prepare_run(o, &report), code);
    assert_string_equal(err_message(), sentence);
}

static void edit_manifest(const char *dir, const char *from, const char *to) {
    char path[192];
    size_t size;
    snprintf(path, sizeof path, "%s/manifest.json", dir);
    char *text = read_bytes(path, &size), *out = malloc(size + strlen(to) + 1);
    text[size] = 0;
    char *hole = strstr(text, from);
    assert_non_null(hole);
    int n = sprintf(out, "%.*s%s%s", (int)(hole - text), text, to, hole + strlen(from));
    write_bytes(path, out, (size_t)n);
    free(text);
    free(out);
}

/* Puts b's bytes where a's were in a file of names, both of one length, and mends the checksum. */
static void forge_name(const char *dir, const char *file, const char *a, const char *b) {
    char path[192], hashes[2][24];
    size_t size;
    snprintf(path, sizeof path, "%s/%s", dir, file);
    char *bytes = read_bytes(path, &size);
    char *at = memmem(bytes, size, a, strlen(a) + 1);
    assert_non_null(at);
    for (int i = 0; i < 2; i++) {
        snprintf(hashes[i], sizeof hashes[i], "%016llx", (unsigned long long)XXH3_64bits(bytes, size));
        if (i == 0)
            memcpy(at, b, strlen(b) + 1);
    }
    write_bytes(path, bytes, size);
    edit_manifest(dir, hashes[0], hashes[1]);
    free(bytes);
}

static void what_is_no_base_is_refused_in_a_sentence(void **state) {
    Sets x;
    Scratch *s = *state;
    char want[512];
    sets_name(&x, s);
    Dataset *d = prepare_days(s, 0, 350, x.dir[0], NULL);
    PrepareOptions o = options_of(s, x.dir[1], s->dir);
    snprintf(want, sizeof want,
             "%s is no prepared data set (mangrove prepare makes one): cannot open %s/manifest.json: No such file or "
             "directory",
             s->dir, s->dir);
    expect_refusal(&o, ERR_DATA, want);
    o.base_dir = x.dir[0];
    edit_manifest(x.dir[0], "\"format\": 1", "\"format\": 2");
    snprintf(want, sizeof want,
             "%s/manifest.json: the data manifest has format 2, this program reads 1: prepare the data again",
             x.dir[0]);
    expect_refusal(&o, ERR_DATA, want);
    edit_manifest(x.dir[0], "\"format\": 2", "\"format\": 1");

    char name[32];
    snprintf(name, sizeof name, "%s", dataset_item_name(d, 1));
    assert_int_equal(strlen(dataset_item_name(d, 2)), strlen(name));
    forge_name(x.dir[0], "items.bin", dataset_item_name(d, 2), name);
    snprintf(want, sizeof want, "the base %s is damaged: the item \"%s\" has two ids; prepare it again", x.dir[0],
             name);
    expect_refusal(&o, ERR_DATA, want);
    assert_int_not_equal(access(x.dir[1], F_OK), 0);
    dataset_close(&d);
}

static void a_base_with_a_flipped_bit_is_refused(void **state) {
    Sets x;
    Scratch *s = *state;
    sets_name(&x, s);
    Dataset *d = prepare_days(s, 0, 350, x.dir[0], NULL);
    dataset_close(&d);
    for (int file = FILE_ITEMS; file <= FILE_USERS; file++) {
        char path[192], want[256];
        size_t size;
        PrepareReport report;
        snprintf(path, sizeof path, "%s/%s", x.dir[0], DATA_FILES[file].name);
        char *bytes = read_bytes(path, &size);
        bytes[size / 2] ^= 1;
        write_bytes(path, bytes, size);
        PrepareOptions o = options_of(s, x.dir[1], x.dir[0]);
        assert_int_equal(prepare_run(&o, &report), ERR_DATA);
        snprintf(want, sizeof want, "%s is damaged: its checksum is ", path);
        assert_memory_equal(err_message(), want, strlen(want));
        bytes[size / 2] ^= 1;
        write_bytes(path, bytes, size);
        free(bytes);
    }
}

static void a_data_set_does_not_replace_its_base(void **state) {
    Sets x;
    Scratch *s = *state;
    char same[160], want[512];
    sets_name(&x, s);
    Dataset *d = prepare_days(s, 0, 350, x.dir[0], NULL);
    snprintf(same, sizeof same, "%s/../set0/", x.dir[0]);
    PrepareOptions o = options_of(s, same, x.dir[0]);
    o.force = true;
    snprintf(want, sizeof want,
             "--base and --out are both %s: a data set cannot replace its base, choose another --out", same);
    expect_refusal(&o, ERR_USAGE, want);
    dataset_close(&d);
    assert_int_equal(dataset_open(&d, x.dir[0]), OK);
    dataset_close(&d);
}

static uint32_t count_items_of_one(const Dataset *d, int domain) {
    uint32_t n[N_DOMAINS], count = 0;
    const uint32_t *items[N_DOMAINS];
    uint8_t *occurs = calloc(dataset_info(d)->n_items, 1);
    for (int k = 0; k < N_DOMAINS; k++) {
        items[k] = dataset_event_items(d, k, &n[k]);
        for (uint32_t i = 0; i < n[k]; i++)
            occurs[items[k][i]] |= (uint8_t)(1 + k);
    }
    for (uint32_t i = 1; i < dataset_info(d)->n_items; i++)
        count += occurs[i] == 1 + domain;
    free(occurs);
    return count;
}

static void ratings_of_other_domains_are_refused(void **state) {
    Sets x;
    Scratch *s = *state;
    char want[768];
    sets_name(&x, s);
    Dataset *d = prepare_days(s, 0, N_DAYS, x.dir[0], NULL);
    uint32_t n_a = count_items_of_one(d, DOMAIN_A);
    assert_true(n_a > 0 && count_items_of_one(d, DOMAIN_B) > 0);
    PrepareOptions o = options_of(s, x.dir[1], x.dir[0]);
    o.inputs[0] = s->b;
    o.inputs[1] = s->a;
    snprintf(want, sizeof want,
             "of the %u items that the base has in domain A alone, 0 occur in %s and %u in %s alone: give the complete "
             "ratings of the same two domains in the same order",
             n_a, s->b, n_a, s->a);
    expect_refusal(&o, ERR_DATA, want);
    o = options_of(s, x.dir[1], x.dir[0]);
    o.ratings.columns = "item,user,rating,time"; /* users as items: nothing is known */
    snprintf(want, sizeof want,
             "of the %u items that the base has in domain A alone, 0 occur in %s and 0 in %s alone: give the complete "
             "ratings of the same two domains in the same order",
             n_a, s->a, s->b);
    expect_refusal(&o, ERR_DATA, want);
    dataset_close(&d);
}

static void a_full_lineage_loses_its_oldest(void **state) {
    Sets x;
    Scratch *s = *state;
    sets_name(&x, s);
    Dataset *d = prepare_days(s, 0, 350, x.dir[0], NULL);
    dataset_close(&d);
    char *text = malloc(32 * DATAINFO_MAX_LINEAGE);
    int n = sprintf(text, "\"lineage\": [");
    for (int i = 0; i < DATAINFO_MAX_LINEAGE; i++)
        n += sprintf(text + n, "%s\"%016x\"", i ? "," : "", (unsigned)i + 5);
    strcpy(text + n, "]");
    edit_manifest(x.dir[0], "\"lineage\": []", text);
    free(text);
    assert_int_equal(dataset_open(&d, x.dir[0]), OK);
    Dataset *new = prepare_days(s, 0, N_DAYS, x.dir[1], x.dir[0]);
    const DataInfo *info = dataset_info(new);
    assert_int_equal(info->n_lineage, DATAINFO_MAX_LINEAGE);
    assert_true(info->lineage[0] == 6);
    assert_true(info->lineage[DATAINFO_MAX_LINEAGE - 2] == DATAINFO_MAX_LINEAGE + 4);
    assert_true(info->lineage[DATAINFO_MAX_LINEAGE - 1] == dataset_info(d)->fingerprint);
    dataset_close(&d);
    dataset_close(&new);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SCRATCH_TEST(old_ids_are_kept_over_a_chain_of_bases),
        SCRATCH_TEST(a_base_changes_nothing_but_ids),
        SCRATCH_TEST(the_same_inputs_and_base_give_the_same_bytes),
        SCRATCH_TEST(names_that_vanish_keep_their_ids_and_have_no_events),
        SCRATCH_TEST(what_is_no_base_is_refused_in_a_sentence),
        SCRATCH_TEST(a_base_with_a_flipped_bit_is_refused),
        SCRATCH_TEST(a_data_set_does_not_replace_its_base),
        SCRATCH_TEST(ratings_of_other_domains_are_refused),
        SCRATCH_TEST(a_full_lineage_loses_its_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
