/* Both snapshots give their rows in ascending ids: one walk over the two, as in a merge. */
#include "deploy/diff_tables.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "server/snapshot/snapshot_manifest.h"
#include "server/snapshot/snapshot_rows.h"

typedef struct Walk {
    const SnapshotRows *before, *after; /* NULL: no rows */
    uint32_t width;
    MovedRow *moved; /* (n_moved) */
    uint64_t n_moved;
} Walk;

static uint64_t count(const SnapshotRows *rows) {
    return rows ? snapshot_rows_count(rows) : 0;
}

static void compare(Walk *w, const SnapshotRow *before, const SnapshotRow *after, TableDiff *d) {
    const float *x = before->columns[0], *y = after->columns[0];
    if (memcmp(x, y, w->width * sizeof *x) == 0) {
        d->n_unchanged++;
        return;
    }
    d->n_changed++;
    double distance = distance_of(x, y, w->width);
    if (!isfinite(distance))
        d->n_not_finite++;
    else
        w->moved[w->n_moved++] = (MovedRow){.row = before->id,
                                            .distance = distance,
                                            .norm_before = norm_of(x, w->width),
                                            .norm_after = norm_of(y, w->width)};
}

static void walk(Walk *w, TableDiff *d) {
    uint64_t i = 0, j = 0;
    while (i < d->n_before || j < d->n_after) {
        SnapshotRow before = {.id = UINT64_MAX}, after = {.id = UINT64_MAX};
        if (i < d->n_before)
            snapshot_rows_at(w->before, i, &before);
        if (j < d->n_after)
            snapshot_rows_at(w->after, j, &after);
        if (before.id == after.id)
            compare(w, &before, &after, d);
        d->n_removed += before.id < after.id;
        d->n_added += after.id < before.id;
        i += before.id <= after.id;
        j += after.id <= before.id;
    }
}

/* Ties by id, so that equal snapshots give equal lists. */
static int farthest_first(const void *a, const void *b) {
    const MovedRow *x = a, *y = b;
    if (x->distance != y->distance)
        return x->distance > y->distance ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static void summarise(Walk *w, TableDiff *d, uint32_t max_top) {
    double *distances = must_alloc((w->n_moved + 1) * sizeof *distances);
    for (uint64_t i = 0; i < w->n_moved; i++)
        distances[i] = w->moved[i].distance;
    d->distances = spread_of(distances, w->n_moved);
    free(distances);
    if (w->n_moved)
        qsort(w->moved, w->n_moved, sizeof *w->moved, farthest_first);
    d->n_top = w->n_moved < max_top ? (uint32_t)w->n_moved : max_top;
    d->top = must_calloc(d->n_top + (size_t)1, sizeof *d->top);
    memcpy(d->top, w->moved, d->n_top * sizeof *d->top);
}

static Err open_rows(SnapshotRows **out, const Snapshot *s, const char *table) {
    *out = NULL;
    return s ? snapshot_rows_open(out, s, table) : OK;
}

Err diff_table(TableDiff *out, const Snapshot *before, const Snapshot *after, const char *table, uint32_t max_top) {
    SnapshotRows *x = NULL, *y = NULL;
    *out = (TableDiff){0};
    snprintf(out->name, sizeof out->name, "%s", table);
    Err e = open_rows(&x, before, table);
    if (e == OK)
        e = open_rows(&y, after, table);
    if (e == OK && x && y && snapshot_rows_width(x) != snapshot_rows_width(y))
        e = err_fail(ERR_DATA, "the rows of table %s have %" PRIu32 " values in %s and %" PRIu32 " in %s", table,
                     snapshot_rows_width(x), before->dir, snapshot_rows_width(y), after->dir);
    if (e == OK) {
        Walk w = {.before = x, .after = y, .width = snapshot_rows_width(x ? x : y)};
        out->n_before = count(x);
        out->n_after = count(y);
        w.moved = must_alloc(((out->n_before < out->n_after ? out->n_before : out->n_after) + 1) * sizeof *w.moved);
        walk(&w, out);
        summarise(&w, out, max_top);
        free(w.moved);
    }
    snapshot_rows_close(&x);
    snapshot_rows_close(&y);
    return e;
}

void diff_table_free(TableDiff *d) {
    free(d->top);
    *d = (TableDiff){0};
}
