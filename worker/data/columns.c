/* Which column holds what. A wrong guess would train on swapped users and items, so what is not certain is refused. */
#include "worker/data/columns.h"

#include <ctype.h>
#include <string.h>

#include "worker/data/fields.h"

enum { SAMPLE_ROWS = 1000, AMAZON_COLUMNS = 4, ASIN_LENGTH = 10 };

static const char *const USER_WORDS[] = {"user", "user_id", "userid", "reviewerID", NULL};
static const char *const ITEM_WORDS[] = {"item", "item_id", "itemid", "asin", "parent_asin", NULL};
static const char *const TIME_WORDS[] = {"time", "timestamp", "ts", "unixReviewTime", NULL};

static bool is_word_of(const Field *field, const char *const *words) {
    for (; *words; words++)
        if (field_is(field, *words))
            return true;
    return false;
}

/* Sets the three columns from words; false unless each occurs exactly once. */
static bool name_columns(const Fields *words, Columns *out) {
    int n_users = 0, n_items = 0, n_times = 0;
    for (int i = 0; i < words->n; i++) {
        const Field *word = &words->at[i];
        if (is_word_of(word, USER_WORDS))
            n_users++, out->user = i;
        else if (is_word_of(word, ITEM_WORDS))
            n_items++, out->item = i;
        else if (is_word_of(word, TIME_WORDS))
            n_times++, out->time = i;
    }
    return n_users == 1 && n_items == 1 && n_times == 1;
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
    out->is_csv = false;
    out->has_header = true;
    if (!splitter_split(tabs, line, &header) || !strip_types(&header) || !name_columns(&header, out))
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
    *out = (Columns){.is_csv = true, .user = is_item[0], .item = is_item[1], .time = 3};
    return OK;
}

static Err sniff_csv(const char *path, Input *in, Line line, Splitter *commas, Columns *out) {
    Sample sample = {0};
    Fields fields;
    bool has_line = true;
    out->is_csv = true;
    if (splitter_split(commas, &line, &fields) && name_columns(&fields, out)) {
        out->has_header = true;
        return OK;
    }
    for (int i = 0; has_line && i < SAMPLE_ROWS; i++) {
        if (!line.is_too_long && splitter_split(commas, &line, &fields))
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
    bool is_split = splitter_split(splitter, line, &header);
    out->has_header = is_split && (name_columns(&header, &ignored) || (!out->is_csv && strip_types(&header)));
    split_words(columns, &words);
    (void)name_columns(&words, out); /* ratings_check_columns has looked at them */
}

static Err sniff_open(const char *path, const RatingsOptions *options, Input *in, Columns *out) {
    Line line;
    bool has_line;
    Err err = input_read_line(in, &line, &has_line);
    if (err)
        return err;
    if (!has_line)
        return err_fail(ERR_DATA, "%s is empty", path);
    bool is_inter = !line.is_too_long && memchr(line.text, '\t', line.length) && memchr(line.text, ':', line.length);
    bool is_csv = options->format == RATINGS_CSV || (options->format == RATINGS_SNIFF && !is_inter);
    Splitter *splitter = splitter_open(is_csv);
    out->is_csv = is_csv;
    if (options->columns)
        use_columns(options->columns, &line, splitter, out);
    else
        err = is_csv ? sniff_csv(path, in, line, splitter, out) : sniff_inter(path, &line, splitter, out);
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
