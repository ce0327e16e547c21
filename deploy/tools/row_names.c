#include "deploy/tools/row_names.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "deploy/tools/name_text.h"
#include "worker/data/dataset.h"
#include "worker/data/names.h"
#include "worker/data/vocab.h"

static const NameKind NO_NAMES = N_NAME_KINDS; /* of dense tables */

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
        return NAME_ITEM;
    return strncmp(tensor, "user.", 5) == 0 ? NAME_USER : NO_NAMES;
}

const char *row_names_get(const RowNames *names, const Schema *schema, int table, uint64_t row) {
    NameKind kind = kind_of(schema, table);
    if (!names || kind == NO_NAMES || row >= names_count(names->data, kind))
        return NULL;
    return names_get(names->data, kind, (uint32_t)row);
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
        for (uint32_t id = 1; id < names_count(names->data, kind);
             id++) { /* names are distinct: their ids come again */
            const char *known = names_get(names->data, kind, id);
            vocab_intern(&names->index[kind], known, strlen(known));
        }
    }
    *row = vocab_find(&names->index[kind], name, length);
    return *row != 0;
}
