/* Values of options: text to field. Nothing here depends on the locale of the process. */
#include "common/options_message.h"
#include "common/options_table.h"

#include <assert.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *field_of(Config *c, const Option *o) {
    return (char *)c + o->offset;
}

/* ---- text to number: the whole text, no spaces, no leading zeros (YAML 1.1 would read octal), no hexadecimal ---- */

static size_t count_digits(const char *text) {
    return strspn(text, "0123456789");
}

static bool parse_integer(const char *text, long long *out) {
    const char *digits = text + (*text == '-');
    size_t n = count_digits(digits);
    if (n == 0 || digits[n] || (n > 1 && *digits == '0'))
        return false;
    errno = 0;
    *out = strtoll(text, NULL, 10);
    return errno == 0;
}

/* [-+] digits [. digits] [e [-+] digits], with a digit before or behind the point. */
static bool is_real(const char *text) {
    const char *p = text + (*text == '-' || *text == '+');
    size_t before = count_digits(p), behind = 0;
    p += before;
    if (*p == '.') {
        behind = count_digits(++p);
        p += behind;
    }
    if (before + behind == 0)
        return false;
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '-' || *p == '+';
        size_t n = count_digits(p);
        if (n == 0)
            return false;
        p += n;
    }
    return !*p;
}

static bool parse_real(const char *text, double *out) {
    if (!is_real(text))
        return false;
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    assert(c); /* the C locale always exists */
    double x = strtod_l(text, NULL, c);
    freelocale(c);
    *out = x == 0 ? 0 : x; /* -0 would be another text for the same value */
    return isfinite(x);
}

/* ---- text to string ---- */

static bool is_port(const char *text) {
    long long port;
    return !strcmp(text, "*") || (parse_integer(text, &port) && port >= 0 && port <= 65535);
}

/* tcp://address[:port]; an address of IPv6 stands in brackets. */
static bool is_endpoint(const char *text, bool needs_port) {
    if (strncmp(text, "tcp://", 6) || strpbrk(text, " \t"))
        return false;
    const char *host = text + 6, *end = *host == '[' ? strchr(host, ']') : host + strcspn(host, ":");
    if (!end || end - host < 1)
        return false;
    end += *end == ']';
    return *end == ':' ? is_port(end + 1) : !*end && !needs_port;
}

static bool has_form(const Option *o, const char *text) {
    switch (o->form) {
    case FORM_TEXT:
        return *text;
    case FORM_ENDPOINT:
        return is_endpoint(text, true);
    case FORM_ADDRESS:
        return !*text || is_endpoint(text, false);
    }
    return false;
}

/* ---- text to field ---- */

static bool set_integer(const Option *o, const char *text, int *out) {
    long long x;
    if (!parse_integer(text, &x) || (double)x < o->low || (double)x > o->high)
        return false;
    *out = (int)x;
    return true;
}

static bool set_u64(const char *text, uint64_t *out) {
    long long x;
    if (!parse_integer(text, &x) || x < 0)
        return false;
    *out = (uint64_t)x;
    return true;
}

static bool set_real(const Option *o, const char *text, double *out) {
    double x;
    if (!parse_real(text, &x) || x < o->low || x > o->high)
        return false;
    if ((o->bounds == BOUNDS_OPEN_LOW && x == o->low) || (o->bounds == BOUNDS_OPEN_HIGH && x == o->high))
        return false;
    *out = x;
    return true;
}

static bool set_bool(const char *text, bool *out) {
    *out = !strcmp(text, "true");
    return *out || !strcmp(text, "false");
}

static bool set_enum(const Option *o, const char *text, int *out) {
    for (int i = 0; o->names[i]; i++) {
        if (!strcmp(o->names[i], text)) {
            *out = i;
            return true;
        }
    }
    return false;
}

static bool set_string(const Option *o, const char *text, char *out) {
    if (strlen(text) >= o->capacity || !text_is_printable(text) || !has_form(o, text))
        return false;
    memset(out, 0, o->capacity); /* equal configurations have equal bytes */
    memcpy(out, text, strlen(text));
    return true;
}

static bool set_scalar(Config *c, const Option *o, const char *text) {
    void *field = field_of(c, o);
    switch (o->type) {
    case OPTION_BOOL:
        return set_bool(text, field);
    case OPTION_INT:
        return set_integer(o, text, field);
    case OPTION_U64:
        return set_u64(text, field);
    case OPTION_REAL:
        return set_real(o, text, field);
    case OPTION_ENUM:
        return set_enum(o, text, field);
    case OPTION_STRING:
        return set_string(o, text, field);
    case OPTION_INTS:
        break;
    }
    return false;
}

Err option_set_item(Loader *l, const Option *o, int i, const char *text, Origin where) {
    int *field = field_of(&l->config, o);
    if ((size_t)i < o->capacity && !set_integer(o, text, &field[i]))
        return option_refuse_text(o, text, where);
    return OK;
}

Err option_end_list(Loader *l, const Option *o, int n, Origin where) {
    char found[32];
    snprintf(found, sizeof found, "%d elements", n);
    if (n < 1 || (size_t)n > o->capacity)
        return option_refuse(o, found, NULL, where);
    int *field = field_of(&l->config, o);
    memset(field + n, 0, (o->capacity - (size_t)n) * sizeof *field); /* equal configurations have equal bytes */
    *(int *)((char *)&l->config + o->count_offset) = n;
    l->origin[o - OPTIONS] = where;
    return OK;
}

static char *trim(char *text) {
    text += strspn(text, " ");
    for (size_t n = strlen(text); n > 0 && text[n - 1] == ' '; n--)
        text[n - 1] = 0;
    return text;
}

/* "20,10" or "[20, 10]" */
static Err set_list_text(Loader *l, const Option *o, const char *text, Origin where) {
    char copy[256], *rest = copy, *item;
    size_t length = strlen(text);
    if (length >= sizeof copy)
        return option_refuse_text(o, text, where);
    memcpy(copy, text, length + 1);
    if (length >= 2 && text[0] == '[' && text[length - 1] == ']') {
        copy[length - 1] = 0;
        rest = copy + 1;
    }
    int n = 0;
    while ((item = strsep(&rest, ","))) {
        Err e = option_set_item(l, o, n++, trim(item), where);
        if (e)
            return e;
    }
    return option_end_list(l, o, n, where);
}

Err option_set(Loader *l, const Option *o, const char *text, Origin where) {
    if (o->type == OPTION_INTS)
        return set_list_text(l, o, text, where);
    if (!set_scalar(&l->config, o, text))
        return option_refuse_text(o, text, where);
    l->origin[o - OPTIONS] = where;
    return OK;
}
