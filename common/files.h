/* Small things with files and clocks that every layer needs. */
#ifndef MANGROVE_COMMON_FILES_H
#define MANGROVE_COMMON_FILES_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* mkdir -p; the names of those it makes are on the disk. ERR_IO with the part that failed. */
Err make_directories(const char *path) MUST_CHECK;

/* Whole file into memory, 0-terminated; caller frees. ERR_IO; ERR_DATA if it is larger than max_bytes. */
Err read_file(const char *path, size_t max_bytes, char **data, size_t *size) MUST_CHECK;

/* Temp file beside it, write, fsync, rename, fsync of the directory: afterwards the file is whole or the old one. A
 * failure removes the temp file. ERR_IO. */
Err write_file_durably(const char *path, const void *data, size_t size) MUST_CHECK;

/* fsync of the directory that holds path. */
Err sync_directory_of(const char *path) MUST_CHECK;

uint64_t clock_now_ms(void); /* monotonic */

#endif
