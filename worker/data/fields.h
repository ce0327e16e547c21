/* A line's fields: comma-separated with quotes (libcsv), or tab-separated where quotes are data. */
#ifndef MANGROVE_WORKER_DATA_FIELDS_H
#define MANGROVE_WORKER_DATA_FIELDS_H

#include <stdbool.h>

#include "worker/data/input.h"

enum { FIELDS_MAX = 64 };

typedef struct Field {
    const char *text; /* not terminated */
    size_t length;
} Field;

typedef struct Fields {
    int n;
    Field at[FIELDS_MAX];
} Fields;

typedef struct Splitter Splitter;

Splitter *splitter_open(bool is_csv);
void splitter_close(Splitter **s);

/* Valid until the next call, or, of tabs, until the next line. False: quotes that do not match, or too many fields.
 * An empty line has no fields. */
bool splitter_split(Splitter *s, const Line *line, Fields *out);

bool field_is(const Field *field, const char *word);

#endif
