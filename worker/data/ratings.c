/* Ratings files, row by row. */
#include "worker/data/ratings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"
#include "worker/data/columns.h"
#include "worker/data/fields.h"

enum { MAX_NUMBER = 32, SAMPLE_ROWS = 1000, MS_PER_S = 1000 }; /* MAX_NUMBER: characters of a time */
static const double TIME_END = 1e11;                           /* the year 5138; milliseconds since 1973 lie above */

const char *const RATINGS_FORMAT_NAMES[N_RATINGS_FORMATS] = {NULL, "csv", "inter", "jsonl"};

/* NULL, or what is wrong with the name. */
static const char *judge_name(const Field *field) {
    uint32_t code;
    if (field->length == 0)
        return "is empty";
    if (field->length > RATINGS_MAX_NAME)
        return "is longer than 255 bytes";
    for (size_t i = 0, n; i < field->length; i += n) {
        n = utf8_decode(field->text + i, field->length - i, &code);
        if (n == 0)
            return "is not UTF-8";
        if (code < 0x20 || code == 0x7f)
            return "holds a control character";
    }
    return NULL;
}

/* Seconds or milliseconds, whole; false where the field is no number in [0, 1e14). */
static bool parse_time(const Field *field, int64_t *out) {
    char text[MAX_NUMBER + 1], *end;
    if (field->length == 0 || field->length > MAX_NUMBER)
        return false;
    memcpy(text, field->text, field->length);
    text[field->length] = 0;
    bool is_plain = strspn(text, "0123456789") == field->length && field->length <= 18;
    double value = is_plain ? (double)strtoll(text, &end, 10) : strtod(text, &end);
    if (end != text + field->length || !(value >= 0 && value < TIME_END * MS_PER_S) || strpbrk(text, "xX "))
        return false;
    *out = (int64_t)value;
    return true;
}

static bool is_ms(int64_t time) {
    return (double)time >= TIME_END;
}

typedef struct Reader {
    const char *path;
    Columns columns;
    Splitter *splitter;
    RatingsStats *stats;
    Err (*sink)(void *self, const RatingsRow *row);
    void *self;
} Reader;

/* Counts the row; the first one's reason is kept. */
static bool reject(Reader *r, const Line *line, const char *what, const char *reason) {
    RatingsStats *s = r->stats;
    if (s->n_bad == 0)
        snprintf(s->bad_reason, sizeof s->bad_reason, "%s %s", what, reason);
    if (s->n_bad < RATINGS_BAD_LINES)
        s->bad_lines[s->n_bad] = line->number;
    s->n_bad++;
    return false;
}

/* NULL, or what is wrong with the line. */
static const char *find_fields(Reader *r, const Line *line, Field *user, Field *item, Field *time) {
    const Columns *c = &r->columns;
    Fields fields;
    if (line->is_too_long)
        return "is longer than 1,048,576 bytes";
    const char *reason = splitter_split(r->splitter, line, &fields);
    if (reason)
        return reason;
    if (fields.n <= c->user || fields.n <= c->item || fields.n <= c->time)
        return "has too few fields";
    *user = fields.at[c->user];
    *item = fields.at[c->item];
    *time = fields.at[c->time];
    return NULL;
}

static bool parse_row(Reader *r, const Line *line, RatingsRow *row) {
    const char *reason;
    Field user, item, time;
    if ((reason = find_fields(r, line, &user, &item, &time)))
        return reject(r, line, "the line", reason);
    if ((reason = judge_name(&user)))
        return reject(r, line, "the user", reason);
    if ((reason = judge_name(&item)))
        return reject(r, line, "the item", reason);
    bool has_ms = r->stats->has_ms;
    if (!parse_time(&time, &row->time) || is_ms(row->time) != has_ms)
        return reject(r, line, "the time",
                      has_ms ? "is no number of milliseconds in [1e11, 1e14)" : "is no number of seconds in [0, 1e11)");
    if (has_ms)
        row->time /= MS_PER_S;
    row->user = user.text;
    row->user_length = user.length;
    row->item = item.text;
    row->item_length = item.length;
    return true;
}

static bool is_row(const Reader *r, const Line *line) {
    bool is_header = line->number == 1 && r->columns.has_header;
    return !is_header && (line->length > 0 || line->is_too_long);
}

/* Milliseconds or seconds: what most of the first rows have. */
static Err find_unit(Reader *r, Input *in) {
    Line line;
    bool has_line;
    Err err = OK;
    int n_ms = 0, n_s = 0;
    for (int n = 0; n < SAMPLE_ROWS && !(err = input_read_line(in, &line, &has_line)) && has_line; n++) {
        Field user, item, time;
        int64_t value;
        if (!is_row(r, &line) || find_fields(r, &line, &user, &item, &time) || !parse_time(&time, &value))
            continue;
        n_ms += is_ms(value);
        n_s += !is_ms(value);
    }
    r->stats->has_ms = n_ms > n_s;
    return err;
}

static Err read_rows(Reader *r, Input *in) {
    Line line;
    bool has_line;
    Err err;
    while (!(err = input_read_line(in, &line, &has_line)) && has_line) {
        RatingsRow row;
        if (!is_row(r, &line))
            continue;
        r->stats->n_rows++;
        if (parse_row(r, &line, &row) && (err = r->sink(r->self, &row)))
            return err;
    }
    r->stats->n_bytes = input_bytes(in);
    r->stats->hash = input_hash(in);
    return err;
}

static Err judge_file(const Reader *r, double max_bad) {
    const RatingsStats *s = r->stats;
    if (s->n_rows == 0)
        return err_fail(ERR_DATA, "%s holds no rows", r->path);
    if ((double)s->n_bad <= max_bad * (double)s->n_rows)
        return OK;
    char lines[RATINGS_BAD_LINES * 24] = "";
    for (size_t i = 0, at = 0; i < RATINGS_BAD_LINES && i < s->n_bad; i++)
        at +=
            (size_t)snprintf(lines + at, sizeof lines - at, i ? ", %llu" : "%llu", (unsigned long long)s->bad_lines[i]);
    return err_fail(
        ERR_DATA, "%s: %llu of %llu rows are malformed, more than --max-bad %g %%; the first lines are %s, where %s",
        r->path, (unsigned long long)s->n_bad, (unsigned long long)s->n_rows, max_bad * 100, lines, s->bad_reason);
}

/* Opens the file anew, so that its first rows can be looked at before they are read. */
static Err with_input(Reader *r, Err (*use)(Reader *r, Input *in)) {
    Input *in;
    Err err = input_open(&in, r->path);
    if (err)
        return err;
    err = use(r, in);
    input_close(&in);
    return err;
}

Err ratings_read(const char *path, const RatingsOptions *options, Err (*sink)(void *self, const RatingsRow *row),
                 void *self, RatingsStats *stats) {
    static const RatingsFormat FORMATS[] = {
        [FIELDS_COMMAS] = RATINGS_CSV, [FIELDS_TABS] = RATINGS_INTER, [FIELDS_JSON] = RATINGS_JSONL};
    *stats = (RatingsStats){0};
    Reader r = {.path = path, .stats = stats, .sink = sink, .self = self};
    Err err = columns_sniff(path, options, &r.columns);
    if (err)
        return err;
    stats->format = FORMATS[r.columns.kind];
    r.splitter = splitter_open(r.columns.kind, r.columns.keys);
    err = with_input(&r, find_unit);
    if (!err)
        err = with_input(&r, read_rows);
    if (!err)
        err = judge_file(&r, options->max_bad);
    splitter_close(&r.splitter);
    return err;
}
