/* The evaluation pass: validation pieces are leased, scores come in any order from anybody and are put in the order of
 * the batches, ranked off the loop's thread, and judged. Where a domain has improved its test split follows. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "server/scheduler/scheduler_parts.h"

static Sheet *sheet_of(Scheduler *s, int domain, int split) {
    return &s->evaluation.sheets[domain][split];
}

static void free_sheet(Sheet *sheet) {
    free(sheet->scores);
    free(sheet->users);
    free(sheet->received);
    free(sheet->first_instance);
    *sheet = (Sheet){0};
}

/* Sizes follow from the data set; a domain may have nothing to evaluate. */
static void open_sheet(Scheduler *s, int domain, Split split) {
    const Geometry *g = &s->data.geometry;
    Sheet *sheet = sheet_of(s, domain, split);
    free_sheet(sheet);
    sheet->first_instance = must_calloc((size_t)g->n_chunks + 1, sizeof *sheet->first_instance);
    for (uint32_t chunk = 0; chunk < g->n_chunks; chunk++) {
        sheet->first_instance[chunk] = sheet->n;
        sheet->n += g->counts[chunk].n[domain][split];
        if (geometry_chunk_steps(g, chunk, domain, split))
            lease_book_add(
                &s->book,
                (Piece){.kind = LEASE_EVALUATION, .chunk = chunk, .domain = (uint8_t)domain, .split = (uint8_t)split});
    }
    sheet->n_steps = geometry_steps(g, domain, split);
    sheet->scores = must_alloc(sizeof *sheet->scores * RANKING_CANDIDATES * ((size_t)sheet->n + 1));
    sheet->users = must_alloc(sizeof *sheet->users * ((size_t)sheet->n + 1));
    sheet->received = must_calloc(bitmap_bytes(sheet->n_steps) + 1, 1);
    sheet->state = SHEET_SCORING;
}

void evaluation_begin(Scheduler *s) {
    Evaluation *e = &s->evaluation;
    e->pass++;
    e->is_complete = false;
    e->standing_before = e->standing;
    e->result = (EpochResult){.epoch = s->epoch};
    reports_losses(s, &e->result);
    lease_book_clear(&s->book);
    for (int d = 0; d < N_DOMAINS; d++) {
        e->is_judged[d] = false;
        free_sheet(sheet_of(s, d, SPLIT_TEST));
        open_sheet(s, d, SPLIT_VALID);
    }
    scheduler_enter(s, PHASE_EVALUATING);
}

/* ---- SCORES --------------------------------------------------------------------------------------------------- */

/* Everything about a batch but its numbers is known before: what does not fit is a fault. */
static Err check_scores(const Scheduler *s, const Sheet *sheet, Message *m, const uint32_t **users,
                        const float **scores) {
    const MessageSCORES *h = &m->scores;
    uint32_t chunk, first, n;
    if (h->step >= sheet->n_steps)
        return err_fail(ERR_PROTOCOL, "scores of batch %" PRIu64 " of %u", h->step, sheet->n_steps);
    geometry_step_range(&s->data.geometry, (int)h->domain, (Split)h->split, (uint32_t)h->step, &chunk, &first, &n);
    if (h->n != n || h->n_candidates != RANKING_CANDIDATES)
        return err_fail(ERR_PROTOCOL,
                        "scores of %" PRIu64 " instances with %" PRIu64 " candidates, %u with %d were expected", h->n,
                        h->n_candidates, n, RANKING_CANDIDATES);
    size_t user_bytes = n * sizeof **users, score_bytes = user_bytes * RANKING_CANDIDATES;
    int n_user_frames = (int)((user_bytes + MESSAGE_FRAME_BYTES - 1) / MESSAGE_FRAME_BYTES);
    if (m->n_frames <= n_user_frames)
        return err_fail(ERR_PROTOCOL, "scores of %u instances in %d frames", n, m->n_frames);
    size_t got_users, got_scores;
    *users = message_bytes(m, 0, n_user_frames, &got_users);
    *scores = message_bytes(m, n_user_frames, m->n_frames - n_user_frames, &got_scores);
    if (got_users != user_bytes || got_scores != score_bytes)
        return err_fail(ERR_PROTOCOL, "%zu bytes of users and %zu of scores for %u instances", got_users, got_scores,
                        n);
    for (uint32_t i = 0; i < n; i++)
        if ((*users)[i] >= s->data.info.n_users)
            return err_fail(ERR_PROTOCOL, "scores of user %u of %u", (*users)[i], s->data.info.n_users);
    return OK;
}

static void take_scores(Scheduler *s, Sheet *sheet, const MessageSCORES *h, const uint32_t *users,
                        const float *scores) {
    uint32_t chunk, first, n;
    geometry_step_range(&s->data.geometry, (int)h->domain, (Split)h->split, (uint32_t)h->step, &chunk, &first, &n);
    size_t at = (size_t)sheet->first_instance[chunk] + first;
    memcpy(sheet->users + at, users, n * sizeof *users);
    memcpy(sheet->scores + at * RANKING_CANDIDATES, scores, (size_t)n * RANKING_CANDIDATES * sizeof *scores);
    bitmap_set(sheet->received, (uint32_t)h->step);
    sheet->n_received++;
}

/* Of another pass, of a batch that is there already: passed over. The same batch has the same scores, whoever sends it.
 */
void evaluation_on_scores(Scheduler *s, Member *worker, Message *m) {
    const MessageSCORES *h = &m->scores;
    const uint32_t *users = NULL;
    const float *scores = NULL;
    if (s->phase != PHASE_EVALUATING || h->epoch != s->epoch || h->pass != s->evaluation.pass)
        return;
    if (h->domain >= N_DOMAINS || (h->split != SPLIT_VALID && h->split != SPLIT_TEST)) {
        members_drop(s, worker, ERR_PROTOCOL, "scores of a domain or split that does not exist");
        return;
    }
    Sheet *sheet = sheet_of(s, (int)h->domain, (int)h->split);
    if (sheet->state != SHEET_SCORING)
        return;
    if (check_scores(s, sheet, m, &users, &scores)) {
        members_drop(s, worker, ERR_PROTOCOL, err_message());
        return;
    }
    lease_progress(&s->book, h->lease, h->step + 1, s->clock_ms);
    if (bitmap_get(sheet->received, (uint32_t)h->step))
        return;
    if (!ranking_are_finite(scores, h->n * RANKING_CANDIDATES)) {
        scheduler_end(s, ERR_FAILED,
                      "the model has diverged: after epoch %u scores of domain %c are not finite; try a "
                      "smaller optimizer.lr",
                      s->epoch, 'A' + (int)h->domain);
        return;
    }
    take_scores(s, sheet, h, users, scores);
}

bool evaluation_has(const Scheduler *s, const Piece *piece) {
    const Sheet *sheet = &s->evaluation.sheets[piece->domain][piece->split];
    const uint32_t *first = s->data.geometry.first_step[piece->domain][piece->split];
    if (sheet->state != SHEET_SCORING)
        return true;
    for (uint32_t step = first[piece->chunk]; step < first[piece->chunk + 1]; step++)
        if (!bitmap_get(sheet->received, step))
            return false;
    return true;
}

/* ---- metrics -------------------------------------------------------------------------------------------------- */

/* All scores are there: have them ranked. Nothing to rank: nothing scored. */
static bool rank_sheet(Scheduler *s, int domain, Split split) {
    Sheet *sheet = sheet_of(s, domain, split);
    if (sheet->state != SHEET_SCORING || sheet->n_received < sheet->n_steps)
        return false;
    if (sheet->n == 0) {
        sheet->state = SHEET_RANKED;
        return true;
    }
    sheet->state = SHEET_RANKING;
    sheet->job = (RankJob){domain, split, sheet->n, RANKING_CANDIDATES, sheet->scores, sheet->users};
    s->env.rank(s->env.ctx, &sheet->job);
    return true;
}

static void judge_domain(Scheduler *s, int domain) {
    Evaluation *e = &s->evaluation;
    EpochResult *r = &e->result;
    Standing *standing = &e->standing;
    double wauc = r->is_scored[domain][SPLIT_VALID] ? r->metrics[domain][SPLIT_VALID].wauc : -1;
    e->is_judged[domain] = true;
    if (wauc > standing->best_wauc[domain]) {
        standing->best_wauc[domain] = wauc;
        standing->best_epoch[domain] = s->epoch;
        standing->stale[domain] = 0;
        r->is_best[domain] = true;
        open_sheet(s, domain, SPLIT_TEST);
    } else
        standing->stale[domain]++;
    r->best_epoch[domain] = standing->best_epoch[domain];
    r->stale[domain] = standing->stale[domain];
}

static bool is_ranked(Scheduler *s, int domain) {
    const Sheet *test = sheet_of(s, domain, SPLIT_TEST);
    return s->evaluation.is_judged[domain] && (test->state == SHEET_UNUSED || test->state == SHEET_RANKED);
}

bool evaluation_advance(Scheduler *s) {
    Evaluation *e = &s->evaluation;
    bool has_moved = false;
    for (int d = 0; d < N_DOMAINS; d++) {
        has_moved |= rank_sheet(s, d, SPLIT_VALID);
        has_moved |= rank_sheet(s, d, SPLIT_TEST);
        if (!e->is_judged[d] && sheet_of(s, d, SPLIT_VALID)->state == SHEET_RANKED) {
            judge_domain(s, d);
            has_moved = true;
        }
    }
    e->is_complete = is_ranked(s, DOMAIN_A) && is_ranked(s, DOMAIN_B) && !s->book.n_leases;
    if (!e->is_complete)
        leases_grant_all(s);
    return has_moved;
}

void evaluation_free(Scheduler *s) {
    for (int d = 0; d < N_DOMAINS; d++)
        for (int split = 0; split < N_SPLITS; split++)
            free_sheet(sheet_of(s, d, split));
}
