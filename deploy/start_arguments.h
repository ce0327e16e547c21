/* Where a run begins: CONFIG and --set, --resume, --init. Shared by the commands that start one. */
#ifndef MANGROVE_DEPLOY_START_ARGUMENTS_H
#define MANGROVE_DEPLOY_START_ARGUMENTS_H

#include <argp.h>

#include "common/config.h"
#include "common/err.h"
#include "deploy/config_arguments.h"
#include "server/snapshot/snapshot_start.h"

typedef struct StartArguments {
    ConfigArguments config;
    const char *resume, *init; /* NULL: not given */
} StartArguments;

/* An argp child like CONFIG_ARGP; its input is a StartArguments. */
extern const struct argp START_ARGP;
extern const struct argp_child START_CHILDREN[]; /* START_ARGP alone */

/* The configuration, and the verified snapshot where there is one (start->snapshot is NULL where not; the caller closes
 * start). A resumed run has the snapshot's configuration under --set, and goes on in its own directory. ERR_CONFIG
 * where
 * --set changes what a resumed run must keep. */
Err start_arguments_load(const StartArguments *a, Config *config, SnapshotStart *start) MUST_CHECK;

#endif
