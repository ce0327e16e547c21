/* Names in text files, one in a piece whatever its bytes are: a name stands there as UTF-8; a backslash, a control
 * character (U+0000 to U+001F, U+007F to U+009F), a line or paragraph separator and every byte that is not UTF-8 are
 * written \xHH, byte by byte, in two lower-case hexadecimal digits. Where names are separated by spaces, every white
 * space of Unicode is written so too. */
#ifndef MANGROVE_DEPLOY_TOOLS_NAME_TEXT_H
#define MANGROVE_DEPLOY_TOOLS_NAME_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "common/err.h"

typedef enum NameText { NAME_LINE, NAME_WORD } NameText; /* a word holds no white space, a line may */

enum { NAME_SHOWN = 128 }; /* bytes of a name in a sentence, with the 0 */

/* Errors stay in the stream. */
void name_text_write(FILE *out, const char *name, NameText kind);

char *name_text_spelled(const char *name, NameText kind); /* the same as a text; caller frees */

/* For a sentence: the same as NAME_LINE, clipped between characters and then ended by "...". */
void name_text_shown(const char *name, char out[NAME_SHOWN]);

/* Reads a name back, in place: text (length + 1), 0-terminated afterwards. A backslash that begins no \xHH stands for
 * itself. false: it holds a byte 0, as no name does. */
bool name_text_read(char *text, size_t length) MUST_CHECK;

#endif
