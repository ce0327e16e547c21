#include "deploy/tools/name_text.h"

#include <stdint.h>
#include <string.h>

#include "common/log.h"
#include "common/utf8.h"

enum { PIECE_BYTES = 4 * sizeof "\\x00" }; /* of a character, spelled byte by byte */

typedef struct CodeRange {
    uint32_t first, last;
} CodeRange;

static const CodeRange UNPRINTABLE[] = {{0, 0x1f}, {'\\', '\\'}, {0x7f, 0x9f}, {0x2028, 0x2029}};
static const CodeRange WHITE_SPACE[] = {{' ', ' '},       {0xa0, 0xa0},     {0x1680, 0x1680}, {0x2000, 0x200a},
                                        {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}};

static bool is_within(const CodeRange *ranges, size_t n, uint32_t code) {
    for (size_t i = 0; i < n; i++)
        if (ranges[i].first <= code && code <= ranges[i].last)
            return true;
    return false;
}

/* Spells the character (or the byte that is none) at s, which ends at end: 0-terminated in out. Returns its bytes at s.
 */
static size_t spell(const char *s, const char *end, NameText kind, char out[PIECE_BYTES]) {
    uint32_t code;
    size_t n = utf8_decode(s, (size_t)(end - s), &code), used = 0;
    bool is_plain = n > 0 && !is_within(UNPRINTABLE, sizeof UNPRINTABLE / sizeof *UNPRINTABLE, code) &&
                    (kind == NAME_LINE || !is_within(WHITE_SPACE, sizeof WHITE_SPACE / sizeof *WHITE_SPACE, code));
    n += n == 0;
    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(out + used, PIECE_BYTES - used, is_plain ? "%c" : "\\x%02x", (unsigned char)s[i]);
    return n;
}

void name_text_write(FILE *out, const char *name, NameText kind) {
    char piece[PIECE_BYTES];
    for (const char *s = name, *end = name + strlen(name); s < end;) {
        s += spell(s, end, kind, piece);
        fputs(piece, out);
    }
}

void name_text_shown(const char *name, char out[NAME_SHOWN]) {
    char piece[PIECE_BYTES];
    size_t used = 0;
    out[0] = 0;
    for (const char *s = name, *end = name + strlen(name); s < end;) {
        s += spell(s, end, NAME_LINE, piece);
        if (used + strlen(piece) + sizeof "..." > NAME_SHOWN) {
            strcpy(out + used, "...");
            return;
        }
        strcpy(out + used, piece);
        used += strlen(piece);
    }
}

char *name_text_spelled(const char *name, NameText kind) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        log_die(ERR_MEMORY, "no memory for a name");
    name_text_write(out, name, kind);
    if (fclose(out))
        log_die(ERR_MEMORY, "no memory for a name");
    return text;
}

bool name_text_read(char *text, size_t length) {
    static const char DIGITS[] = "0123456789abcdef";
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        const char *high = NULL, *low = NULL;
        if (length - i >= 4 && text[i] == '\\' && text[i + 1] == 'x') {
            high = memchr(DIGITS, text[i + 2], 16);
            low = memchr(DIGITS, text[i + 3], 16);
        }
        if (high && low) {
            text[used++] = (char)((high - DIGITS) << 4 | (low - DIGITS));
            i += 3;
        } else
            text[used++] = text[i];
    }
    text[used] = 0;
    return strlen(text) == used;
}
