/* A line's fields. libcsv sees one line at a time and is strict, so an open quote costs that line and not the file. */
#include "worker/data/fields.h"

#include <csv.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

enum { CSV_OPTIONS = CSV_STRICT | CSV_STRICT_FINI };

struct Splitter {
    bool is_csv;
    bool is_bad;
    struct csv_parser parser;
    Fields fields;
    size_t used;
    char copy[INPUT_MAX_LINE + 1]; /* libcsv reuses its buffer for every field */
};

static void start_parser(Splitter *s) {
    if (csv_init(&s->parser, CSV_OPTIONS))
        log_die(ERR_FAILED, "cannot start the CSV parser");
}

Splitter *splitter_open(bool is_csv) {
    Splitter *s = must_alloc(sizeof *s);
    s->is_csv = is_csv;
    start_parser(s);
    return s;
}

void splitter_close(Splitter **s) {
    if (!*s)
        return;
    csv_free(&(*s)->parser);
    free(*s);
    *s = NULL;
}

static bool add_field(Fields *fields, const char *text, size_t length) {
    if (fields->n == FIELDS_MAX)
        return false;
    fields->at[fields->n++] = (Field){.text = text, .length = length};
    return true;
}

static void on_field(void *text, size_t length, void *self) {
    Splitter *s = self;
    char *copy = s->copy + s->used;
    if (s->is_bad || length > sizeof s->copy - s->used || !add_field(&s->fields, copy, length)) {
        s->is_bad = true;
        return;
    }
    if (length > 0)
        memcpy(copy, text, length);
    s->used += length;
}

static void on_row(int end, void *self) {
    (void)end;
    (void)self;
}

static bool split_csv(Splitter *s, const Line *line) {
    s->is_bad = false;
    s->used = 0;
    bool is_whole = csv_parse(&s->parser, line->text, line->length, on_field, on_row, s) == line->length;
    if (is_whole && csv_fini(&s->parser, on_field, on_row, s) == 0)
        return !s->is_bad;
    csv_free(&s->parser); /* an error leaves libcsv in the middle of a field */
    start_parser(s);
    return false;
}

static bool split_tabs(Splitter *s, const Line *line) {
    const char *at = line->text, *end = line->text + line->length;
    while (line->length > 0) {
        const char *tab = memchr(at, '\t', (size_t)(end - at));
        if (!add_field(&s->fields, at, (size_t)((tab ? tab : end) - at)))
            return false;
        if (!tab)
            break;
        at = tab + 1;
    }
    return true;
}

bool splitter_split(Splitter *s, const Line *line, Fields *out) {
    s->fields.n = 0;
    bool is_good = s->is_csv ? split_csv(s, line) : split_tabs(s, line);
    *out = s->fields;
    return is_good;
}

bool field_is(const Field *field, const char *word) {
    return field->length == strlen(word) && !memcmp(field->text, word, field->length);
}
