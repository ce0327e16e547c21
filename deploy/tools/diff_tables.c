/* Both snapshots give their rows in ascending ids: one walk over the two, as in a merge. */
#include "deploy/tools/diff_tables.h"

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
    uint32_t width, max_top;
    double *distances; /* (n_moved) */
    uint64_t n_moved;
} Walk;

static uint64_t count(const SnapshotRows *rows) {
    return rows ? snapshot_rows_count(rows) : 0;
}

/* ---- the farthest --------------------------------------------------------------------------------------------- */

/* Ties by id, so that equal snapshots give equal lists. */
static int farthest_first(const void *a, const void *b) {
    const MovedRow *x = a, *y = b;
    if (x->distance != y->distance)
        return x->distance > y->distance ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static void swap(MovedRow *a, MovedRow *b) {
    MovedRow kept = *a;
    *a = *b;
    *b = kept;
}

/* Until it is sorted, d->top is a heap with the nearest at its root: the one that the next farther row replaces. */
static void sift_down(MovedRow *heap, uint32_t n) {
    for (uint32_t i = 0, child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && farthest_first(&heap[child], &heap[child + 1]) < 0)
            child++;
        if (farthest_first(&heap[i], &heap[child]) > 0)
            return;
        swap(&heap[i], &heap[child]);
    }
}

static void sift_up(MovedRow *heap, uint32_t i) {
    for (uint32_t parent; i > 0 && farthest_first(&heap[parent = (i - 1) / 2], &heap[i]) < 0; i = parent)
        swap(&heap[i], &heap[parent]);
}

static void offer(TableDiff *d, uint32_t max_top, const MovedRow *row) {
    if (d->n_top < max_top) {
        d->top[d->n_top] = *row;
        sift_up(d->top, d->n_top++);
    } else if (max_top && farthest_first(row, &d->top[0]) < 0) {
        d->top[0] = *row;
        sift_down(d->top, d->n_top);
    }
}

/* ---- the walk ------------------------------------------------------------------------------------------------- */

static void compare(Walk *w, const SnapshotRow *before, const SnapshotRow *after, TableDiff *d) {
    const float *x = before->columns[0], *y = after->columns[0];
    if (memcmp(x, y, w->width * sizeof *x) == 0) {
        d->n_unchanged++;
        return;
    }
    d->n_changed++;
    MovedRow moved = {.row = before->id, .distance = distance_of(x, y, w->width)};
    if (!isfinite(moved.distance)) {
        d->n_not_finite++;
        return;
    }
    moved.norm_before = norm_of(x, w->width);
    moved.norm_after = norm_of(y, w->width);
    w->distances[w->n_moved++] = moved.distance;
    offer(d, w->max_top, &moved);
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

static void walk_all(Walk *w, TableDiff *d) {
    uint64_t n_common = d->n_before < d->n_after ? d->n_before : d->n_after;
    uint64_t n_top = n_common < w->max_top ? n_common : w->max_top;
    w->distances = must_alloc((n_common + 1) * sizeof *w->distances);
    d->top = must_calloc(n_top + 1, sizeof *d->top);
    walk(w, d);
    d->distances = spread_of(w->distances, w->n_moved);
    qsort(d->top, d->n_top, sizeof *d->top, farthest_first);
    free(w->distances);
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
        Walk w = {.before = x, .after = y, .width = snapshot_rows_width(x ? x : y), .max_top = max_top};
        out->n_before = count(x);
        out->n_after = count(y);
        walk_all(&w, out);
    }
    snapshot_rows_close(&x);
    snapshot_rows_close(&y);
    return e;
}

void diff_table_free(TableDiff *d) {
    free(d->top);
    *d = (TableDiff){0};
}
