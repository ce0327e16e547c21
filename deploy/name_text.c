#include "deploy/name_text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/log.h"

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

/* Bytes of the character at s, which ends with a 0; 0 if it is no UTF-8: cut short, longer than it need be, a
 * surrogate or beyond U+10FFFF. */
static size_t decode(const unsigned char *s, uint32_t *code) {
    static const uint32_t LEAST[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
    *code = n == 1 ? s[0] : s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        *code = *code << 6 | (s[i] & 0x3f);
    }
    return *code < LEAST[n] || *code > 0x10ffff || *code >> 11 == 0x1b ? 0 : n;
}

void name_text_write(FILE *out, const char *name, NameText kind) {
    for (const unsigned char *s = (const unsigned char *)name; *s;) {
        uint32_t code;
        size_t n = decode(s, &code);
        bool is_plain = n > 0 && !is_within(UNPRINTABLE, sizeof UNPRINTABLE / sizeof *UNPRINTABLE, code) &&
                        (kind == NAME_LINE || !is_within(WHITE_SPACE, sizeof WHITE_SPACE / sizeof *WHITE_SPACE, code));
        for (size_t i = 0; i < (n ? n : 1); i++)
            if (is_plain)
                putc(s[i], out);
            else
                fprintf(out, "\\x%02x", s[i]);
        s += n ? n : 1;
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

size_t name_text_read(char *text, size_t length) {
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
    return used;
}
