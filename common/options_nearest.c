/* The nearest name: restricted edit distance (Damerau and Levenshtein: insert, delete, replace, swap neighbours). */
#include "common/options_message.h"

#include <ctype.h>
#include <string.h>

enum { NEAREST_MAX = OPTION_VARIABLE, FAR = 1000 };

typedef struct Nearest {
    const char *name; /* the best so far */
    int distance;
} Nearest;

static bool is_same(char a, char b) {
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

static int min3(int a, int b, int c) {
    int ab = a < b ? a : b;
    return ab < c ? ab : c;
}

static int edit_distance(const char *a, const char *b) {
    int n = (int)strlen(a), m = (int)strlen(b), row[3][NEAREST_MAX + 1];
    if (n > NEAREST_MAX || m > NEAREST_MAX)
        return FAR;
    int *before = row[0], *above = row[1], *here = row[2]; /* rows i-2, i-1, i */
    for (int j = 0; j <= m; j++)
        above[j] = j;
    for (int i = 1; i <= n; i++) {
        here[0] = i;
        for (int j = 1; j <= m; j++) {
            here[j] = min3(above[j] + 1, here[j - 1] + 1, above[j - 1] + !is_same(a[i - 1], b[j - 1]));
            if (i > 1 && j > 1 && is_same(a[i - 1], b[j - 2]) && is_same(a[i - 2], b[j - 1]))
                here[j] = min3(here[j], before[j - 2] + 1, FAR);
        }
        int *free_row = before;
        before = above;
        above = here;
        here = free_row;
    }
    return above[m];
}

static void consider(Nearest *n, const char *name, int distance) {
    if (distance < n->distance) {
        n->name = name;
        n->distance = distance;
    }
}

/* A name further away than a third of the word (two for short ones) is no help. */
static const char *found(const Nearest *n, const char *changed_part) {
    int limit = (int)strlen(changed_part) / 3 + 1;
    return n->distance <= (limit < 2 ? 2 : limit) ? n->name : NULL;
}

static const char *last_part(const char *key) {
    const char *dot = strrchr(key, '.');
    return dot ? dot + 1 : key;
}

const char *nearest_key(const char *key, int section) {
    Nearest n = {.distance = FAR};
    const char *leaf = last_part(key);
    for (int i = 0; section < 0 && !strchr(key, '.') && i < N_SECTIONS; i++)
        consider(&n, SECTIONS[i].name, edit_distance(key, SECTIONS[i].name));
    for (int i = 0; i < N_OPTIONS; i++) {
        consider(&n, OPTIONS[i].name, edit_distance(key, OPTIONS[i].name));
        if (!strcmp(leaf, option_leaf(&OPTIONS[i]))) /* the right key in the wrong section */
            consider(&n, OPTIONS[i].name, 1);
    }
    return found(&n, leaf);
}

const char *nearest_value(const Option *o, const char *text) {
    Nearest n = {.distance = FAR};
    for (int i = 0; o->names[i]; i++)
        consider(&n, o->names[i], edit_distance(text, o->names[i]));
    return found(&n, text);
}

const char *nearest_variable(const char *name, char out[OPTION_VARIABLE]) {
    Nearest n = {.distance = FAR};
    for (int i = 0; i < N_OPTIONS; i++) {
        option_variable(&OPTIONS[i], out);
        consider(&n, OPTIONS[i].name, edit_distance(name, out));
    }
    const char *section = name + strlen("MANGROVE_"), *leaf = strchr(section, '_');
    if (!found(&n, leaf ? leaf + 1 : section))
        return NULL;
    option_variable(&OPTIONS[option_find(n.name, strlen(n.name))], out);
    return out;
}
