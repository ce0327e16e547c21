/* Which snapshot a command reads where a person names a run. */
#ifndef MANGROVE_DEPLOY_TOOLS_SNAPSHOT_CHOICE_H
#define MANGROVE_DEPLOY_TOOLS_SNAPSHOT_CHOICE_H

#include "common/err.h"
#include "common/work.h"

enum { SNAPSHOT_CHOICE_PATH = 4096 };

/* The directory that a domain is read from. dir is a snapshot, which serves both domains, or a run's directory: then
 * the snapshot of the domain's best validation epoch, as the newest evaluation tells it. ERR_IO if it is neither, or
 * that snapshot is not there; ERR_CORRUPT. */
Err snapshot_choose_best(const char *dir, int domain, char chosen[SNAPSHOT_CHOICE_PATH]) MUST_CHECK;

/* One directory for both: dir itself where it is a snapshot, else the newest committed snapshot of the run: of the
 * highest epoch, that of its end after those within it. ERR_IO if there is none. */
Err snapshot_choose_newest(const char *dir, char chosen[SNAPSHOT_CHOICE_PATH]) MUST_CHECK;

#endif
