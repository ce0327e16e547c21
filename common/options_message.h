/* What is said about options: what was found, what is allowed, which name was meant. Private to common/options*.c. */
#ifndef MANGROVE_COMMON_OPTIONS_MESSAGE_H
#define MANGROVE_COMMON_OPTIONS_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"
#include "common/options_table.h"

enum { FOUND_TEXT = 64 };

/* "conf.yaml:3", "MANGROVE_TRAIN_SEED", "--set"; UNSET: "configuration". */
void origin_text(const Option *o, const Origin *where, char out[OPTION_WHERE]);

/* "an integer from 1 to 1024" */
void option_allowed(const Option *o, char *out, size_t size);
/* text in quotes, clipped and printable. */
void found_text(const char *text, char out[FOUND_TEXT]);
/* Bytes of the character that text begins with if it is well-formed UTF-8 and may stand in a YAML text as it is;
 * 0 if it is not. */
int text_printable_bytes(const char *text);
bool text_is_printable(const char *text); /* of such characters alone */
/* The sentence for a value that is not allowed, as ERR_CONFIG: found is what stood there, hint (or NULL) what may have
 * been meant. */
Err option_refuse(const Option *o, const char *found, const char *hint, Origin where);
/* The same for a text, which is quoted; finds the hint itself. */
Err option_refuse_text(const Option *o, const char *text, Origin where);
/* The sentence for a key that does not exist; key is dotted, section where it was looked for (-1: at the top). */
Err option_unknown(const char *where, const char *key, int section);

/* ---- the name that was most likely meant (options_nearest.c); NULL if none is near ---- */
const char *nearest_key(const char *key, int section);
const char *nearest_value(const Option *o, const char *text);
/* name begins with MANGROVE_; the answer lies in out. */
const char *nearest_variable(const char *name, char out[OPTION_VARIABLE]);

#endif
