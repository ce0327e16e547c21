/* Copy-on-write of one sub-table's rows. */
#include "server/store/guard.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

enum { CAPTURE_HOLD = 128 << 10 }; /* bytes that the reader copies before it lets go of the lock: some 20 us */

/* ---- what is in the cut ----------------------------------------------------------------------------------------- */

static uint32_t chunk_count(const Guard *g) {
    uint32_t shift = g->terms->shape.chunk_shift;
    return (g->n_rows >> shift) + ((g->n_rows & ((1u << shift) - 1)) != 0);
}

/* Rows of the chunk when the cut began; chunk < chunk_count(). */
static uint32_t rows_in(const Guard *g, uint32_t chunk) {
    uint32_t shift = g->terms->shape.chunk_shift, left = g->n_rows - (chunk << shift);
    return left < 1u << shift ? left : 1u << shift;
}

static RowCopy *copy_at(const Guard *g, uint32_t copy) {
    return copies_at(g->terms->copies, copy);
}

/* Of the list of the chunk's copies. */
static uint32_t first_copy(const Guard *g, const Chunk *c) {
    return c->touched == g->terms->generation ? c->copy : 0;
}

/* Of chunks that are not captured yet. */
static bool is_held(const Guard *g, uint32_t chunk) {
    const Chunk *c = &g->sub->chunks[chunk];
    return c->touched == g->terms->generation ? c->copy != 0 : c->touched >= g->terms->base;
}

/* ---- the writer ------------------------------------------------------------------------------------------------- */

void guard_init(Guard *g, const GuardTerms *terms, SubTable *sub) {
    assert(terms->shape.chunk_shift <= 4); /* RowCopy has a bit for each row of a chunk */
    *g = (Guard){.terms = terms, .sub = sub, .n_rows = sub->n_rows};
    pthread_mutex_init(&g->lock, NULL);
    sub->guard = g;
}

void guard_free(Guard *g) {
    g->sub->guard = NULL;
    pthread_mutex_destroy(&g->lock);
}

void guard_enter(Guard *g) {
    pthread_mutex_lock(&g->lock);
}

void guard_leave(Guard *g) {
    pthread_mutex_unlock(&g->lock);
}

static void set_touched(const Guard *g, Chunk *c, uint32_t copy) {
    c->touched = g->terms->generation;
    c->copy = copy;
}

/* Of a chunk that the reader has still to take. False: no room. */
static bool copy_row(const Guard *g, Chunk *c, uint32_t row, bool is_bounded) {
    uint32_t first = first_copy(g, c), row_reals = g->terms->shape.row_reals;
    uint32_t rows = first ? copy_at(g, first)->rows : 0;
    if (rows >> row & 1)
        return true;
    uint32_t number = copies_take(g->terms->copies, is_bounded);
    if (!number)
        return false;
    RowCopy *copy = copy_at(g, number);
    copy->next = first;
    copy->row = (uint16_t)row;
    copy->rows = (uint16_t)(rows | 1u << row);
    memcpy(copy->values, c->rows + (size_t)row * row_reals, row_reals * sizeof(real));
    set_touched(g, c, number);
    return true;
}

/* Where a row is added to a chunk of the cut a neighbour is copied: only what has copies is seen to be in the cut. */
bool guard_touch(Guard *g, uint32_t place, bool is_bounded) {
    uint32_t shift = g->terms->shape.chunk_shift, chunk = place >> shift;
    Chunk *c = &g->sub->chunks[chunk];
    bool is_safe = true;
    if (guard_is_done(g)) {
        set_touched(g, c, 0);
        return true;
    }
    guard_enter(g);
    if (chunk >= g->n_captured && chunk < chunk_count(g) && is_held(g, chunk))
        is_safe = copy_row(g, c, (place < g->n_rows ? place : g->n_rows - 1) & ((1u << shift) - 1), is_bounded);
    else
        set_touched(g, c, 0);
    guard_leave(g);
    return is_safe;
}

/* ---- the reader ------------------------------------------------------------------------------------------------- */

uint32_t guard_count(Guard *g) {
    uint32_t n = 0;
    guard_enter(g);
    assert(g->n_captured == 0);
    for (uint32_t i = 0; i < chunk_count(g); i++)
        n += is_held(g, i) ? rows_in(g, i) : 0;
    guard_leave(g);
    return n;
}

static void *reserve(void *array, size_t *capacity, size_t n, size_t size) {
    if (n <= *capacity)
        return array;
    free(array); /* what it held is of no use */
    *capacity = n + n / 4;
    return must_alloc(*capacity * size);
}

static void capture_reserve(Capture *c, const Guard *g) {
    size_t scratch_capacity = c->place_capacity;
    c->places = reserve(c->places, &c->place_capacity, g->n_rows, sizeof *c->places);
    c->scratch = reserve(c->scratch, &scratch_capacity, g->n_rows, sizeof *c->scratch);
    c->first_places = reserve(c->first_places, &c->chunk_capacity, chunk_count(g), sizeof *c->first_places);
}

void capture_free(Capture *c) {
    free(c->places);
    free(c->scratch);
    free(c->first_places);
    free(c->rows);
    *c = (Capture){0};
}

/* Which rows there are, and where each chunk's will lie. Under the lock. */
static void list_rows(const Guard *g, Capture *c) {
    c->n_rows = 0;
    for (uint32_t i = 0; i < chunk_count(g); i++) {
        c->first_places[i] = is_held(g, i) ? c->n_rows : UINT32_MAX;
        c->n_rows += is_held(g, i) ? rows_in(g, i) : 0;
    }
    if (c->n_rows)
        subtable_list(g->sub, g->n_rows, c->places);
}

/* Leaves the rows of the cut, with their places in the capture, in ascending order. */
static void sort_rows(const Guard *g, Capture *c) {
    uint32_t shift = g->terms->shape.chunk_shift, n = 0;
    for (uint32_t i = 0; c->n_rows && i < g->n_rows; i++) {
        SubTablePlace p = c->places[i];
        uint32_t first = c->first_places[p.place >> shift];
        if (first != UINT32_MAX)
            c->places[n++] = (SubTablePlace){p.row, first + (p.place & ((1u << shift) - 1))};
    }
    assert(n == c->n_rows);
    subtable_sort(c->places, c->scratch, n);
}

/* Rows that have copies, which the writer may be changing now. Gives the copies' memory back. Returns a bit per row. */
static uint32_t take_copies(const Guard *g, const Chunk *chunk, real *out) {
    uint32_t row_reals = g->terms->shape.row_reals, rows = 0;
    for (uint32_t i = first_copy(g, chunk), next; i; i = next) {
        const RowCopy *copy = copy_at(g, i);
        next = copy->next;
        rows |= 1u << copy->row;
        memcpy(out + (size_t)copy->row * row_reals, copy->values, row_reals * sizeof(real));
        copies_give_back(g->terms->copies, i);
    }
    return rows;
}

/* The next chunk, if it is in the cut. Returns the bytes copied. */
static size_t capture_chunk(Guard *g, Capture *c) {
    uint32_t i = g->n_captured++, first = c->first_places[i], n = rows_in(g, i);
    size_t row_reals = g->terms->shape.row_reals;
    if (first == UINT32_MAX)
        return 0;
    const Chunk *chunk = &g->sub->chunks[i];
    real *out = c->rows + first * row_reals;
    uint32_t taken = take_copies(g, chunk, out);
    if (!taken)
        memcpy(out, chunk->rows, n * row_reals * sizeof(real));
    for (uint32_t row = 0; taken && row < n; row++)
        if (!(taken >> row & 1))
            memcpy(out + row * row_reals, chunk->rows + row * row_reals, row_reals * sizeof(real));
    return n * row_reals * sizeof(real);
}

static void capture_chunks(Guard *g, Capture *c) {
    uint32_t n_chunks = chunk_count(g);
    while (g->n_captured < n_chunks) { /* nobody else counts it up */
        size_t bytes = 0;
        guard_enter(g);
        while (g->n_captured < n_chunks && bytes < CAPTURE_HOLD)
            bytes += capture_chunk(g, c);
        guard_leave(g);
    }
}

void guard_capture(Guard *g, Capture *c) {
    size_t row_reals = g->terms->shape.row_reals;
    assert(!g->is_done);
    capture_reserve(c, g);
    guard_enter(g);
    list_rows(g, c);
    guard_leave(g);
    c->rows = reserve(c->rows, &c->row_capacity, c->n_rows * row_reals, sizeof *c->rows);
    capture_chunks(g, c);
    atomic_store_explicit(&g->is_done, true, memory_order_release);
    sort_rows(g, c);
}
