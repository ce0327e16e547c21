/* The directory of an export: written beside its place and renamed into it, so it is whole or as before. */
#ifndef MANGROVE_DEPLOY_EXPORT_DIR_H
#define MANGROVE_DEPLOY_EXPORT_DIR_H

#include <stdbool.h>

#include "common/err.h"

enum { EXPORT_DIR_PATH = 4096 };

typedef struct ExportDir {
    char path[EXPORT_DIR_PATH];
    char temp[EXPORT_DIR_PATH]; /* where to write; "": nothing to undo */
    bool is_replacing;          /* an earlier export stands at path */
} ExportDir;

/* Makes d->temp. ERR_USAGE if path holds anything but an export alone. ERR_IO. */
Err export_dir_begin(ExportDir *d, const char *path) MUST_CHECK;
/* d->temp, whose files are synced, takes the place; an earlier export goes. ERR_IO. */
Err export_dir_commit(ExportDir *d) MUST_CHECK;
/* Removes d->temp unless it was committed. Of a zeroed struct is legal. */
void export_dir_end(ExportDir *d);

#endif
