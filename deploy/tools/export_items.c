#include "deploy/tools/export_items.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/files.h"
#include "common/log.h"
#include "deploy/tools/name_text.h"

enum { MAX_FILE_BYTES = 1 << 30 };

/* A file being read. */
typedef struct ItemFile {
    const char *path;
    RowNames *names;
    const Schema *schema;
    int table;
    uint32_t *lines; /* (items->capacity) where each id stands */
    ExportItems *items;
} ItemFile;

/* name: 0-terminated, with a byte to spare. */
static Err add_name(ItemFile *f, uint32_t line, char *name, size_t length) {
    ExportItems *items = f->items;
    uint64_t id;
    char shown[NAME_SHOWN];
    if (!name_text_read(name, length))
        return err_fail(ERR_DATA, "%s, line %" PRIu32 ": it holds a byte 0, as no name does", f->path, line);
    if (!row_names_find(f->names, f->schema, f->table, name, &id)) {
        name_text_shown(name, shown);
        return err_fail(ERR_DATA, "%s, line %" PRIu32 ": the data set has no item \"%s\"", f->path, line, shown);
    }
    if (items->n == items->capacity) {
        items->capacity = 2 * items->capacity + 64;
        items->ids = must_realloc(items->ids, items->capacity * sizeof *items->ids);
        f->lines = must_realloc(f->lines, items->capacity * sizeof *f->lines);
    }
    f->lines[items->n] = line;
    items->ids[items->n++] = id;
    return OK;
}

static Err add_lines(ItemFile *f, char *text, size_t size) {
    Err err = OK;
    uint32_t line = 0;
    for (char *end, *stop = text + size; text < stop && !err; text = end + 1) {
        end = memchr(text, '\n', (size_t)(stop - text));
        if (!end)
            end = stop; /* the byte there is 0 */
        size_t length = (size_t)(end - text);
        length -= length > 0 && text[length - 1] == '\r';
        text[length] = 0;
        line++;
        if (length > 0)
            err = add_name(f, line, text, length);
    }
    return err;
}

typedef struct PlacedId {
    uint64_t id;
    uint32_t line;
} PlacedId;

static int by_id_and_line(const void *a, const void *b) {
    const PlacedId *x = a, *y = b;
    return x->id != y->id ? (x->id > y->id) - (x->id < y->id) : (x->line > y->line) - (x->line < y->line);
}

static Err check_distinct(const ItemFile *f) {
    size_t n = f->items->n;
    PlacedId *sorted = must_alloc((n + 1) * sizeof *sorted);
    for (size_t i = 0; i < n; i++)
        sorted[i] = (PlacedId){f->items->ids[i], f->lines[i]};
    qsort(sorted, n, sizeof *sorted, by_id_and_line);
    Err err = OK;
    for (size_t i = 1; i < n && !err; i++)
        if (sorted[i].id == sorted[i - 1].id)
            err = err_fail(ERR_DATA, "%s, line %" PRIu32 ": the item was in line %" PRIu32 " already", f->path,
                           sorted[i].line, sorted[i - 1].line);
    free(sorted);
    return err;
}

Err export_items_read(ExportItems *out, const char *path, RowNames *names, const Schema *schema, int table) {
    ItemFile f = {.path = path, .names = names, .schema = schema, .table = table, .items = out};
    char *text;
    size_t size;
    *out = (ExportItems){0};
    Err err = read_file(path, MAX_FILE_BYTES, &text, &size);
    if (err)
        return err;
    err = add_lines(&f, text, size);
    if (!err)
        err = check_distinct(&f);
    if (err)
        export_items_free(out);
    free(f.lines);
    free(text);
    return err;
}

void export_items_free(ExportItems *items) {
    free(items->ids);
    *items = (ExportItems){0};
}
