/* Which snapshot a command reads where a person names a run. */
#ifndef MANGROVE_DEPLOY_SNAPSHOT_CHOICE_H
#define MANGROVE_DEPLOY_SNAPSHOT_CHOICE_H

#include "common/err.h"
#include "common/work.h"

enum { SNAPSHOT_CHOICE_PATH = 4096 };

/* The directory that each domain is read from. dir is a snapshot, which serves both, or a run's directory: then each
 * domain is read from the snapshot of its best validation epoch. ERR_IO if it is neither; ERR_CORRUPT. */
Err snapshot_choose(const char *dir, char chosen[N_DOMAINS][SNAPSHOT_CHOICE_PATH]) MUST_CHECK;

/* One directory for both: dir itself where it is a snapshot, else the newest committed snapshot of the run: of the
 * highest epoch, that of its end after those within it. ERR_IO if there is none. */
Err snapshot_choose_newest(const char *dir, char chosen[SNAPSHOT_CHOICE_PATH]) MUST_CHECK;

#endif
