/* What is said about options: what was found, what is allowed, which name was meant. */
#include "common/options_message.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/options.h"

/* ---- what is allowed, what was found ---- */

static void allowed_names(const Option *o, char *out, size_t size) {
    out[0] = 0;
    for (int i = 0; o->names[i]; i++) {
        size_t used = strlen(out);
        snprintf(out + used, size - used, "%s%s", i == 0 ? "" : o->names[i + 1] ? ", " : " or ", o->names[i]);
    }
}

static void allowed_real(const Option *o, char *out, size_t size) {
    static const char *const FORMATS[] = {
        [BOUNDS_CLOSED] = "a number from %g to %g",
        [BOUNDS_OPEN_LOW] = "a number above %g, at most %g",
        [BOUNDS_OPEN_HIGH] = "a number from %g to below %g",
    };
    snprintf(out, size, FORMATS[o->bounds], o->low, o->high);
}

static void allowed_string(const Option *o, char *out, size_t size) {
    static const char *const FORMATS[] = {
        [FORM_TEXT] = "1 to %zu printable bytes",
        [FORM_ENDPOINT] = "tcp://address:port in at most %zu bytes",
        [FORM_ADDRESS] = "tcp://address or tcp://address:port in at most %zu bytes, or \"\"",
    };
    snprintf(out, size, FORMATS[o->form], o->capacity - 1);
}

void option_allowed(const Option *o, char *out, size_t size) {
    switch (o->type) {
    case OPTION_BOOL:
        snprintf(out, size, "true or false");
        break;
    case OPTION_INT:
        snprintf(out, size, "an integer from %.0f to %.0f", o->low, o->high);
        break;
    case OPTION_U64:
        snprintf(out, size, "an integer from 0 to %lld", (long long)INT64_MAX);
        break;
    case OPTION_REAL:
        allowed_real(o, out, size);
        break;
    case OPTION_ENUM:
        allowed_names(o, out, size);
        break;
    case OPTION_STRING:
        allowed_string(o, out, size);
        break;
    case OPTION_INTS:
        snprintf(out, size, "a list of 1 to %zu integers from %.0f to %.0f, as in [20, 10]", o->capacity, o->low,
                 o->high);
        break;
    }
}

void origin_text(const Option *o, const Origin *where, char out[OPTION_WHERE]) {
    switch (where->kind) {
    case ORIGIN_UNSET:
        snprintf(out, OPTION_WHERE, "configuration");
        break;
    case ORIGIN_FILE:
        snprintf(out, OPTION_WHERE, "%.*s:%d", OPTION_WHERE - 16, where->source, where->line);
        break;
    case ORIGIN_VARIABLE:
        option_variable(o, out);
        break;
    case ORIGIN_SET:
        snprintf(out, OPTION_WHERE, "--set");
        break;
    }
}

/* Bytes of the character at p if it is well-formed UTF-8 that may stand in a YAML text as it is; 0 if it is not. */
int text_printable_bytes(const char *text) {
    const unsigned char *p = (const unsigned char *)text;
    uint32_t c = p[0];
    int n = c < 0x80 ? 1 : c < 0xC0 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF8 ? 4 : 0;
    static const uint32_t LEAST[] = {0, 0x20, 0xA0, 0x800, 0x10000}; /* shorter forms exist below, or controls */
    if (n > 1)
        c &= 0x7Fu >> n;
    for (int i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3F);
    }
    bool is_bad = c < LEAST[n] || c == 0x7F || c == 0x2028 || c == 0x2029 || c == 0xFEFF || c == 0xFFFE ||
                  c == 0xFFFF || (c >= 0xD800 && c < 0xE000) || c > 0x10FFFF;
    return is_bad ? 0 : n;
}

bool text_is_printable(const char *text) {
    for (int n = 1; *text && n; text += n)
        n = text_printable_bytes(text);
    return *text == 0;
}

static void quote(const char *text, char *out, size_t size) {
    size_t most = size - sizeof "\"\"..." + 1, n = 0;
    out[n++] = '"';
    while (*text) {
        size_t bytes = (size_t)text_printable_bytes(text), step = bytes ? bytes : 1;
        if (n + step > most)
            break;
        memcpy(out + n, bytes ? text : "?", step);
        n += step;
        text += step;
    }
    snprintf(out + n, size - n, "%s\"", *text ? "..." : "");
}

void found_text(const char *text, char out[FOUND_TEXT]) {
    quote(text, out, FOUND_TEXT);
}

Err config_check_path(const char *what, const char *path) {
    char found[CONFIG_PATH + sizeof "\"\"..."];
    if (text_is_printable(path))
        return OK;
    quote(path, found, sizeof found);
    return err_fail(ERR_CONFIG, "%s: found %s, expected printable UTF-8: configuration and manifests name this path",
                    what, found);
}

Err option_refuse(const Option *o, const char *found, const char *hint, Origin where) {
    char prefix[OPTION_WHERE], allowed[256];
    origin_text(o, &where, prefix);
    option_allowed(o, allowed, sizeof allowed);
    return err_fail(ERR_CONFIG, "%s: %s: found %s, expected %s%s%s%s", prefix, o->name, found, allowed,
                    hint ? "; did you mean " : "", hint ? hint : "", hint ? "?" : "");
}

Err option_refuse_text(const Option *o, const char *text, Origin where) {
    char found[FOUND_TEXT + 32];
    found_text(text, found);
    if (o->refused && !strncmp(text, o->refused, strlen(o->refused)))
        strcat(found, ", which is not available yet");
    return option_refuse(o, found, o->type == OPTION_ENUM ? nearest_value(o, text) : NULL, where);
}

Err option_unknown(const char *where, const char *key, int section) {
    char names[512], found[FOUND_TEXT];
    const char *hint = nearest_key(key, section);
    section_names(section, names, sizeof names);
    found_text(key, found);
    return err_fail(ERR_CONFIG, "%s: unknown key %s%s%s%s; %s has %s", where, found, hint ? ": did you mean " : "",
                    hint ? hint : "", hint ? "?" : "", section < 0 ? "a configuration" : SECTIONS[section].name, names);
}
