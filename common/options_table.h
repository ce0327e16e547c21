/* The options table and what its readers share. Private to common/options*.c; everybody else includes options.h.
 *
 * A value arrives as text from one of three places, which its Origin names: a line of a file, a variable of the
 * environment, or --set. options_value.c turns text into the field and back; nothing else touches a field by offset. */
#ifndef MANGROVE_COMMON_OPTIONS_TABLE_H
#define MANGROVE_COMMON_OPTIONS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/err.h"

enum {
    OPTIONS_MAX = 64,               /* rows of the table, at most */
    OPTIONS_MAX_TEXT = 1 << 20,     /* bytes of a file */
    OPTION_NAME = 48,               /* bytes of a dotted name, with the 0 */
    OPTION_VARIABLE = 64,           /* bytes of a variable's name, with the 0 */
    OPTION_WHERE = CONFIG_PATH,     /* bytes of an origin as text */
    OPTION_VALUE = 3 * CONFIG_PATH, /* bytes of a value as text; every character of a string may be escaped */
};

typedef enum OptionType {
    OPTION_BOOL,   /* bool: true, false */
    OPTION_INT,    /* int */
    OPTION_U64,    /* uint64_t up to 2^63 - 1, so that JSON can hold it */
    OPTION_REAL,   /* double, finite */
    OPTION_ENUM,   /* an enum from 0 whose names are `names` */
    OPTION_STRING, /* char[capacity]: printable UTF-8 */
    OPTION_INTS,   /* int[capacity] and a count, an int at count_offset; at least one */
} OptionType;

typedef enum Bounds { BOUNDS_CLOSED, BOUNDS_OPEN_LOW, BOUNDS_OPEN_HIGH } Bounds;

typedef enum StringForm {
    FORM_TEXT,     /* anything but the empty string */
    FORM_ENDPOINT, /* tcp://address:port */
    FORM_ADDRESS,  /* tcp://address or tcp://address:port, or empty */
} StringForm;

typedef struct Option {
    const char *name; /* "train.seed" */
    OptionType type;
    size_t offset;            /* of the field in Config */
    size_t count_offset;      /* INTS */
    size_t capacity;          /* STRING: bytes; INTS: elements */
    double low, high;         /* INT, REAL, elements of INTS */
    Bounds bounds;            /* REAL */
    StringForm form;          /* STRING */
    const char *const *names; /* ENUM: ends with NULL */
    const char *refused;      /* ENUM: a value that is known, but not available yet; NULL if none */
    const char *fallback;     /* the default, as text */
    const char *sentence;
} Option;

typedef struct Section {
    const char *name, *sentence;
    bool is_local; /* says where a run happens, not what comes out: no part of the fingerprint */
} Section;

extern const Option OPTIONS[];
extern const int N_OPTIONS;
extern const Section SECTIONS[];
extern const int N_SECTIONS;

/* By the bytes [name, name + length); -1 if there is none. */
int option_find(const char *name, size_t length);
int section_find(const char *name, size_t length);
int option_section(const Option *o);
const char *option_leaf(const Option *o); /* "seed" */
/* The keys of a section, or with -1 the sections: "seed, batch, negatives". */
void section_names(int section, char *out, size_t size);
/* "MANGROVE_TRAIN_SEED" */
void option_variable(const Option *o, char out[OPTION_VARIABLE]);

/* ---- values (options_value.c) ---- */

typedef enum OriginKind { ORIGIN_UNSET, ORIGIN_FILE, ORIGIN_VARIABLE, ORIGIN_SET } OriginKind;

typedef struct Origin {
    OriginKind kind;
    int line;           /* FILE: from 1 */
    const char *source; /* FILE: its name, borrowed */
} Origin;

/* A configuration while it is put together. */
typedef struct Loader {
    Config config;
    Origin origin[OPTIONS_MAX]; /* who set the option last */
} Loader;

/* Each: ERR_CONFIG with the whole sentence. A list as text is "20,10" or "[20, 10]". */
Err option_set(Loader *l, const Option *o, const char *text, Origin where) MUST_CHECK;
/* Element i of an INTS option, from 0; and when n elements have been set, where the list began. */
Err option_set_item(Loader *l, const Option *o, int i, const char *text, Origin where) MUST_CHECK;
Err option_end_list(Loader *l, const Option *o, int n, Origin where) MUST_CHECK;
/* The value as YAML, or as JSON, which wants the names of enums in quotes (options_text.c). */
void option_print(const Option *o, const Config *c, bool is_json, char out[OPTION_VALUE]);

/* ---- YAML (options_yaml.c) ---- */
Err options_read_yaml(Loader *l, const char *text, size_t size, const char *source) MUST_CHECK;

#endif
