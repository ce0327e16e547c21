/* A directory that is written beside its place and renamed into it: there it is whole or as before. Beside means
 * PATH.mangrove-tmp.PID; who finds one whose process has died removes it. The directory that stood at the place steps
 * aside to PATH.old.PID first. */
#ifndef MANGROVE_COMMON_NEW_DIRECTORY_H
#define MANGROVE_COMMON_NEW_DIRECTORY_H

#include "common/err.h"

enum { NEW_DIRECTORY_PATH = 4096, NEW_DIRECTORY_MAX = NEW_DIRECTORY_PATH - 256 }; /* bytes; of the place's path */

typedef struct NewDirectory {
    char path[NEW_DIRECTORY_PATH]; /* the place, without a / at its end */
    char temp[NEW_DIRECTORY_PATH]; /* where to write; "": nothing to undo */
} NewDirectory;

/* Sets the path. ERR_USAGE where it is empty or too long; there is nothing to end then. */
Err new_directory_name(NewDirectory *d, const char *path) MUST_CHECK;
/* Makes temp, and the place's parent where it is missing; removes what dead processes left. ERR_IO. */
Err new_directory_make(NewDirectory *d) MUST_CHECK;
/* temp, whose files are synced, takes the place; remove_old(directory) what stood there. On ERR_IO it stands there
 * still, or a warning says where. */
Err new_directory_commit(NewDirectory *d, void (*remove_old)(const char *directory)) MUST_CHECK;
/* Removes temp unless it was committed. Of a zeroed struct is legal. */
void new_directory_end(NewDirectory *d);

/* With the files in it; one that holds directories stays. */
void directory_remove(const char *directory);

#endif
