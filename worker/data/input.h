/* Text files, plain or gzip, in constant memory: read line by line, written piece by piece. */
#ifndef MANGROVE_WORKER_DATA_INPUT_H
#define MANGROVE_WORKER_DATA_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum {
    INPUT_MAX_LINE = 1024 * 1024
}; /* bytes (a review with its pictures as JSON); what is longer is skipped and
      reported as too long */

typedef struct Input Input;

typedef struct Line {
    const char *text; /* without its end, may hold any byte; valid until the next line is read */
    size_t length;
    uint64_t number; /* from 1 */
    bool is_too_long;
} Line;

/* ERR_DATA if path is no file that can be read. */
Err input_open(Input **out, const char *path) MUST_CHECK;
void input_close(Input **in);

/* *has_line = false at the end. ERR_DATA where the file is damaged: a truncated or corrupt gzip. */
Err input_read_line(Input *in, Line *line, bool *has_line) MUST_CHECK;

uint64_t input_bytes(const Input *in); /* decompressed, so far */
uint64_t input_hash(const Input *in);  /* XXH3 of them, so a file and its gzip hash alike */

/* ---- writing ---- */

typedef struct Output Output;

/* Gzip if the path ends in .gz. ERR_IO. */
Err output_open(Output **out, const char *path) MUST_CHECK;
/* A failure is kept and told by output_close. */
void output_write(Output *out, const char *text, size_t length);
/* ERR_IO if anything could not be written. */
Err output_close(Output **out) MUST_CHECK;

#endif
