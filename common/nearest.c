#include "common/nearest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static bool is_same(char a, char b) {
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

static int min3(int a, int b, int c) {
    int ab = a < b ? a : b;
    return ab < c ? ab : c;
}

int edit_distance(const char *a, const char *b) {
    int n = (int)strlen(a), m = (int)strlen(b), row[3][NEAREST_MAX + 1];
    if (n > NEAREST_MAX || m > NEAREST_MAX)
        return NEAREST_FAR;
    int *before = row[0], *above = row[1], *here = row[2]; /* rows i-2, i-1, i */
    for (int j = 0; j <= m; j++)
        above[j] = j;
    for (int i = 1; i <= n; i++) {
        here[0] = i;
        for (int j = 1; j <= m; j++) {
            here[j] = min3(above[j] + 1, here[j - 1] + 1, above[j - 1] + !is_same(a[i - 1], b[j - 1]));
            if (i > 1 && j > 1 && is_same(a[i - 1], b[j - 2]) && is_same(a[i - 2], b[j - 1]))
                here[j] = min3(here[j], before[j - 2] + 1, NEAREST_FAR);
        }
        int *free_row = before;
        before = above;
        above = here;
        here = free_row;
    }
    return above[m];
}

void nearest_consider(Nearest *n, const char *name, int distance) {
    if (distance < n->distance) {
        n->name = name;
        n->distance = distance;
    }
}

const char *nearest_found(const Nearest *n, const char *text) {
    int limit = (int)strlen(text) / 3 + 1;
    return n->distance <= (limit < 2 ? 2 : limit) ? n->name : NULL;
}
