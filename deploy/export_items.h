/* A choice of items: a text file with one name a line, as name_text.h spells them; empty lines are skipped, and a
 * carriage return at the end of a line is not part of the name. */
#ifndef MANGROVE_DEPLOY_EXPORT_ITEMS_H
#define MANGROVE_DEPLOY_EXPORT_ITEMS_H

#include <stdint.h>

#include "common/err.h"
#include "worker/data/dataset.h"

typedef struct ExportItems {
    uint32_t *ids; /* (n) in the file's order */
    uint32_t n;
} ExportItems;

/* ERR_DATA names the line of a name that the data set in data_dir does not have, or that came before. ERR_IO. */
Err export_items_read(ExportItems *out, const char *path, const Dataset *data, const char *data_dir) MUST_CHECK;
void export_items_free(ExportItems *items); /* of a zeroed struct is legal */

#endif
