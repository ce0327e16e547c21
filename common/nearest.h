/* The name that was most likely meant: the nearest of those that there are, if it is near enough to be of help. */
#ifndef MANGROVE_COMMON_NEAREST_H
#define MANGROVE_COMMON_NEAREST_H

enum { NEAREST_MAX = 128, NEAREST_FAR = 1000 }; /* bytes of a name; the distance of one that is longer */

typedef struct Nearest {
    const char *name; /* the best so far; of equally near ones the first */
    int distance;     /* NEAREST_FAR at first */
} Nearest;

/* Restricted edit distance (Damerau and Levenshtein: insert, delete, replace, swap neighbours), upper and lower case
 * alike. */
int edit_distance(const char *a, const char *b);

void nearest_consider(Nearest *n, const char *name, int distance);

/* NULL where the best is further from `text` than a third of it (two for short ones): no help. */
const char *nearest_found(const Nearest *n, const char *text);

#endif
