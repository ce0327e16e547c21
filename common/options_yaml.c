/* The YAML reader: libyaml's events against the table. The one place that knows yaml.h.
 *
 * A configuration is a mapping of sections, a section a mapping of keys, a value a scalar or a list of scalars; so what
 * is nested deeper is refused where it begins, and nothing here recurses. Refused as well, since they hide what a file
 * says: anchors, aliases, tags, keys that come twice, a second document. */
#include "common/options_message.h"
#include "common/options_table.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

enum { YAML_MAX_SCALAR = 64 << 10 };

typedef struct Reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one, owned */
    Loader *loader;
    const char *source;
    int section_line[OPTIONS_MAX]; /* where it was seen, 0: not yet */
    int option_line[OPTIONS_MAX];
} Reader;

static int line_of(const Reader *r) {
    return (int)r->event.start_mark.line + 1;
}

static Origin origin_of(const Reader *r) {
    return (Origin){.kind = ORIGIN_FILE, .line = line_of(r), .source = r->source};
}

#define fail(r, ...) (err_fail(ERR_CONFIG, __VA_ARGS__), err_wrap(ERR_CONFIG, "%s:%d", (r)->source, line_of(r)))

/* ---- events ---- */

static Err check_scalar(const Reader *r) {
    const char *text = (const char *)r->event.data.scalar.value;
    size_t length = r->event.data.scalar.length;
    if (length > YAML_MAX_SCALAR)
        return fail(r, "found a value of %zu bytes, expected at most %d", length, YAML_MAX_SCALAR);
    if (strlen(text) != length)
        return fail(r, "found a 0 byte in a value");
    return OK;
}

/* What no part of a configuration may carry. */
static Err check_event(const Reader *r) {
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (r->event.type) {
    case YAML_ALIAS_EVENT:
        return fail(r, "found the alias *%.40s, which is not supported: write the value itself",
                    (const char *)r->event.data.alias.anchor);
    case YAML_SCALAR_EVENT:
        anchor = r->event.data.scalar.anchor;
        tag = r->event.data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = r->event.data.sequence_start.anchor;
        tag = r->event.data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = r->event.data.mapping_start.anchor;
        tag = r->event.data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (anchor)
        return fail(r, "found the anchor &%.40s, which is not supported", (const char *)anchor);
    if (tag)
        return fail(r, "found the tag %.40s, which is not supported", (const char *)tag);
    return r->event.type == YAML_SCALAR_EVENT ? check_scalar(r) : OK;
}

static Err next(Reader *r) {
    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event))
        return check_event(r);
    const yaml_parser_t *p = &r->parser;
    int line = (int)(p->problem_mark.line > p->mark.line ? p->problem_mark.line : p->mark.line) + 1;
    memset(&r->event, 0, sizeof r->event);
    return err_fail(ERR_CONFIG, "%s:%d: not YAML: %s%s%s", r->source, line, p->context ? p->context : "",
                    p->context ? ", " : "", p->problem ? p->problem : "cannot be read");
}

static const char *scalar(const Reader *r) {
    return (const char *)r->event.data.scalar.value;
}

static bool is_null(const Reader *r) {
    if (r->event.type != YAML_SCALAR_EVENT || r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    const char *text = scalar(r);
    return !*text || !strcmp(text, "~") || !strcmp(text, "null");
}

/* What stands at the current event, for messages. */
static const char *found_here(const Reader *r, char out[FOUND_TEXT]) {
    if (r->event.type == YAML_MAPPING_START_EVENT)
        return "a mapping";
    if (r->event.type == YAML_SEQUENCE_START_EVENT)
        return "a list";
    if (is_null(r))
        return "nothing";
    found_text(scalar(r), out);
    return out;
}

/* ---- values, keys, sections: each is entered at its first event and left at its last ---- */

static Err read_list(Reader *r, const Option *o) {
    char found[FOUND_TEXT];
    Origin begin = origin_of(r);
    int n = 0;
    Err e;
    if (o->type != OPTION_INTS)
        return option_refuse(o, "a list", NULL, begin);
    while (!(e = next(r)) && r->event.type != YAML_SEQUENCE_END_EVENT) {
        if (r->event.type != YAML_SCALAR_EVENT || is_null(r))
            return option_refuse(o, found_here(r, found), NULL, origin_of(r));
        if ((e = option_set_item(r->loader, o, n++, scalar(r), origin_of(r))))
            return e;
    }
    return e ? e : option_end_list(r->loader, o, n, begin);
}

static Err read_value(Reader *r, const Option *o) {
    char found[FOUND_TEXT];
    if (r->event.type == YAML_SEQUENCE_START_EVENT)
        return read_list(r, o);
    if (r->event.type != YAML_SCALAR_EVENT || is_null(r) || o->type == OPTION_INTS)
        return option_refuse(o, found_here(r, found), NULL, origin_of(r));
    return option_set(r->loader, o, scalar(r), origin_of(r));
}

/* The key at the current event; section -1 at the top. index out: of the option, or of the section. */
static Err read_key(Reader *r, int section, int *index) {
    char key[2 * OPTION_NAME], where[OPTION_WHERE], found[FOUND_TEXT];
    bool is_top = section < 0;
    if (r->event.type != YAML_SCALAR_EVENT || is_null(r))
        return fail(r, "found %s, expected the name of a key", found_here(r, found));
    found_text(scalar(r), found);
    if (strchr(scalar(r), '.'))
        return fail(r, "found the key %s, expected a section with its keys below it", found);
    snprintf(key, sizeof key, "%s%s%.*s", is_top ? "" : SECTIONS[section].name, is_top ? "" : ".", OPTION_NAME,
             scalar(r));
    *index = is_top ? section_find(key, strlen(key)) : option_find(key, strlen(key));
    if (*index < 0) {
        Origin here = origin_of(r);
        origin_text(NULL, &here, where);
        return option_unknown(where, key, section);
    }
    int *seen = is_top ? &r->section_line[*index] : &r->option_line[*index];
    if (*seen)
        return fail(r, "found %s a second time, the first is in line %d", key, *seen);
    *seen = line_of(r);
    return OK;
}

static Err read_section(Reader *r, int section) {
    char found[FOUND_TEXT], names[512];
    if (is_null(r))
        return OK; /* every key below it is a comment */
    section_names(section, names, sizeof names);
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return fail(r, "%s: found %s, expected keys below it: %s", SECTIONS[section].name, found_here(r, found), names);
    Err e;
    int option;
    while (!(e = next(r)) && r->event.type != YAML_MAPPING_END_EVENT) {
        if ((e = read_key(r, section, &option)) || (e = next(r)) || (e = read_value(r, &OPTIONS[option])))
            return e;
    }
    return e;
}

static Err read_document(Reader *r) {
    char found[FOUND_TEXT], names[512];
    Err e = next(r);
    if (e || is_null(r))
        return e;
    section_names(-1, names, sizeof names);
    if (r->event.type != YAML_MAPPING_START_EVENT)
        return fail(r, "found %s, expected sections: %s", found_here(r, found), names);
    int section;
    while (!(e = next(r)) && r->event.type != YAML_MAPPING_END_EVENT) {
        if ((e = read_key(r, -1, &section)) || (e = next(r)) || (e = read_section(r, section)))
            return e;
    }
    return e;
}

static Err read_stream(Reader *r) {
    Err e;
    if ((e = next(r)) || (e = next(r)))
        return e; /* start of the stream, then its end or the document's start */
    if (r->event.type == YAML_STREAM_END_EVENT)
        return OK;
    if ((e = read_document(r)) || (e = next(r)) || (e = next(r)))
        return e; /* end of the document, then of the stream */
    if (r->event.type != YAML_STREAM_END_EVENT)
        return fail(r, "found a second document, expected one");
    return OK;
}

Err options_read_yaml(Loader *l, const char *text, size_t size, const char *source) {
    if (size > OPTIONS_MAX_TEXT)
        return err_fail(ERR_CONFIG, "%s: found %zu bytes, expected at most %d", source, size, OPTIONS_MAX_TEXT);
    Reader r = {.loader = l, .source = source};
    if (!yaml_parser_initialize(&r.parser))
        return err_fail(ERR_MEMORY, "%s: no memory for the YAML parser", source);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, size);
    Err e = read_stream(&r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return e;
}
