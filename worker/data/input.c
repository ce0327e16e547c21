/* Plain and gzip files. zlib's gz layer reads and writes both; what it hides is asked for: a truncated file shows only
 * as an error beside the end of file. */
#include "worker/data/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zlib.h>

#include "common/log.h"

enum { GZIP_BYTES = 256 * 1024, BUFFER_BYTES = 2 * INPUT_MAX_LINE };

struct Input {
    char *path;
    gzFile file;
    XXH3_state_t *hash;
    uint64_t n_bytes, n_lines;
    size_t start, end; /* unread part of the buffer */
    bool is_at_end;
    char buffer[BUFFER_BYTES];
};

static Err open_regular(const char *path, int *fd) {
    struct stat info;
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        return err_fail(ERR_DATA, "cannot open %s: %s", path, strerror(errno));
    if (!fstat(*fd, &info) && S_ISREG(info.st_mode))
        return OK;
    close(*fd);
    return err_fail(ERR_DATA, "%s is not a regular file", path);
}

Err input_open(Input **out, const char *path) {
    *out = NULL;
    int fd;
    Err err = open_regular(path, &fd);
    if (err)
        return err;
    gzFile file = gzdopen(fd, "rb");
    if (!file)
        log_die(ERR_MEMORY, "cannot allocate the decompressor for %s", path);
    gzbuffer(file, GZIP_BYTES);
    Input *in = must_alloc(sizeof *in);
    memset(in, 0, offsetof(Input, buffer));
    in->path = must_strdup(path);
    in->file = file;
    in->hash = XXH3_createState();
    if (!in->hash)
        log_die(ERR_MEMORY, "cannot allocate the checksum of %s", path);
    XXH3_64bits_reset(in->hash);
    *out = in;
    return OK;
}

void input_close(Input **in) {
    if (!*in)
        return;
    gzclose((*in)->file);
    XXH3_freeState((*in)->hash);
    free((*in)->path);
    free(*in);
    *in = NULL;
}

static Err read_failure(const Input *in, int code, const char *text) {
    if (code == Z_BUF_ERROR)
        return err_fail(ERR_DATA, "%s is truncated: its gzip stream has no end", in->path);
    if (code == Z_ERRNO)
        return err_fail(ERR_IO, "cannot read %s: %s", in->path, strerror(errno));
    const char *colon = strstr(text, ": "); /* behind zlib's name for the file */
    return err_fail(ERR_DATA, "%s is a damaged gzip file: %s", in->path, colon ? colon + 2 : text);
}

/* Moves what is unread to the front and fills the buffer behind it. */
static Err refill(Input *in) {
    memmove(in->buffer, in->buffer + in->start, in->end - in->start);
    in->end -= in->start;
    in->start = 0;
    int n = gzread(in->file, in->buffer + in->end, (unsigned)(BUFFER_BYTES - in->end));
    int code = Z_OK;
    const char *text = gzerror(in->file, &code);
    if (n < 0 || (n == 0 && code != Z_OK && code != Z_STREAM_END))
        return read_failure(in, code, text);
    XXH3_64bits_update(in->hash, in->buffer + in->end, (size_t)n);
    in->end += (size_t)n;
    in->n_bytes += (uint64_t)n;
    in->is_at_end = n == 0;
    return OK;
}

/* Finds the next line's end: *length without it, *taken with it; needs the rest of the line in the buffer. */
static bool find_end(const Input *in, size_t *length, size_t *taken) {
    size_t unread = in->end - in->start;
    const char *newline = memchr(in->buffer + in->start, '\n', unread);
    if (newline) {
        *length = (size_t)(newline - (in->buffer + in->start));
        *taken = *length + 1;
    } else if (in->is_at_end) {
        *length = *taken = unread;
    }
    return newline || in->is_at_end;
}

Err input_read_line(Input *in, Line *line, bool *has_line) {
    size_t length = 0, taken = 0;
    bool is_too_long = false;
    while (!find_end(in, &length, &taken)) {
        if (in->end - in->start > INPUT_MAX_LINE) {
            is_too_long = true;
            in->start = in->end;
        }
        Err err = refill(in);
        if (err)
            return err;
    }
    *has_line = taken > 0 || is_too_long;
    if (in->n_lines == 0 && length >= 3 && !memcmp(in->buffer + in->start, "\xef\xbb\xbf", 3)) {
        in->start += 3; /* a byte order mark is no part of the first field */
        length -= 3;
        taken -= 3;
    }
    const char *text = in->buffer + in->start;
    in->start += taken;
    in->n_lines += *has_line;
    if (length > 0 && text[length - 1] == '\r')
        length--;
    is_too_long = is_too_long || length > INPUT_MAX_LINE;
    *line = (Line){.text = text, .length = length, .number = in->n_lines, .is_too_long = is_too_long};
    return OK;
}

uint64_t input_bytes(const Input *in) {
    return in->n_bytes;
}

uint64_t input_hash(const Input *in) {
    return XXH3_64bits_digest(in->hash);
}

/* ---- writing ---- */

struct Output {
    char *path;
    gzFile file;
    bool has_failed;
    int code; /* errno of the first failure */
};

Err output_open(Output **out, const char *path) {
    size_t length = strlen(path);
    bool is_gzip = length > 3 && !strcmp(path + length - 3, ".gz");
    *out = NULL;
    gzFile file = gzopen(path, is_gzip ? "wbe" : "wbeT");
    if (!file)
        return err_fail(ERR_IO, "cannot write %s: %s", path, strerror(errno));
    gzbuffer(file, GZIP_BYTES);
    *out = must_alloc(sizeof **out);
    **out = (Output){.path = must_strdup(path), .file = file};
    return OK;
}

static void note_failure(Output *out, bool has_failed) {
    if (has_failed && !out->has_failed) {
        out->has_failed = true;
        out->code = errno;
    }
}

void output_write(Output *out, const char *text, size_t length) {
    errno = 0;
    note_failure(out, length > 0 && gzwrite(out->file, text, (unsigned)length) != (int)length);
}

Err output_close(Output **out) {
    Output *o = *out;
    Err err = OK;
    if (!o)
        return OK;
    errno = 0;
    note_failure(o, gzclose(o->file) != Z_OK);
    if (o->has_failed)
        err = err_fail(ERR_IO, "cannot write %s: %s", o->path, o->code ? strerror(o->code) : "compression failed");
    free(o->path);
    free(o);
    *out = NULL;
    return err;
}
