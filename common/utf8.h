/* UTF-8 as RFC 3629 has it. */
#ifndef MANGROVE_COMMON_UTF8_H
#define MANGROVE_COMMON_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at s, of which left > 0 bytes may be read, and its code; 0 if it is no UTF-8: cut short,
 * longer than it need be, a surrogate or beyond U+10FFFF. */
static inline size_t utf8_decode(const char *s, size_t left, uint32_t *code) {
    static const uint32_t LEAST[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = (unsigned char)s[0];
    size_t n = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    *code = n == 1 ? first : first & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((unsigned char)s[i] >> 6 != 2)
            return 0;
        *code = *code << 6 | (s[i] & 0x3f);
    }
    return *code < LEAST[n] || *code > 0x10ffff || *code >> 11 == 0x1b ? 0 : n;
}

#endif
