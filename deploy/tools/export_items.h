/* A choice of rows: a text file with one name a line, as name_text.h spells them; empty lines are skipped, and a
 * carriage return at the end of a line is not part of the name. */
#ifndef MANGROVE_DEPLOY_TOOLS_EXPORT_ITEMS_H
#define MANGROVE_DEPLOY_TOOLS_EXPORT_ITEMS_H

#include <stdint.h>

#include "common/err.h"
#include "common/schema.h"
#include "deploy/tools/row_names.h"

typedef struct ExportItems {
    uint64_t *ids; /* (n) rows of the table, in the file's order */
    size_t n, capacity;
} ExportItems;

/* ERR_DATA names the line of a name that the table's rows cannot have, or that came before. ERR_IO. */
Err export_items_read(ExportItems *out, const char *path, RowNames *names, const Schema *schema, int table) MUST_CHECK;
void export_items_free(ExportItems *items); /* of a zeroed struct is legal */

#endif
