/* Messages for people, and the allocations that may not fail. */
#include "common/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    char role[32];
    LogLevel level;
    FILE *file;
} logger = {.lock = PTHREAD_MUTEX_INITIALIZER, .role = "mangrove", .level = LOG_INFO};

static const char *const LEVEL_NAMES[] = {"debug", "info", "warn", "error"};

static void stamp(char *out, size_t size) {
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + n, size - n, ".%03dZ", (int)(now.tv_nsec / 1000000));
}

static void write_line(LogLevel level, const char *format, va_list args) {
    char when[48], text[2048];
    vsnprintf(text, sizeof text, format, args);
    stamp(when, sizeof when);
    pthread_mutex_lock(&logger.lock);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "%s: %s: %s\n", logger.role, LEVEL_NAMES[level], text);
    else
        fprintf(stderr, "%s %s %s: %s\n", when, LEVEL_NAMES[level], logger.role, text);
    if (logger.file) {
        fprintf(logger.file, "%s %s %s: %s\n", when, LEVEL_NAMES[level], logger.role, text);
        fflush(logger.file);
    }
    pthread_mutex_unlock(&logger.lock);
}

Err log_open(const char *role, LogLevel level, const char *path) {
    log_name(role);
    logger.level = level;
    if (!path)
        return OK;
    FILE *file = fopen(path, "ae");
    if (!file)
        return err_fail(ERR_IO, "cannot open the log file %s: %m", path);
    logger.file = file;
    return OK;
}

void log_name(const char *role) {
    pthread_mutex_lock(&logger.lock);
    snprintf(logger.role, sizeof logger.role, "%s", role);
    pthread_mutex_unlock(&logger.lock);
}

void log_write(LogLevel level, const char *format, ...) {
    if (level < logger.level)
        return;
    va_list args;
    va_start(args, format);
    write_line(level, format, args);
    va_end(args);
}

void log_die(Err code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    write_line(LOG_ERROR, format, args);
    va_end(args);
    exit(err_exit_code(code));
}

static void *checked(void *p, size_t bytes) {
    if (!p && bytes)
        log_die(ERR_MEMORY, "cannot allocate %zu bytes: give the machine more memory or the job a smaller share", bytes);
    return p;
}

void *must_alloc(size_t bytes) {
    return checked(malloc(bytes), bytes);
}

void *must_calloc(size_t count, size_t bytes) {
    return checked(calloc(count, bytes), count ? bytes : 0);
}

void *must_realloc(void *p, size_t bytes) {
    return checked(realloc(p, bytes), bytes);
}

char *must_strdup(const char *s) {
    return checked(strdup(s), 1);
}
