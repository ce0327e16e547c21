/* Errors: names, texts, exit codes, and the sentence of the last failure of this thread. */
#include "common/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ERR_MESSAGE_BYTES = 1024 };

static _Thread_local char last_message[ERR_MESSAGE_BYTES];

const char *err_name(Err code) {
    switch (code) {
#define X(name, value, exit_code, text)                                                                                \
    case name:                                                                                                         \
        return #name;
        ERR_CODES(X)
#undef X
    }
    return "ERR_UNKNOWN";
}

const char *err_text(Err code) {
    switch (code) {
#define X(name, value, exit_code, text)                                                                                \
    case name:                                                                                                         \
        return text;
        ERR_CODES(X)
#undef X
    }
    return "unknown error";
}

int err_exit_code(Err code) {
    switch (code) {
#define X(name, value, exit_code, text)                                                                                \
    case name:                                                                                                         \
        return exit_code;
        ERR_CODES(X)
#undef X
    }
    return 1;
}

Err err_received(uint64_t negated) {
    return negated <= (uint64_t)-ERR_FULL ? (Err) - (int)negated : ERR_FAILED;
}

Err err_fail(Err code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(last_message, sizeof last_message, format, args);
    va_end(args);
    return code;
}

Err err_wrap(Err code, const char *format, ...) {
    char prefix[ERR_MESSAGE_BYTES], inner[ERR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    memcpy(inner, last_message, sizeof inner);
    int used = snprintf(last_message, sizeof last_message, "%s: ", prefix);
    if (used > 0 && (size_t)used < sizeof last_message)
        snprintf(last_message + used, sizeof last_message - (size_t)used, "%s", inner);
    return code;
}

const char *err_message(void) {
    return last_message;
}
