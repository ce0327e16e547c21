/* A line's fields: comma-separated with quotes (libcsv), tab-separated where quotes are data, or of a JSON object. */
#ifndef MANGROVE_WORKER_DATA_FIELDS_H
#define MANGROVE_WORKER_DATA_FIELDS_H

#include <stdbool.h>

#include "worker/data/input.h"

enum { FIELDS_MAX = 64, FIELDS_KEYS = 3 };

typedef enum FieldsKind {
    FIELDS_COMMAS,
    FIELDS_TABS,
    FIELDS_JSON, /* the fields are the values of FIELDS_KEYS keys, in that order */
} FieldsKind;

typedef struct Field {
    const char *text; /* not terminated */
    size_t length;
} Field;

typedef struct Fields {
    int n;
    Field at[FIELDS_MAX];
} Fields;

typedef struct Splitter Splitter;

/* keys (FIELDS_KEYS), of FIELDS_JSON alone, must live as long as the splitter. */
Splitter *splitter_open(FieldsKind kind, const char *const *keys);
void splitter_close(Splitter **s);

/* NULL, or what is wrong with the line ("has quotes that do not match"). Fields are valid until the next call, or, of
 * tabs, until the next line. An empty line has no fields. */
const char *splitter_split(Splitter *s, const Line *line, Fields *out);

/* Names of a JSON object's members, valid until the next call of either; false where the line is none. */
bool splitter_json_keys(Splitter *s, const Line *line, Fields *out);

bool field_is(const Field *field, const char *word);

#endif
