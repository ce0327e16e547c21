/* The names of a data set's users or items, found by their text. */
#ifndef MANGROVE_WORKER_DATA_NAMES_H
#define MANGROVE_WORKER_DATA_NAMES_H

#include "common/err.h"
#include "worker/data/dataset.h"
#include "worker/data/vocab.h"

typedef enum NameKind { NAME_USER, NAME_ITEM, N_NAME_KINDS } NameKind;

/* A vocabulary with the data set's ids. ERR_DATA where a name has two ids or an id no name; there is something to
 * vocab_free() then too. */
Err names_read(Vocab *out, const Dataset *data, NameKind kind) MUST_CHECK;

/* The name that was most likely meant, or NULL. */
const char *names_nearest(const Vocab *names, const char *text);

#endif
