/* The names of a data set's users or items, found by their text. */
#ifndef MANGROVE_WORKER_DATA_NAMES_H
#define MANGROVE_WORKER_DATA_NAMES_H

#include "common/err.h"
#include "worker/data/dataset.h"
#include "worker/data/vocab.h"

typedef enum NameKind { NAME_USER, NAME_ITEM, N_NAME_KINDS } NameKind;

/* Ids of the kind are smaller. */
uint32_t names_count(const Dataset *data, NameKind kind);
/* id < names_count; "" for 0. */
const char *names_get(const Dataset *data, NameKind kind, uint32_t id);

/* A vocabulary with the data set's ids. ERR_DATA where a name has two ids or an id no name; there is something to
 * vocab_free() then too. */
Err names_read(Vocab *out, const Dataset *data, NameKind kind) MUST_CHECK;

/* The name that was most likely meant, or NULL. */
const char *names_nearest(const Vocab *names, const char *text);

#endif
