/* A cut: granting stops, leases end, all servers report the same bits and mark. A snapshot in the middle of an epoch
 * then leaves the rest to scheduler_saving.c; an epoch's end and a stop wait for it. The diagram is that of CutStep:
 *
 *   DRAIN -> REPORT --bits differ--> REPAIR (or back to TRAINING) -> REPORT ...
 *              ^ |--bits are equal--> WAIT --nothing is being written--> MARK --all have marked--> SAVE -> on
 *              +------------------------a server refused-------------------+            (or back to TRAINING) */
#include "server/scheduler/scheduler_cut.h"

#include <string.h>

#include "server/scheduler/scheduler_parts.h"

static void enter(Scheduler *s, CutStep step) {
    s->cut.step = step;
    scheduler_ask_at_once(s);
}

static void begin_reports(Scheduler *s) {
    reports_begin(s);
    enter(s, CUT_REPORT);
}

void cut_begin(Scheduler *s, CutReason reason) {
    s->cut.reason = reason;
    scheduler_enter(s, PHASE_CUTTING);
    enter(s, CUT_DRAIN);
}

/* ---- what the reports mean ------------------------------------------------------------------------------------ */

/* What some servers have and others lack; leased in small pieces. */
static void lease_repairs(Scheduler *s) {
    StepName steps[STEPS_OF_PIECE];
    uint32_t n = 0;
    lease_book_clear(&s->book);
    for (uint8_t d = 0; d < N_DOMAINS; d++)
        for (uint32_t step = 0; step < s->data.n_steps[d]; step++) {
            if (!reports_differ(s, d, step))
                continue;
            steps[n++] = (StepName){.step = step, .domain = d};
            if (n == STEPS_OF_PIECE) {
                lease_book_add_steps(&s->book, steps, n);
                n = 0;
            }
        }
    if (n)
        lease_book_add_steps(&s->book, steps, n);
    enter(s, CUT_REPAIR);
}

/* The cut has all it came for. */
static void complete(Scheduler *s) {
    const Saving *saving = &s->saving;
    bool is_saved = saving_is_current(s, reports_count(s, reports_first_server(s)));
    s->evaluation.is_committed = is_saved;
    if (is_saved)
        saving_answer(s);
    if (s->cut.reason == CUT_EPOCH && !s->is_stopping)
        evaluation_begin(s);
    else if (s->cut.reason == CUT_SNAPSHOT && !s->is_stopping)
        leases_resume_epoch(s);
    else if (is_saved)
        scheduler_end(s, s->stop.code, "%.250s in epoch %u; the state is in %.400s", s->stop.sentence, s->epoch,
                      saving->last.dir);
    else
        scheduler_end(s, s->stop.code, "%.250s in epoch %u; no snapshot was written%s%.400s", s->stop.sentence,
                      s->epoch, saving->last.cut ? ", the last one is " : "", saving->last.dir);
}

/* Every server has reported. Rule 5: where the state itself is wanted only steps that some have and others lack are
 * done; else training goes on with all that is lacking. */
static void judge(Scheduler *s) {
    CutState *c = &s->cut;
    uint32_t n_all = s->data.n_steps[DOMAIN_A] + s->data.n_steps[DOMAIN_B];
    bool is_equal = reports_are_equal(s), is_full = is_equal && reports_count(s, reports_first_server(s)) == n_all;
    if (is_equal && !reports_check_t(s))
        return;
    if (c->reason == CUT_RESTORED && !opening_restored(s, is_full))
        return;
    if (is_full)
        c->reason = CUT_EPOCH;
    else if (s->is_stopping)
        c->reason = CUT_STOP;
    if (!is_full && c->reason != CUT_STOP && c->reason != CUT_SNAPSHOT)
        leases_resume_epoch(s);
    else if (!is_equal)
        lease_repairs(s);
    else
        enter(s, CUT_WAIT);
}

/* ---- steps ---------------------------------------------------------------------------------------------------- */

static bool drain(Scheduler *s) {
    if (s->book.n_leases) {
        if (scheduler_asks(s))
            leases_revoke_all(s);
        return false;
    }
    begin_reports(s);
    return true;
}

static bool collect_reports(Scheduler *s) {
    const Member *server, *waited = NULL;
    bool asks = scheduler_asks(s);
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));) {
        if (server->answers.is_reported)
            continue;
        waited = server;
        if (asks)
            reports_ask(s, server);
    }
    if (!waited) {
        judge(s);
        return true;
    }
    if (scheduler_elapsed_ms(s) >= ANSWER_MS)
        scheduler_end(s, ERR_TIMEOUT, "%s at %s has not reported its state within %d s", waited->name, waited->endpoint,
                      ANSWER_MS / 1000);
    return s->phase != PHASE_CUTTING;
}

static bool repair(Scheduler *s) {
    leases_grant_all(s);
    if (!lease_book_is_done(&s->book))
        return false;
    begin_reports(s);
    return true;
}

static bool is_untrained(const Scheduler *s, uint32_t n_done) {
    return s->epoch == 1 && n_done == 0;
}

static bool wait_for_saving(Scheduler *s) {
    uint32_t n_done = reports_count(s, reports_first_server(s));
    if (saving_is_under_way(s))
        return false;
    if (!s->config->snapshot.enabled || s->saving.state == SAVING_LATE || is_untrained(s, n_done) ||
        saving_is_current(s, n_done)) {
        saving_skip(s, n_done);
        complete(s);
    } else {
        saving_begin(s, s->cut.reason == CUT_EPOCH, n_done);
        enter(s, CUT_MARK);
    }
    return true;
}

static void send_resume(Scheduler *s) {
    const Member *server;
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));) {
        MessageRESUME *resume = &scheduler_message(s, MESSAGE_RESUME)->resume;
        resume->cut = s->saving.number;
        resume->map = s->map;
        scheduler_send(s, server->peer);
    }
}

/* Where training can go on it does: also after a refusal, for the next try waits until the others have written. */
static bool wait_for_marks(Scheduler *s) {
    if (saving_marks(s) == MARKS_AWAITED)
        return false;
    send_resume(s);
    if (s->cut.reason == CUT_SNAPSHOT)
        leases_resume_epoch(s);
    else
        enter(s, CUT_SAVE);
    return true;
}

static bool wait_for_commit(Scheduler *s) {
    if (saving_is_under_way(s))
        return false;
    if (s->saving.is_doomed && s->saving.n_refused >= MAX_MARKS)
        scheduler_end(s, ERR_TIMEOUT, "%s", s->saving.failure);
    else if (s->saving.is_doomed)
        begin_reports(s);
    else
        complete(s);
    return true;
}

bool cut_advance(Scheduler *s) {
    static bool (*const STEPS[])(Scheduler * s) = {
        [CUT_DRAIN] = drain,          [CUT_REPORT] = collect_reports, [CUT_REPAIR] = repair,
        [CUT_WAIT] = wait_for_saving, [CUT_MARK] = wait_for_marks,    [CUT_SAVE] = wait_for_commit,
    };
    return STEPS[s->cut.step](s);
}
