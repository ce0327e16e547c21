/* Messages for people: to stderr, and to the role's log file when one is open. Data never go here.
 *
 * A line is "2026-01-31T12:00:00.123Z info worker-1: text". On a terminal the time is left out. Thread-safe. */
#ifndef MANGROVE_COMMON_LOG_H
#define MANGROVE_COMMON_LOG_H

#include "common/err.h"

#include <stddef.h>

typedef enum LogLevel { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } LogLevel;

/* Names this process ("scheduler", "server-0", "worker-1") in its lines and sets the lowest level that is shown.
 * path NULL: stderr alone. ERR_IO if the file cannot be opened for appending. */
Err log_open(const char *role, LogLevel level, const char *path) MUST_CHECK;

/* Changes the name once it is known (a role learns its rank from the scheduler). */
void log_name(const char *role);

void log_write(LogLevel level, const char *format, ...) PRINTF_LIKE(2, 3);

#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)

/* For a process that cannot be useful: writes the sentence as an error and exits with the code's exit code. */
_Noreturn void log_die(Err code, const char *format, ...) PRINTF_LIKE(2, 3);

/* malloc family that never returns NULL: a process without memory dies with one sentence. */
void *must_alloc(size_t bytes);
void *must_calloc(size_t count, size_t bytes);
void *must_realloc(void *p, size_t bytes);
char *must_strdup(const char *s);

#endif
