/* The place of an export, which may hold an earlier one. */
#ifndef MANGROVE_DEPLOY_TOOLS_EXPORT_DIR_H
#define MANGROVE_DEPLOY_TOOLS_EXPORT_DIR_H

#include "common/new_directory.h"

/* ERR_USAGE if path holds anything but an export alone. ERR_IO. */
Err export_dir_begin(NewDirectory *d, const char *path) MUST_CHECK;

#endif
