/* JOINING and OPENING: everybody comes, servers take the view and load the snapshot if there is one, epochs begin.
 *
 * A run that is resumed does not open its first epoch: servers have it open once they have loaded the snapshot. They
 * report, and what they lack is leased; where they lack nothing, its evaluation or the next epoch comes next. */
#include "server/scheduler/scheduler_opening.h"

#include <inttypes.h>
#include <string.h>

#include "common/log.h"
#include "server/scheduler/scheduler_parts.h"

static bool is_resumed(const Scheduler *s) {
    return s->start.restore == RESTORE_RESUME;
}

uint64_t opening_seed(const Scheduler *s) {
    return s->start.restore ? s->start.seed : s->config->train.seed;
}

Err opening_check_data(const Scheduler *s) {
    const SchedulerStart *start = &s->start;
    if (!is_resumed(s))
        return OK;
    if (start->data != s->data.info.fingerprint)
        return err_fail(ERR_DATA,
                        "the snapshot %.250s is of data set %016" PRIx64 ", the workers read %016" PRIx64
                        ": a run is resumed on its own data set; --init starts from its rows on another one",
                        start->dir, start->data, s->data.info.fingerprint);
    for (int d = 0; d < N_DOMAINS; d++)
        if (start->n_steps[d] != s->data.n_steps[d])
            return err_fail(ERR_DATA,
                            "the snapshot %.250s counts %u steps of domain %c in an epoch, this run %u: "
                            "train.batch, train.ranks or the chunks are not the same",
                            start->dir, start->n_steps[d], 'A' + d, s->data.n_steps[d]);
    return OK;
}

/* ---- which epoch comes next ----------------------------------------------------------------------------------- */

static bool is_stale(const Scheduler *s) {
    bool is_stale = true;
    for (int d = 0; d < N_DOMAINS; d++)
        is_stale = is_stale && s->evaluation.standing.stale[d] >= (uint32_t)s->config->train.patience;
    return is_stale;
}

void opening_next(Scheduler *s) {
    if (is_stale(s))
        scheduler_end(s, OK, "complete: no better validation WAUC in either domain for %d epochs",
                      s->config->train.patience);
    else if (s->epoch >= (uint32_t)s->config->train.epochs)
        scheduler_end(s, OK, "complete: %u epochs", s->epoch);
    else {
        s->epoch++;
        scheduler_enter(s, PHASE_OPENING);
    }
}

/* ---- JOINING -------------------------------------------------------------------------------------------------- */

/* The slots are dealt to the servers like cards: with S servers every server has 4096 / S of them. */
static void deal_slots(Scheduler *s) {
    for (uint32_t slot = 0; slot < N_SLOTS; slot++)
        s->slots[slot] = (uint16_t)(slot % (uint32_t)s->config->cluster.servers);
    s->map = 1;
}

/* The snapshot is that of a run which had come to its end. */
static bool has_nothing_left(Scheduler *s) {
    const SchedulerStart *start = &s->start;
    if (!is_resumed(s) || !start->is_evaluated || (start->epoch < (uint32_t)s->config->train.epochs && !is_stale(s)))
        return false;
    if (is_stale(s))
        scheduler_end(s, OK,
                      "nothing is left to train: up to epoch %u, that of %.250s, validation WAUC had not improved for "
                      "%d epochs (train.patience)",
                      start->epoch, start->dir, s->config->train.patience);
    else
        scheduler_end(s, OK, "nothing is left to train: %.250s is of epoch %u of at most %d (train.epochs)", start->dir,
                      start->epoch, s->config->train.epochs);
    return true;
}

static void begin(Scheduler *s) {
    if (!s->config->snapshot.enabled)
        log_warn("snapshots are off (snapshot.enabled): what is trained is lost when the run ends");
    deal_slots(s);
    saving_start(s);
    if (!is_resumed(s))
        opening_next(s);
    else {
        s->epoch = s->start.epoch;
        scheduler_enter(s, PHASE_OPENING);
    }
}

bool opening_joining(Scheduler *s) {
    char missing[MESSAGE_TEXT];
    if (has_nothing_left(s))
        return true;
    if (s->is_stopping) {
        scheduler_end(s, s->stop.code, "%s, before the training began", s->stop.sentence);
        return true;
    }
    if (members_complete(s)) {
        begin(s);
        return true;
    }
    if (scheduler_elapsed_ms(s) < (uint64_t)s->config->cluster.join_s * 1000)
        return false;
    members_missing(s, missing, sizeof missing);
    scheduler_end(s, ERR_TIMEOUT, "waited %d s (cluster.join_s) for everybody to join: %s came",
                  s->config->cluster.join_s, missing);
    return true;
}

/* ---- OPENING -------------------------------------------------------------------------------------------------- */

/* It serves, and has the epoch open. */
static bool is_open(const Scheduler *s, const Member *server) {
    bool has_loaded_it = is_resumed(s) && s->epoch == s->start.epoch;
    return server->answers.is_ready && (has_loaded_it || server->answers.epoch == s->epoch);
}

static void ask_to_open(Scheduler *s, const Member *server) {
    if (!server->answers.is_ready) {
        members_send_view(s, server);
        return;
    }
    MessageEPOCH_OPEN *open = &scheduler_message(s, MESSAGE_EPOCH_OPEN)->epoch_open;
    open->epoch = s->epoch;
    open->steps_a = s->data.n_steps[DOMAIN_A];
    open->steps_b = s->data.n_steps[DOMAIN_B];
    scheduler_send(s, server->peer);
}

/* Workers dial servers that answer: only now. */
static void send_views(Scheduler *s) {
    const Member *m;
    for (uint32_t i = 0; (m = members_next(s, ROLE_SERVER, &i));)
        if (!m->answers.is_ready)
            return;
    s->is_viewed = true;
    for (uint32_t i = 0; (m = members_next(s, ROLE_WORKER, &i));)
        members_send_view(s, m);
}

void opening_on_ready(Scheduler *s, Member *server, Message *m) {
    if (m->ready.map != s->map || !s->map || server->answers.is_ready)
        return;
    server->answers.is_ready = true;
    s->phase_ms = s->clock_ms; /* what it is asked now has a time of its own */
    if (!is_open(s, server))
        ask_to_open(s, server);
    send_views(s);
}

void opening_on_opened(Scheduler *s, Member *server, Message *m) {
    (void)s;
    server->answers.epoch = (uint32_t)m->epoch_opened.epoch;
}

static void check_time(Scheduler *s, const Member *waited) {
    bool is_loading = s->start.restore && !waited->answers.is_ready;
    if (scheduler_elapsed_ms(s) < (is_loading ? WRITE_MS : ANSWER_MS))
        return;
    if (is_loading)
        scheduler_end(s, ERR_TIMEOUT, "%s at %s has not loaded its rows of %.200s within %d minutes", waited->name,
                      waited->endpoint, s->start.dir, WRITE_MS / 60000);
    else
        scheduler_end(s, ERR_TIMEOUT, "%s at %s has not opened epoch %u within %d s", waited->name, waited->endpoint,
                      s->epoch, ANSWER_MS / 1000);
}

/* The epoch before could not be saved: a stop then has this one opened, and saves the state before its first step. */
static bool is_unsaved(const Scheduler *s) {
    bool is_loading = is_resumed(s) && s->epoch == s->start.epoch;
    return s->config->snapshot.enabled && s->epoch > 1 && !is_loading && !saving_is_current(s, 0);
}

static void stop(Scheduler *s) {
    const SavedState *last = &s->saving.last;
    scheduler_end(s, s->stop.code, "%.250s, before epoch %u began%s%.400s", s->stop.sentence, s->epoch,
                  last->cut ? "; the state is in " : "", last->dir);
}

bool opening_advance(Scheduler *s) {
    const Member *server, *waited = NULL;
    if (s->is_stopping && !is_unsaved(s)) {
        stop(s);
        return true;
    }
    bool asks = scheduler_asks(s);
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));) {
        if (is_open(s, server))
            continue;
        waited = server;
        if (asks)
            ask_to_open(s, server);
    }
    if (waited) {
        check_time(s, waited);
        return s->phase != PHASE_OPENING;
    }
    if (is_resumed(s) && s->epoch == s->start.epoch)
        cut_begin(s, CUT_RESTORED);
    else
        leases_start_epoch(s);
    return true;
}

/* ---- after the servers have loaded ----------------------------------------------------------------------------- */

bool opening_restored(Scheduler *s, bool is_full) {
    if (s->start.is_evaluated && !is_full) {
        scheduler_end(s, ERR_CORRUPT, "epoch %u was evaluated, but of %.300s not all of its steps were restored",
                      s->epoch, s->start.dir);
        return false;
    }
    saving_restored(s, is_full);
    if (!s->start.is_evaluated)
        return true;
    opening_next(s);
    return false;
}
