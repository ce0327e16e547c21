/* Errors: one list gives every code its value, its name, its exit code and its text.
 *
 * A function that can meet a misbehaving world returns Err. The place that finds the fault calls err_fail() with the
 * one sentence a person needs (file, line, what was found, what was expected); the place that handles it prints
 * err_message(). The sentence belongs to the calling thread, like errno, and stays until the next err_fail(). */
#ifndef MANGROVE_COMMON_ERR_H
#define MANGROVE_COMMON_ERR_H

#include <stdint.h>

#define ERR_CODES(X)                                                                                                   \
    X(OK, 0, 0, "ok")                                                                                                  \
    X(ERR_FAILED, -1, 1, "failed")                                                                                     \
    X(ERR_MEMORY, -2, 1, "out of memory")                                                                              \
    X(ERR_IO, -3, 1, "input or output failed")                                                                         \
    X(ERR_USAGE, -4, 2, "usage error")                                                                                 \
    X(ERR_CONFIG, -5, 3, "bad configuration")                                                                          \
    X(ERR_DATA, -6, 3, "bad data")                                                                                     \
    X(ERR_PEER, -7, 4, "a peer is gone or refused")                                                                    \
    X(ERR_PROTOCOL, -8, 4, "protocol violation")                                                                       \
    X(ERR_CORRUPT, -9, 5, "snapshot is corrupt")                                                                       \
    X(ERR_BUDGET, -10, 6, "restart budget spent")                                                                      \
    X(ERR_STOPPED, -11, 75, "stopped before the end")                                                                  \
    X(ERR_TIMEOUT, -12, 4, "deadline passed")                                                                          \
    X(ERR_RETRY, -13, 75, "not now, try again")                                                                        \
    X(ERR_STALE, -14, 75, "the cluster view has changed")                                                              \
    X(ERR_FULL, -15, 1, "no room")

typedef enum Err {
#define X(name, value, exit_code, text) name = (value),
    ERR_CODES(X)
#undef X
} Err;

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

const char *err_name(Err code);      /* "ERR_DATA" */
const char *err_text(Err code);      /* "bad data" */
int err_exit_code(Err code);         /* 0 1 2 3 4 5 6 75, as documented in the README */
/* The code that a peer has sent negated; ERR_FAILED where there is none of this number. */
Err err_received(uint64_t negated);

/* Keeps the sentence for this thread and returns code, so that `return err_fail(ERR_DATA, ...)` reads as one step. */
Err err_fail(Err code, const char *format, ...) PRINTF_LIKE(2, 3);

/* Puts "prefix: " before the kept sentence; returns code. For callers that know the file or the role. */
Err err_wrap(Err code, const char *format, ...) PRINTF_LIKE(2, 3);

/* The kept sentence; err_text-like "" if there was none. Valid until this thread's next err_fail or err_wrap. */
const char *err_message(void);

#endif
