/* The one seam between the server's side and the model's: both get the schema from here. */
#ifndef MANGROVE_DEPLOY_DERIVE_H
#define MANGROVE_DEPLOY_DERIVE_H

#include "common/config.h"
#include "common/datainfo.h"
#include "common/err.h"
#include "common/schema.h"

/* The schema of the configured model over this data set. ctx is not used. ERR_CONFIG. */
Err derive_schema(void *ctx, const Config *config, const DataInfo *data, Schema *out) MUST_CHECK;

#endif
