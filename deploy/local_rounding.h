/* Values and gradients as they would be behind the wire: around the local client where train.wire is not fp32, so that
 * `train --local` ends in the bits of a cluster. */
#ifndef MANGROVE_DEPLOY_LOCAL_ROUNDING_H
#define MANGROVE_DEPLOY_LOCAL_ROUNDING_H

#include <stddef.h>

#include "common/schema.h"
#include "proto/wire.h"
#include "worker/client.h"

typedef struct LocalRounding {
    ParameterClient inner;
    const Schema *schema;
    Wire wire;
    real *grads; /* of a push, rounded */
    size_t max_grads;
} LocalRounding;

/* Borrows the rounding, which must outlive the client, and what inner and schema name. */
ParameterClient local_rounding_init(LocalRounding *r, ParameterClient inner, const Schema *schema, Wire wire);
void local_rounding_free(LocalRounding *r);

#endif
