#include "deploy/row_names.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "deploy/name_text.h"
#include "worker/data/dataset.h"
#include "worker/data/vocab.h"

/* The two id spaces of a data set. */
typedef enum NameKind { NAMES_OF_ITEMS, NAMES_OF_USERS, N_NAME_KINDS, NO_NAMES = N_NAME_KINDS } NameKind;

struct RowNames {
    Dataset *data;
    Vocab index[N_NAME_KINDS];
    bool is_indexed[N_NAME_KINDS];
};

static Err check_ids(const RowNames *n, const Snapshot *s, const char *dir) {
    const DataInfo *ours = dataset_info(n->data), *trained = snapshot_data(s);
    if (datainfo_descends_from(ours, trained->fingerprint) || datainfo_descends_from(trained, ours->fingerprint))
        return OK;
    return err_fail(ERR_DATA,
                    "the data set in %s has fingerprint %016" PRIx64 "; the snapshot was trained on %016" PRIx64
                    ", whose ids differ",
                    dir, ours->fingerprint, trained->fingerprint);
}

Err row_names_open(RowNames **out, const Snapshot *s, const char *data_dir) {
    const char *dir = data_dir ? data_dir : snapshot_config(s)->data_dir;
    *out = must_calloc(1, sizeof **out);
    Err e = dataset_open(&(*out)->data, dir);
    if (e == OK)
        e = check_ids(*out, s, dir);
    else if (!data_dir)
        e = err_wrap(e, "the snapshot's own data set is needed for names, or another place of it, --data DIR");
    if (e != OK)
        row_names_close(out);
    return e;
}

void row_names_close(RowNames **n) {
    if (!*n)
        return;
    for (int kind = 0; kind < N_NAME_KINDS; kind++)
        if ((*n)->is_indexed[kind])
            vocab_free(&(*n)->index[kind]);
    dataset_close(&(*n)->data);
    free(*n);
    *n = NULL;
}

/* A sparse tensor is named after what its rows are: "item.A", "user.bias". */
static NameKind kind_of(const Schema *schema, int table) {
    const Table *t = &schema->tables[table];
    if (!t->is_sparse)
        return NO_NAMES;
    const char *tensor = schema->tensors[t->first_tensor].name;
    if (strncmp(tensor, "item.", 5) == 0)
        return NAMES_OF_ITEMS;
    return strncmp(tensor, "user.", 5) == 0 ? NAMES_OF_USERS : NO_NAMES;
}

static uint32_t count_of(const RowNames *n, NameKind kind) {
    const DataInfo *info = dataset_info(n->data);
    return kind == NAMES_OF_ITEMS ? info->n_items : info->n_users;
}

static const char *name_at(const RowNames *n, NameKind kind, uint32_t id) {
    return kind == NAMES_OF_ITEMS ? dataset_item_name(n->data, id) : dataset_user_name(n->data, id);
}

const char *row_names_get(const RowNames *names, const Schema *schema, int table, uint64_t row) {
    NameKind kind = kind_of(schema, table);
    if (!names || kind == NO_NAMES || row >= count_of(names, kind))
        return NULL;
    return name_at(names, kind, (uint32_t)row);
}

void row_names_print(FILE *out, const char *before, const RowNames *names, const Schema *schema, int table,
                     uint64_t row) {
    const char *name = row_names_get(names, schema, table, row);
    if (!schema->tables[table].is_sparse) {
        const Tensor *t = schema_tensor_of(schema, table, row);
        fprintf(out, "%s%s[%" PRIu64 "]", before, t->name, row - t->first_row);
    } else if (name) {
        fputs(before, out);
        name_text_write(out, name, NAME_LINE);
    }
}

bool row_names_find(RowNames *names, const Schema *schema, int table, const char *name, uint64_t *row) {
    NameKind kind = kind_of(schema, table);
    size_t length = strlen(name);
    if (kind == NO_NAMES || length == 0)
        return false;
    if (!names->is_indexed[kind]) {
        vocab_init(&names->index[kind]);
        names->is_indexed[kind] = true;
        for (uint32_t id = 1, n = count_of(names, kind); id < n; id++) /* names are distinct: their ids come again */
            vocab_intern(&names->index[kind], name_at(names, kind, id), strlen(name_at(names, kind, id)));
    }
    *row = vocab_find(&names->index[kind], name, length);
    return *row != 0;
}
