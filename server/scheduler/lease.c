/* Leases: who works on what, and until when. */
#include "server/scheduler/lease.h"

#include <assert.h>
#include <stdlib.h>

#include "common/log.h"

static void set_state(LeaseBook *b, Piece *piece, PieceState state, uint64_t lease) {
    b->n_of[piece->state]--;
    b->n_of[state]++;
    piece->state = state;
    piece->lease = lease;
}

void lease_book_init(LeaseBook *b, uint64_t term_ms) {
    *b = (LeaseBook){.term_ms = term_ms};
}

void lease_book_free(LeaseBook *b) {
    free(b->pieces);
    free(b->leases);
    free(b->steps);
    *b = (LeaseBook){0};
}

void lease_book_clear(LeaseBook *b) {
    b->n_pieces = b->n_leases = b->n_steps = 0;
    for (int state = 0; state < N_PIECE_STATES; state++)
        b->n_of[state] = 0;
}

void lease_book_add(LeaseBook *b, Piece piece) {
    if (b->n_pieces == b->piece_capacity) {
        b->piece_capacity = b->piece_capacity ? 2 * b->piece_capacity : 64;
        b->pieces = must_realloc(b->pieces, b->piece_capacity * sizeof *b->pieces);
    }
    piece.state = PIECE_TODO;
    piece.lease = 0;
    b->pieces[b->n_pieces++] = piece;
    b->n_of[PIECE_TODO]++;
}

void lease_book_add_steps(LeaseBook *b, const StepName *steps, uint32_t n) {
    lease_book_add(b, (Piece){.kind = LEASE_STEPS, .first = b->n_steps, .n = n});
    if (b->n_steps + n > b->step_capacity) {
        b->step_capacity = 2 * (b->n_steps + n);
        b->steps = must_realloc(b->steps, 2 * sizeof *b->steps * b->step_capacity);
    }
    for (uint32_t i = 0; i < n; i++, b->n_steps++) {
        b->steps[2 * b->n_steps] = steps[i].domain;
        b->steps[2 * b->n_steps + 1] = steps[i].step;
    }
}

Piece *lease_next_todo(LeaseBook *b) {
    for (uint32_t i = 0; b->n_of[PIECE_TODO] && i < b->n_pieces; i++)
        if (b->pieces[i].state == PIECE_TODO)
            return &b->pieces[i];
    return NULL;
}

Lease *lease_open(LeaseBook *b, uint64_t worker, uint64_t now_ms) {
    assert(!lease_of(b, worker));
    if (b->n_leases == b->lease_capacity) {
        b->lease_capacity = b->lease_capacity ? 2 * b->lease_capacity : 16;
        b->leases = must_realloc(b->leases, b->lease_capacity * sizeof *b->leases);
    }
    Lease *lease = &b->leases[b->n_leases++];
    *lease = (Lease){.id = ++b->last_id, .worker = worker, .expiry_ms = now_ms + b->term_ms};
    return lease;
}

void lease_take(LeaseBook *b, const Lease *lease, Piece *piece) {
    assert(piece->state == PIECE_TODO);
    set_state(b, piece, PIECE_LEASED, lease->id);
}

Lease *lease_find(LeaseBook *b, uint64_t id) {
    for (uint32_t i = 0; i < b->n_leases; i++)
        if (b->leases[i].id == id)
            return &b->leases[i];
    return NULL;
}

Lease *lease_of(LeaseBook *b, uint64_t worker) {
    for (uint32_t i = 0; i < b->n_leases; i++)
        if (b->leases[i].worker == worker)
            return &b->leases[i];
    return NULL;
}

void lease_end(LeaseBook *b, uint64_t id, bool is_done) {
    Lease *lease = lease_find(b, id);
    if (!lease)
        return;
    for (uint32_t i = 0; i < b->n_pieces; i++)
        if (b->pieces[i].state == PIECE_LEASED && b->pieces[i].lease == id)
            set_state(b, &b->pieces[i], is_done ? PIECE_DONE : PIECE_TODO, 0);
    *lease = b->leases[--b->n_leases];
}

void lease_progress(LeaseBook *b, uint64_t id, uint64_t n_steps, uint64_t now_ms) {
    Lease *lease = lease_find(b, id);
    if (!lease || lease->n_steps == n_steps)
        return;
    lease->n_steps = n_steps;
    lease->expiry_ms = now_ms + b->term_ms;
}

Lease *lease_expired(LeaseBook *b, uint64_t now_ms) {
    for (uint32_t i = 0; i < b->n_leases; i++)
        if (now_ms >= b->leases[i].expiry_ms)
            return &b->leases[i];
    return NULL;
}
