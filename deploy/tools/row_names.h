/* What people call the rows of a snapshot: items and users by the names of their data set. */
#ifndef MANGROVE_DEPLOY_TOOLS_ROW_NAMES_H
#define MANGROVE_DEPLOY_TOOLS_ROW_NAMES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/err.h"
#include "common/schema.h"
#include "server/snapshot/snapshot.h"

typedef struct RowNames RowNames;

/* data_dir NULL: the data set that the snapshot's configuration names. It is the training's, or one with the same ids
 * (prepare --base). ERR_DATA. */
Err row_names_open(RowNames **out, const Snapshot *s, const char *data_dir) MUST_CHECK;
void row_names_close(RowNames **n);

/* The name; NULL where the rows of the table have none, or names is NULL, or the id is beyond the data set's. */
const char *row_names_get(const RowNames *names, const Schema *schema, int table, uint64_t row);
/* For people: the name as name_text.h spells it, or of a dense table the tensor and the row in it, as in head.A.W[3];
 * nothing where there is neither. before is printed in front of it. */
void row_names_print(FILE *out, const char *before, const RowNames *names, const Schema *schema, int table,
                     uint64_t row);
/* The row of this name. false: there is none. The first call for items or users indexes their names. */
bool row_names_find(RowNames *names, const Schema *schema, int table, const char *name, uint64_t *row);

#endif
