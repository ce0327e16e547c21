/* A configuration as text: canonical YAML, JSON, and the fingerprint of what decides the results. */
#include "common/options.h"
#include "common/options_table.h"

#include <assert.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/log.h"

/* The shortest %g that reads back as the same number. */
static void print_real(double x, char *out, size_t size) {
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0), before = uselocale(c);
    assert(c);
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, size, "%.*g", digits, x);
        if (strtod(out, NULL) == x)
            break;
    }
    uselocale(before);
    freelocale(c);
}

static void print_string(const char *text, char *out) {
    *out++ = '"';
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            *out++ = '\\';
        *out++ = *text;
    }
    memcpy(out, "\"", 2);
}

static void print_ints(const int *values, int n, char *out, size_t size) {
    size_t used = 0;
    for (int i = 0; i < n; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%d", i ? ", " : "[", values[i]);
    snprintf(out + used, size - used, "]");
}

void option_print(const Option *o, const Config *c, bool is_json, char out[OPTION_VALUE]) {
    const void *field = (const char *)c + o->offset;
    const char *quote = is_json ? "\"" : "";
    switch (o->type) {
    case OPTION_BOOL:
        snprintf(out, OPTION_VALUE, "%s", *(const bool *)field ? "true" : "false");
        break;
    case OPTION_INT:
        snprintf(out, OPTION_VALUE, "%d", *(const int *)field);
        break;
    case OPTION_U64:
        snprintf(out, OPTION_VALUE, "%llu", (unsigned long long)*(const uint64_t *)field);
        break;
    case OPTION_REAL:
        print_real(*(const double *)field, out, OPTION_VALUE);
        break;
    case OPTION_ENUM:
        snprintf(out, OPTION_VALUE, "%s%s%s", quote, o->names[*(const int *)field], quote);
        break;
    case OPTION_STRING:
        print_string(field, out);
        break;
    case OPTION_INTS:
        print_ints(field, *(const int *)((const char *)c + o->count_offset), out, OPTION_VALUE);
        break;
    }
}

/* ---- the whole ---- */

typedef struct Text {
    FILE *file;
    char *bytes;
    size_t size;
} Text;

static void text_open(Text *t) {
    *t = (Text){0};
    t->file = open_memstream(&t->bytes, &t->size);
    if (!t->file)
        log_die(ERR_MEMORY, "cannot allocate a configuration's text");
}

static char *text_close(Text *t) {
    if (fclose(t->file))
        log_die(ERR_MEMORY, "cannot allocate a configuration's text");
    return t->bytes;
}

static void write_yaml(const Config *c, bool is_for_fingerprint, FILE *out) {
    char value[OPTION_VALUE];
    int section = -1;
    for (int i = 0; i < N_OPTIONS; i++) {
        const Option *o = &OPTIONS[i];
        int own = option_section(o);
        if (is_for_fingerprint && SECTIONS[own].is_local)
            continue;
        if (own != section)
            fprintf(out, "%s:\n", SECTIONS[own].name);
        section = own;
        option_print(o, c, false, value);
        fprintf(out, "  %s: %s\n", option_leaf(o), value);
    }
}

char *config_text(const Config *c) {
    Text t;
    text_open(&t);
    write_yaml(c, false, t.file);
    return text_close(&t);
}

uint64_t config_fingerprint(const Config *c) {
    Text t;
    text_open(&t);
    write_yaml(c, true, t.file);
    char *text = text_close(&t);
    uint64_t hash = XXH3_64bits(text, t.size);
    free(text);
    return hash;
}

char *config_json(const Config *c) {
    char value[OPTION_VALUE];
    Text t;
    text_open(&t);
    int section = -1;
    for (int i = 0; i < N_OPTIONS; i++) {
        const Option *o = &OPTIONS[i];
        int own = option_section(o);
        if (own != section)
            fprintf(t.file, "%s\"%s\": {", section < 0 ? "{" : "}, ", SECTIONS[own].name);
        option_print(o, c, true, value);
        fprintf(t.file, "%s\"%s\": %s", own == section ? ", " : "", option_leaf(o), value);
        section = own;
    }
    fputs("}}", t.file);
    return text_close(&t);
}
