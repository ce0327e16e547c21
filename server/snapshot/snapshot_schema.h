/* The schema of a snapshot, rebuilt from the tensors in its manifest: tools need neither the model nor the data set. */
#ifndef MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_SCHEMA_H
#define MANGROVE_SERVER_SNAPSHOT_SNAPSHOT_SCHEMA_H

#include "common/err.h"
#include "common/schema.h"
#include "server/snapshot/snapshot.h"

/* Tables, widths, numbers of rows and domains are the snapshot's; how values were drawn at the beginning is not in it:
 * schema_initial_row() of this schema means nothing. ERR_CORRUPT where the list is no schema. */
Err snapshot_schema(const Snapshot *s, Schema *out) MUST_CHECK;

/* The number of the table of this name. ERR_DATA with the names that there are. */
Err snapshot_schema_table(const Snapshot *s, const Schema *schema, const char *name, int *table) MUST_CHECK;

#endif
