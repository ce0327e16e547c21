#include "deploy/export_items.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/files.h"
#include "common/log.h"
#include "deploy/name_text.h"
#include "worker/data/vocab.h"

enum { MAX_FILE_BYTES = 1 << 30, SHOWN_BYTES = 100 };

/* Numbers the file's names from 1, so that memory follows the file and not the data set. */
typedef struct NameList {
    Vocab names;
    uint32_t *lines; /* (capacity) by number; [0] unused */
    uint32_t capacity;
} NameList;

static Err add_name(NameList *list, const char *path, uint32_t line, char *text, size_t length) {
    uint32_t before = list->names.n;
    length = name_text_read(text, length);
    uint32_t number = vocab_intern(&list->names, text, length);
    if (list->names.n == before)
        return err_fail(ERR_DATA, "%s, line %" PRIu32 ": \"%.*s\" was in line %" PRIu32 " already", path, line,
                        length < SHOWN_BYTES ? (int)length : SHOWN_BYTES, text, list->lines[number]);
    if (number >= list->capacity) {
        list->capacity = 2 * number + 64;
        list->lines = must_realloc(list->lines, list->capacity * sizeof *list->lines);
    }
    list->lines[number] = line;
    return OK;
}

static Err add_lines(NameList *list, const char *path, char *text, size_t size) {
    Err err = OK;
    uint32_t line = 0;
    for (char *end, *stop = text + size; text < stop && !err; text = end + 1) {
        end = memchr(text, '\n', (size_t)(stop - text));
        if (!end)
            end = stop;
        size_t length = (size_t)(end - text);
        length -= length > 0 && text[length - 1] == '\r';
        line++;
        if (length > 0)
            err = add_name(list, path, line, text, length);
    }
    return err;
}

/* One pass over the data set's names finds them all. */
static Err find_ids(ExportItems *out, const NameList *list, const char *path, const Dataset *data,
                    const char *data_dir) {
    out->n = list->names.n - 1;
    out->ids = must_calloc(out->n + (size_t)1, sizeof *out->ids);
    for (uint32_t id = 1; id < dataset_info(data)->n_items; id++) {
        const char *name = dataset_item_name(data, id);
        uint32_t number = vocab_find(&list->names, name, strlen(name));
        if (number)
            out->ids[number - 1] = id;
    }
    for (uint32_t i = 0; i < out->n; i++)
        if (!out->ids[i])
            return err_fail(ERR_DATA, "%s, line %" PRIu32 ": \"%.*s\" is no item of the data set in %s", path,
                            list->lines[i + 1], SHOWN_BYTES, vocab_name(&list->names, i + 1), data_dir);
    return OK;
}

Err export_items_read(ExportItems *out, const char *path, const Dataset *data, const char *data_dir) {
    NameList list = {0};
    char *text;
    size_t size;
    *out = (ExportItems){0};
    Err err = read_file(path, MAX_FILE_BYTES, &text, &size);
    if (err)
        return err;
    vocab_init(&list.names);
    err = add_lines(&list, path, text, size);
    if (!err)
        err = find_ids(out, &list, path, data, data_dir);
    if (err)
        export_items_free(out);
    vocab_free(&list.names);
    free(list.lines);
    free(text);
    return err;
}

void export_items_free(ExportItems *items) {
    free(items->ids);
    *items = (ExportItems){0};
}
