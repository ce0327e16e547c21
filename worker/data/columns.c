/* Which column holds what. A wrong guess would train on swapped users and items, so what is not certain is refused. */
#include "worker/data/columns.h"

#include <ctype.h>
#include <string.h>

#include "worker/data/fields.h"

enum { SAMPLE_ROWS = 1000, AMAZON_COLUMNS = 4, ASIN_LENGTH = 10 };

static const char *const USER_WORDS[] = {"user", "user_id", "userid", "reviewerID", NULL};
static const char *const ITEM_WORDS[] = {"item", "item_id", "itemid", "asin", "parent_asin", NULL};
static const char ASIN[] = "asin", PARENT_ASIN[] = "parent_asin"; /* of two editions; of what both are editions of */
static const char *const TIME_WORDS[] = {"time", "timestamp", "ts", "unixReviewTime", NULL};

/* The word of the list that the field is, or NULL. */
static const char *word_of(const Field *field, const char *const *words) {
    for (; *words; words++)
        if (field_is(field, *words))
            return *words;
    return NULL;
}

static bool has_word(const Fields *words, const char *word) {
    for (int i = 0; i < words->n; i++)
        if (field_is(&words->at[i], word))
            return true;
    return false;
}

/* Sets the three columns from words; false unless each occurs exactly once. Beside parent_asin, asin is not counted. */
static bool name_columns(const Fields *words, Columns *out) {
    static const char *const *const LISTS[FIELDS_KEYS] = {USER_WORDS, ITEM_WORDS, TIME_WORDS};
    int n_found[FIELDS_KEYS] = {0}, *column[FIELDS_KEYS] = {&out->user, &out->item, &out->time};
    bool has_parents = has_word(words, PARENT_ASIN);
    for (int i = 0; i < words->n; i++)
        for (int k = 0; k < FIELDS_KEYS; k++) {
            const char *word = word_of(&words->at[i], LISTS[k]);
            if (!word || (has_parents && !strcmp(word, ASIN)))
                continue;
            n_found[k]++;
            *column[k] = i;
            out->keys[k] = word;
        }
    return n_found[0] == 1 && n_found[1] == 1 && n_found[2] == 1;
}

static void split_words(const char *text, Fields *out) {
    out->n = 0;
    while (out->n < FIELDS_MAX) {
        size_t length = strcspn(text, ",");
        out->at[out->n++] = (Field){.text = text, .length = length};
        if (!text[length])
            break;
        text += length + 1;
    }
}

Err ratings_check_columns(const char *columns) {
    Fields words;
    Columns named;
    split_words(columns, &words);
    if (name_columns(&words, &named))
        return OK;
    return err_fail(ERR_USAGE,
                    "the columns \"%s\" must name user, item and time once each, as in item,user,rating,time", columns);
}

/* Amazon's item ids: ten digits and capitals that begin with a digit (ISBN) or with B. */
static bool looks_like_asin(const Field *field) {
    if (field->length != ASIN_LENGTH || !(field->text[0] == 'B' || isdigit((unsigned char)field->text[0])))
        return false;
    for (int i = 0; i < ASIN_LENGTH; i++)
        if (!isdigit((unsigned char)field->text[i]) && !isupper((unsigned char)field->text[i]))
            return false;
    return true;
}

/* RecBole's header: every field is name:type. The names are cut out of the fields. */
static bool strip_types(Fields *fields) {
    for (int i = 0; i < fields->n; i++) {
        const char *colon = memchr(fields->at[i].text, ':', fields->at[i].length);
        if (!colon)
            return false;
        fields->at[i].length = (size_t)(colon - fields->at[i].text);
    }
    return fields->n > 0;
}

static Err sniff_inter(const char *path, const Line *line, Splitter *tabs, Columns *out) {
    Fields header;
    out->has_header = true;
    if (splitter_split(tabs, line, &header) || !strip_types(&header) || !name_columns(&header, out))
        return err_fail(ERR_DATA,
                        "%s:1: the header of an .inter file must name user_id, item_id and timestamp, each as "
                        "name:type, separated by tabs",
                        path);
    return OK;
}

typedef struct Sample {
    int n_rows;
    int n_asins[2]; /* in the first and in the second column */
} Sample;

static void add_to_sample(Sample *sample, const Fields *fields) {
    if (fields->n != AMAZON_COLUMNS)
        return;
    sample->n_rows++;
    for (int c = 0; c < 2; c++)
        sample->n_asins[c] += looks_like_asin(&fields->at[c]);
}

static Err judge_sample(const char *path, const Sample *sample, Columns *out) {
    if (sample->n_rows == 0)
        return err_fail(ERR_DATA,
                        "%s: no row of the first %d has the 4 fields user,item,rating,time: name the columns with "
                        "--columns",
                        path, SAMPLE_ROWS);
    bool is_item[2];
    for (int c = 0; c < 2; c++)
        is_item[c] = sample->n_asins[c] * 10 >= sample->n_rows * 9;
    if (is_item[0] == is_item[1])
        return err_fail(ERR_DATA,
                        "%s: cannot tell whether column 1 or 2 holds the items: say --columns user,item,rating,time "
                        "or --columns item,user,rating,time",
                        path);
    *out = (Columns){.kind = FIELDS_COMMAS, .user = is_item[0], .item = is_item[1], .time = 3};
    return OK;
}

static Err sniff_csv(const char *path, Input *in, Line line, Splitter *commas, Columns *out) {
    Sample sample = {0};
    Fields fields;
    bool has_line = true;
    if (!splitter_split(commas, &line, &fields) && name_columns(&fields, out)) {
        out->has_header = true;
        return OK;
    }
    for (int i = 0; has_line && i < SAMPLE_ROWS; i++) {
        if (!line.is_too_long && !splitter_split(commas, &line, &fields))
            add_to_sample(&sample, &fields);
        Err err = input_read_line(in, &line, &has_line);
        if (err)
            return err;
    }
    return judge_sample(path, &sample, out);
}

/* With --columns; a first line that names its columns is a header all the same. */
static void use_columns(const char *columns, const Line *line, Splitter *splitter, Columns *out) {
    Fields words, header;
    Columns ignored;
    bool is_split = !splitter_split(splitter, line, &header), is_inter = out->kind == FIELDS_TABS;
    out->has_header = is_split && (name_columns(&header, &ignored) || (is_inter && strip_types(&header)));
    split_words(columns, &words);
    (void)name_columns(&words, out); /* ratings_check_columns has looked at them */
}

/* The first object that names all three tells the names of all. */
static Err sniff_json(const char *path, Input *in, Line line, Splitter *json, Columns *out) {
    Fields keys;
    bool has_line = true;
    for (int i = 0; has_line && i < SAMPLE_ROWS; i++) {
        if (!line.is_too_long && splitter_json_keys(json, &line, &keys) && name_columns(&keys, out)) {
            out->user = 0;
            out->item = 1;
            out->time = 2;
            return OK;
        }
        Err err = input_read_line(in, &line, &has_line);
        if (err)
            return err;
    }
    return err_fail(ERR_DATA,
                    "%s: no line of the first %d is a JSON object that names user, item and time, as in user_id, "
                    "parent_asin, timestamp or reviewerID, asin, unixReviewTime",
                    path, SAMPLE_ROWS);
}

static Err sniff_columns(const char *path, const char *columns, Input *in, const Line *line, Splitter *splitter,
                         Columns *out) {
    if (columns && out->kind == FIELDS_JSON)
        return err_fail(ERR_USAGE, "%s holds JSON lines, which name their values: --columns is for csv and inter",
                        path);
    if (columns) {
        use_columns(columns, line, splitter, out);
        return OK;
    }
    if (out->kind == FIELDS_TABS)
        return sniff_inter(path, line, splitter, out);
    return out->kind == FIELDS_JSON ? sniff_json(path, in, *line, splitter, out)
                                    : sniff_csv(path, in, *line, splitter, out);
}

/* A brace begins a JSON object; RecBole's header has tabs and colons. */
static FieldsKind kind_of(RatingsFormat format, const Line *line) {
    static const FieldsKind KINDS[N_RATINGS_FORMATS] = {
        [RATINGS_CSV] = FIELDS_COMMAS, [RATINGS_INTER] = FIELDS_TABS, [RATINGS_JSONL] = FIELDS_JSON};
    size_t at = 0;
    if (format != RATINGS_SNIFF)
        return KINDS[format];
    while (at < line->length && line->text[at] == ' ')
        at++;
    if (at < line->length && line->text[at] == '{')
        return FIELDS_JSON;
    bool is_inter =
        !line->is_too_long && memchr(line->text, '\t', line->length) && memchr(line->text, ':', line->length);
    return is_inter ? FIELDS_TABS : FIELDS_COMMAS;
}

static Err sniff_open(const char *path, const RatingsOptions *options, Input *in, Columns *out) {
    Line line;
    bool has_line;
    Err err = input_read_line(in, &line, &has_line);
    if (err)
        return err;
    if (!has_line)
        return err_fail(ERR_DATA, "%s is empty", path);
    out->kind = kind_of(options->format, &line);
    Splitter *splitter = splitter_open(out->kind, out->keys);
    err = sniff_columns(path, options->columns, in, &line, splitter, out);
    splitter_close(&splitter);
    return err;
}

Err columns_sniff(const char *path, const RatingsOptions *options, Columns *out) {
    Input *in;
    *out = (Columns){0};
    Err err = input_open(&in, path);
    if (err)
        return err;
    err = sniff_open(path, options, in, out);
    input_close(&in);
    return err;
}
