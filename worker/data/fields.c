/* A line's fields. libcsv and jansson see one line at a time and are strict, so an open quote costs that line and not
 * the file. */
#include "worker/data/fields.h"

#include <csv.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

enum { CSV_OPTIONS = CSV_STRICT | CSV_STRICT_FINI };

struct Splitter {
    FieldsKind kind;
    const char *const *keys; /* of FIELDS_JSON */
    const char *fault;       /* of this line, or NULL */
    struct csv_parser parser;
    Fields fields;
    size_t used;
    char copy[INPUT_MAX_LINE + 1]; /* libcsv reuses its buffer for every field, a JSON object is freed */
};

static void start_parser(Splitter *s) {
    if (csv_init(&s->parser, CSV_OPTIONS))
        log_die(ERR_FAILED, "cannot start the CSV parser");
}

Splitter *splitter_open(FieldsKind kind, const char *const *keys) {
    Splitter *s = must_alloc(sizeof *s);
    s->kind = kind;
    s->keys = keys;
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

static void add_field(Splitter *s, const char *text, size_t length) {
    if (s->fields.n < FIELDS_MAX)
        s->fields.at[s->fields.n++] = (Field){.text = text, .length = length};
    else
        s->fault = "has more than 64 fields";
}

static void add_copy(Splitter *s, const char *text, size_t length) {
    char *copy = s->copy + s->used;
    if (length > sizeof s->copy - s->used) {
        s->fault = "has fields of more than 1,048,576 bytes";
        return;
    }
    if (length > 0)
        memcpy(copy, text, length);
    s->used += length;
    add_field(s, copy, length);
}

/* ---- commas ---- */

static void on_field(void *text, size_t length, void *self) {
    add_copy(self, text, length);
}

static void on_row(int end, void *self) {
    (void)end;
    (void)self;
}

static void split_commas(Splitter *s, const Line *line) {
    bool is_whole = csv_parse(&s->parser, line->text, line->length, on_field, on_row, s) == line->length;
    if (is_whole && csv_fini(&s->parser, on_field, on_row, s) == 0)
        return;
    csv_free(&s->parser); /* an error leaves libcsv in the middle of a field */
    start_parser(s);
    s->fault = "has quotes that do not match";
}

/* ---- tabs ---- */

static void split_tabs(Splitter *s, const Line *line) {
    const char *at = line->text, *end = line->text + line->length;
    while (line->length > 0) {
        const char *tab = memchr(at, '\t', (size_t)(end - at));
        add_field(s, at, (size_t)((tab ? tab : end) - at));
        if (!tab || s->fault)
            break;
        at = tab + 1;
    }
}

/* ---- JSON ---- */

/* A string as it is, a number as text: some publish ids as numbers. */
static void add_value(Splitter *s, const json_t *value) {
    char number[32];
    if (json_is_string(value))
        add_copy(s, json_string_value(value), json_string_length(value));
    else if (json_is_integer(value))
        add_copy(s, number,
                 (size_t)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT, json_integer_value(value)));
    else if (json_is_real(value))
        add_copy(s, number, (size_t)snprintf(number, sizeof number, "%.17g", json_real_value(value)));
    else
        s->fault = "lacks the user, the item or the time";
}

static void split_json(Splitter *s, const Line *line) {
    json_t *object = json_loadb(line->text, line->length, 0, NULL);
    if (!json_is_object(object))
        s->fault = "is no JSON object";
    for (int k = 0; k < FIELDS_KEYS && !s->fault; k++)
        add_value(s, json_object_get(object, s->keys[k]));
    json_decref(object);
}

bool splitter_json_keys(Splitter *s, const Line *line, Fields *out) {
    json_t *object = json_loadb(line->text, line->length, 0, NULL), *value;
    const char *key;
    s->fields.n = 0;
    s->used = 0;
    s->fault = json_is_object(object) ? NULL : "is no JSON object";
    json_object_foreach(object, key, value) add_copy(s, key, strlen(key));
    json_decref(object);
    *out = s->fields;
    return !s->fault;
}

/* ---- */

const char *splitter_split(Splitter *s, const Line *line, Fields *out) {
    static void (*const SPLIT[])(Splitter *, const Line *) = {
        [FIELDS_COMMAS] = split_commas, [FIELDS_TABS] = split_tabs, [FIELDS_JSON] = split_json};
    s->fields.n = 0;
    s->used = 0;
    s->fault = NULL;
    SPLIT[s->kind](s, line);
    *out = s->fields;
    return s->fault;
}

bool field_is(const Field *field, const char *word) {
    return field->length == strlen(word) && !memcmp(field->text, word, field->length);
}
