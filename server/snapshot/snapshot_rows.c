/* Merged rows. An index over the mapped files: one word per row, id << 32 | place, a place counting the rows of the
 * files one behind the other. Files of an incremental snapshot come before those of its base, so that after a stable
 * sort by id the first of equal ids is the one that counts. */
#include "server/snapshot/snapshot_rows.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "server/snapshot/snapshot_chain.h"
#include "server/snapshot/snapshot_columns.h"
#include "server/snapshot/snapshot_manifest.h"
#include "server/snapshot/snapshot_reader.h"
#include "server/snapshot/snapshot_schema.h"

enum { PLACE_BITS = 32, DIGIT_BITS = 11, N_DIGITS = 1 << DIGIT_BITS };

struct SnapshotRows {
    SnapshotReader *files; /* (n_files) */
    size_t n_files;
    uint64_t *first; /* (n_files + 1) place of each file's first row */
    uint64_t *index; /* (n) */
    uint64_t n;
    uint32_t width, n_columns;
    char names[SNAPSHOT_MAX_COLUMNS][SNAPSHOT_COLUMN_NAME];
};

/* ---- files ---------------------------------------------------------------------------------------------------- */

static Err open_files(SnapshotRows *r, const Snapshot *s, const Schema *schema, const char *table) {
    Err e = OK;
    for (size_t i = 0; i < s->n_files && e == OK; i++) {
        if (strcmp(s->files[i].table, table) != 0)
            continue;
        SnapshotReader *file = &r->files[r->n_files];
        const SnapshotColumns *at = &file->at, *first = &r->files[0].at;
        e = snapshot_reader_open(file, s, &s->files[i], schema);
        if (e != OK)
            return e;
        r->first[r->n_files + 1] = r->first[r->n_files] + at->n_rows;
        r->n_files++;
        if (at->n_columns != first->n_columns)
            e = err_fail(ERR_CORRUPT, "%s: its rows have %" PRIu32 " columns, those of %s have %" PRIu32, at->path,
                         at->n_columns, first->path, first->n_columns);
        else if (r->first[r->n_files] > UINT32_MAX)
            e = err_fail(ERR_DATA, "%s: table %s has more than %" PRIu32 " rows in its files", s->dir, table,
                         UINT32_MAX);
    }
    return e;
}

static Err open_chain(SnapshotRows *r, const Snapshot *s, const Schema *schema, const char *table) {
    Snapshot *base;
    Err e = snapshot_open_base(&base, s);
    if (e != OK)
        return e;
    size_t n = s->n_files + (base ? base->n_files : 0);
    r->files = must_calloc(n + 1, sizeof *r->files);
    r->first = must_calloc(n + 1, sizeof *r->first);
    e = open_files(r, s, schema, table);
    if (e == OK && base)
        e = open_files(r, base, schema, table);
    snapshot_close(&base);
    return e;
}

/* ---- index ---------------------------------------------------------------------------------------------------- */

/* One pass of a radix sort: stable. */
static void sort_by_digit(const uint64_t *from, uint64_t *to, uint64_t n, int shift) {
    uint64_t starts[N_DIGITS] = {0}, sum = 0;
    for (uint64_t i = 0; i < n; i++)
        starts[from[i] >> shift & (N_DIGITS - 1)]++;
    for (int d = 0; d < N_DIGITS; d++) {
        uint64_t count = starts[d];
        starts[d] = sum;
        sum += count;
    }
    for (uint64_t i = 0; i < n; i++)
        to[starts[from[i] >> shift & (N_DIGITS - 1)]++] = from[i];
}

/* By id; places stay in their order. */
static uint64_t *sort_by_id(uint64_t *index, uint64_t n) {
    uint64_t *other = must_alloc((n + 1) * sizeof *other);
    for (int shift = PLACE_BITS; shift < 64; shift += DIGIT_BITS) {
        sort_by_digit(index, other, n, shift);
        uint64_t *swap = index;
        index = other;
        other = swap;
    }
    free(other);
    return index;
}

static void build_index(SnapshotRows *r) {
    uint64_t n = r->first[r->n_files], place = 0, kept = 0;
    uint64_t *index = must_alloc((n + 1) * sizeof *index);
    for (size_t f = 0; f < r->n_files; f++)
        for (uint64_t i = 0; i < r->files[f].at.n_rows; i++, place++)
            index[place] = r->files[f].at.rows[i] << PLACE_BITS | place;
    r->index = sort_by_id(index, n);
    for (uint64_t i = 0; i < n; i++)
        if (kept == 0 || r->index[i] >> PLACE_BITS != r->index[kept - 1] >> PLACE_BITS)
            r->index[kept++] = r->index[i];
    r->n = kept;
}

/* ---- opening -------------------------------------------------------------------------------------------------- */

static Err open_table(SnapshotRows *r, const Snapshot *s, const Schema *schema, const char *name) {
    int number;
    Err e = snapshot_schema_table(s, schema, name, &number);
    if (e == OK)
        e = open_chain(r, s, schema, name);
    if (e != OK)
        return e;
    const Table *table = &schema->tables[number];
    r->width = table->width;
    r->n_columns = r->n_files ? r->files[0].at.n_columns : 1;
    for (uint32_t i = 0; i < r->n_columns; i++)
        snapshot_column_name(table, i, r->names[i]);
    build_index(r);
    return OK;
}

Err snapshot_rows_open(SnapshotRows **out, const Snapshot *s, const char *table) {
    Schema *schema = must_alloc(sizeof *schema);
    *out = must_calloc(1, sizeof **out);
    Err e = snapshot_schema(s, schema);
    if (e == OK)
        e = open_table(*out, s, schema, table);
    if (e != OK)
        snapshot_rows_close(out);
    free(schema);
    return e;
}

void snapshot_rows_close(SnapshotRows **r) {
    if (!*r)
        return;
    for (size_t i = 0; i < (*r)->n_files; i++)
        snapshot_reader_close(&(*r)->files[i]);
    free((*r)->files);
    free((*r)->first);
    free((*r)->index);
    free(*r);
    *r = NULL;
}

/* ---- rows ----------------------------------------------------------------------------------------------------- */

uint64_t snapshot_rows_count(const SnapshotRows *r) {
    return r->n;
}

uint32_t snapshot_rows_width(const SnapshotRows *r) {
    return r->width;
}

uint32_t snapshot_rows_columns(const SnapshotRows *r) {
    return r->n_columns;
}

const char *snapshot_rows_column_name(const SnapshotRows *r, uint32_t column) {
    assert(column < r->n_columns);
    return r->names[column];
}

/* The last file that begins at or before the place. */
static size_t file_of(const SnapshotRows *r, uint64_t place) {
    size_t low = 0, high = r->n_files;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (r->first[middle] <= place)
            low = middle;
        else
            high = middle;
    }
    return low;
}

void snapshot_rows_at(const SnapshotRows *r, uint64_t i, SnapshotRow *row) {
    assert(i < r->n);
    uint64_t place = r->index[i] & UINT32_MAX;
    size_t f = file_of(r, place);
    *row = (SnapshotRow){.id = r->index[i] >> PLACE_BITS};
    for (uint32_t c = 0; c < r->n_columns; c++)
        row->columns[c] = r->files[f].at.columns[c] + (place - r->first[f]) * r->width;
}

bool snapshot_rows_find(const SnapshotRows *r, uint64_t id, SnapshotRow *row) {
    uint64_t low = 0, high = r->n;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (r->index[middle] >> PLACE_BITS < id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == r->n || r->index[low] >> PLACE_BITS != id)
        return false;
    snapshot_rows_at(r, low, row);
    return true;
}
