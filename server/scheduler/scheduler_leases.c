/* Who works on what: grants in every phase, and the training phase itself. */
#include "server/scheduler/scheduler_leases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "server/scheduler/scheduler_parts.h"

/* ---- LEASE ---------------------------------------------------------------------------------------------------- */

static void add_ranks(Scheduler *s, Message *m, const Lease *lease) {
    uint32_t *ranks = must_alloc(s->book.n_pieces * sizeof *ranks), n = 0;
    for (uint32_t i = 0; i < s->book.n_pieces; i++)
        if (s->book.pieces[i].lease == lease->id)
            ranks[n++] = s->book.pieces[i].first;
    message_add_bytes(m, ranks, n * sizeof *ranks);
    free(ranks);
}

static void send_lease(Scheduler *s, const Lease *lease) {
    Message *m = scheduler_message(s, MESSAGE_LEASE);
    const Piece *piece = s->book.pieces;
    while (piece->lease != lease->id)
        piece++;
    m->lease = (MessageLEASE){.lease = lease->id, .kind = piece->kind, .epoch = s->epoch, .map = s->map};
    if (piece->kind == LEASE_PART || piece->kind == LEASE_EVALUATION)
        m->lease.chunk = piece->chunk;
    if (piece->kind == LEASE_PART)
        m->lease.part = piece->part;
    if (piece->kind == LEASE_EVALUATION) {
        m->lease.pass = s->evaluation.pass;
        m->lease.domain = piece->domain;
        m->lease.split = piece->split;
    }
    if (piece->kind == LEASE_RANKS) {
        m->lease.order = s->order;
        add_ranks(s, m, lease);
    }
    if (piece->kind == LEASE_STEPS)
        message_add_bytes(m, s->book.steps + 2 * piece->first, 2 * piece->n * sizeof *s->book.steps);
    scheduler_send(s, lease->worker);
}

void leases_grant_all(Scheduler *s) {
    Member *worker;
    Piece *piece;
    for (uint32_t i = 0; (worker = members_next(s, ROLE_WORKER, &i));) {
        if (!worker->is_asking || !(piece = lease_next_todo(&s->book)))
            continue;
        Lease *lease = lease_open(&s->book, worker->peer, s->clock_ms);
        lease_take(&s->book, lease, piece);
        worker->is_asking = false;
        send_lease(s, lease);
    }
}

void leases_revoke_all(Scheduler *s) {
    for (uint32_t i = 0; i < s->book.n_leases; i++) {
        scheduler_message(s, MESSAGE_LEASE_REVOKE)->lease_revoke.lease = s->book.leases[i].id;
        scheduler_send(s, s->book.leases[i].worker);
    }
}

/* Of an evaluation what counts is whether the scores have come. */
static void end_lease(Scheduler *s, const Lease *lease, bool is_done) {
    for (uint32_t i = 0; i < s->book.n_pieces; i++)
        if (s->book.pieces[i].lease == lease->id && s->book.pieces[i].kind == LEASE_EVALUATION)
            is_done = evaluation_has(s, &s->book.pieces[i]);
    lease_end(&s->book, lease->id, is_done);
}

/* It had no lease when it asked. If we think otherwise a message was lost, or is under way: with the same work once
 * more both cases end in LEASE_END, in a cut soon, because it is revoked until then. */
void leases_on_ask(Scheduler *s, Member *worker) {
    const Lease *lease = lease_of(&s->book, worker->peer);
    if (lease)
        send_lease(s, lease);
    else
        worker->is_asking = true;
}

void leases_on_end(Scheduler *s, Member *worker, const Message *m) {
    const Lease *lease = lease_find(&s->book, m->lease_end.lease);
    if (s->phase != PHASE_EVALUATING)
        s->totals.n_instances += m->lease_end.n_instances;
    worker->figures.lease = worker->figures.n_instances = 0;
    if (lease && lease->worker == worker->peer)
        end_lease(s, lease, m->lease_end.is_done == 1);
}

void leases_take_back(Scheduler *s, const Member *member) {
    const Lease *lease = lease_of(&s->book, member->peer);
    if (lease)
        end_lease(s, lease, false);
}

void leases_expire(Scheduler *s) {
    Lease *lease;
    while ((lease = lease_expired(&s->book, s->clock_ms))) {
        const Member *worker = members_find(s, lease->worker);
        log_warn("%s has made no progress for %d s (cluster.lease_s); its work is given to others", worker->name,
                 s->config->cluster.lease_s);
        scheduler_message(s, MESSAGE_LEASE_REVOKE)->lease_revoke.lease = lease->id;
        scheduler_send(s, lease->worker);
        end_lease(s, lease, false);
    }
}

/* ---- training ------------------------------------------------------------------------------------------------- */

static void add_part(Scheduler *s, Part part) {
    lease_book_add(&s->book, (Piece){.kind = LEASE_PART, .chunk = part.chunk, .part = part.index});
}

/* Every part in the epoch's order. */
static void add_parts(Scheduler *s) {
    const Geometry *g = &s->data.geometry;
    uint32_t n = geometry_parts(g);
    Part *parts = must_alloc(n * sizeof *parts);
    geometry_part_order(g, s->config->train.seed, s->epoch, parts);
    for (uint32_t i = 0; i < n; i++)
        add_part(s, parts[i]);
    free(parts);
}

/* Likewise what servers lack: of a part that they have begun its other steps, in its order. */
static void add_lacking_parts(Scheduler *s) {
    const Geometry *g = &s->data.geometry;
    uint32_t n_parts = geometry_parts(g);
    Part *parts = must_alloc(n_parts * sizeof *parts);
    StepName *steps = must_alloc(((size_t)s->data.n_steps[DOMAIN_A] + s->data.n_steps[DOMAIN_B] + 1) * sizeof *steps);
    geometry_epoch_order(g, s->config->train.seed, s->epoch, parts, steps);
    StepName *at = steps;
    for (uint32_t i = 0; i < n_parts; i++) {
        uint32_t n = 0, length = geometry_part_length(g, parts[i]);
        for (uint32_t j = 0; j < length; j++)
            if (reports_lack(s, at[j].domain, at[j].step))
                at[n++] = at[j];
        if (n == length)
            add_part(s, parts[i]);
        else if (n)
            lease_book_add_steps(&s->book, at, n);
        at += length;
    }
    free(steps);
    free(parts);
}

static void add_all_ranks(Scheduler *s, uint64_t order) {
    s->order = order;
    s->is_order_known = true;
    for (uint32_t rank = 0; rank < s->n_ranks; rank++)
        lease_book_add(&s->book, (Piece){.kind = LEASE_RANKS, .first = rank});
}

void leases_start_epoch(Scheduler *s) {
    lease_book_clear(&s->book);
    if (s->is_sync)
        add_all_ranks(s, 0);
    else
        add_parts(s);
    scheduler_enter(s, PHASE_TRAINING);
}

void leases_resume_epoch(Scheduler *s) {
    lease_book_clear(&s->book);
    if (s->is_sync) /* a server applies steps in their order: what all have is where the one that has least stands */
        add_all_ranks(s, reports_least(s));
    else
        add_lacking_parts(s);
    scheduler_enter(s, PHASE_TRAINING);
}

static uint32_t count_asking(const Scheduler *s) {
    const Member *worker;
    uint32_t n = 0;
    for (uint32_t i = 0; (worker = members_next(s, ROLE_WORKER, &i));)
        n += worker->is_asking;
    return n;
}

/* Neighbouring ranks go to one worker; with more workers than ranks the last ones wait. */
static void deal_ranks(Scheduler *s, uint32_t n_workers) {
    Member *worker;
    uint32_t n = n_workers < s->n_ranks ? n_workers : s->n_ranks, dealt = 0;
    for (uint32_t i = 0; dealt < n && (worker = members_next(s, ROLE_WORKER, &i));) {
        if (!worker->is_asking)
            continue;
        Lease *lease = lease_open(&s->book, worker->peer, s->clock_ms);
        for (uint32_t rank = dealt * s->n_ranks / n; rank < (dealt + 1) * s->n_ranks / n; rank++)
            lease_take(&s->book, lease, &s->book.pieces[rank]);
        worker->is_asking = false;
        dealt++;
        send_lease(s, lease);
    }
    s->is_order_known = false;
}

/* Ranks without a worker, or a worker without ranks while another has several: all stop, and ranks are dealt anew from
 * the step that every server has reached. Once a rank is through its epoch nobody new is needed. */
static bool must_deal_again(const Scheduler *s, uint32_t n_asking) {
    const LeaseBook *b = &s->book;
    bool is_uneven = n_asking && b->n_leases < s->n_ranks && !b->n_of[PIECE_DONE];
    return b->n_of[PIECE_TODO] || is_uneven;
}

static bool train_sync(Scheduler *s) {
    uint32_t n_asking = count_asking(s), n_workers = members_count(s, ROLE_WORKER);
    if (s->is_order_known) {
        if (n_asking && (n_asking == n_workers || scheduler_elapsed_ms(s) >= DEAL_MS))
            deal_ranks(s, n_asking);
        return false;
    }
    if (!must_deal_again(s, n_asking))
        return false;
    cut_begin(s, CUT_DEAL);
    return true;
}

bool leases_training(Scheduler *s) {
    if (s->is_stopping || lease_book_is_done(&s->book)) {
        cut_begin(s, s->is_stopping ? CUT_STOP : CUT_EPOCH);
        return true;
    }
    if (saving_is_due(s)) {
        cut_begin(s, CUT_SNAPSHOT);
        return true;
    }
    if (s->is_sync)
        return train_sync(s);
    leases_grant_all(s);
    return false;
}
