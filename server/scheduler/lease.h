/* Leases: who works on what, and until when. Pure policy: no message, no clock, no effect; the scheduler asks and
 * obeys.
 *
 * A piece of work is TODO, LEASED or DONE. A lease holds one piece, in sync several ranks; a worker holds one lease.
 *
 *   TODO --lease_take--> LEASED --lease_end(done)--> DONE
 *     ^------ lease_end(not done): given back, expired, its worker died
 *
 * DONE is what a worker said. It frees the lease and proves nothing: what counts is what the servers report. */
#ifndef MANGROVE_SERVER_SCHEDULER_LEASE_H
#define MANGROVE_SERVER_SCHEDULER_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/work.h"
#include "proto/message.h"

typedef enum PieceState { PIECE_TODO, PIECE_LEASED, PIECE_DONE, N_PIECE_STATES } PieceState;

typedef struct Piece {
    PieceState state;
    LeaseKind kind;
    uint64_t lease;        /* the one that holds it, 0 if none */
    uint32_t chunk;        /* LEASE_PART, LEASE_EVALUATION */
    uint32_t part;         /* LEASE_PART */
    uint8_t domain, split; /* LEASE_EVALUATION */
    uint32_t first, n;     /* LEASE_STEPS: a part of the book's list; LEASE_RANKS: first is the rank */
} Piece;

typedef struct Lease {
    uint64_t id; /* from 1, never used twice */
    uint64_t worker;
    uint64_t expiry_ms;
    uint64_t n_steps; /* as last heard: another number is progress */
} Lease;

typedef struct LeaseBook {
    Piece *pieces;
    uint32_t n_pieces, piece_capacity, n_of[N_PIECE_STATES];
    Lease *leases; /* those outstanding */
    uint32_t n_leases, lease_capacity;
    uint64_t last_id, term_ms;
    uint32_t *steps; /* of LEASE_STEPS: pairs (domain, step), as the message carries them */
    uint32_t n_steps, step_capacity;
} LeaseBook;

/* term_ms: a lease without progress for so long expires. */
void lease_book_init(LeaseBook *b, uint64_t term_ms);
void lease_book_free(LeaseBook *b);
/* Forgets pieces and leases, never the numbers that were used. */
void lease_book_clear(LeaseBook *b);
/* Appends a piece, TODO. */
void lease_book_add(LeaseBook *b, Piece piece);
/* Likewise a piece of LEASE_STEPS; steps (n) are copied. */
void lease_book_add_steps(LeaseBook *b, const StepName *steps, uint32_t n);

/* The first piece that is TODO, or NULL. */
Piece *lease_next_todo(LeaseBook *b);
/* A new lease without a piece; the worker holds none (asserted). Pointers last until the next lease_open or lease_end.
 */
Lease *lease_open(LeaseBook *b, uint64_t worker, uint64_t now_ms);
/* The piece is TODO (asserted). */
void lease_take(LeaseBook *b, const Lease *lease, Piece *piece);
Lease *lease_find(LeaseBook *b, uint64_t id);
Lease *lease_of(LeaseBook *b, uint64_t worker);
/* Its pieces are DONE or TODO again. Unknown numbers (a late message) change nothing. */
void lease_end(LeaseBook *b, uint64_t id, bool is_done);
/* Heard of work on it: the term starts anew if n_steps changed. */
void lease_progress(LeaseBook *b, uint64_t id, uint64_t n_steps, uint64_t now_ms);
/* A lease whose term is over, or NULL. */
Lease *lease_expired(LeaseBook *b, uint64_t now_ms);

static inline bool lease_book_is_done(const LeaseBook *b) {
    return b->n_of[PIECE_DONE] == b->n_pieces;
}

#endif
