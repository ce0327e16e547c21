/* A cut: granting stops, leases end, all servers report the same bits, write their rows at exactly these bits, and the
 * manifest makes it one snapshot. The diagram is that of CutStep:
 *
 *   DRAIN -> REPORT --bits differ--> REPAIR (or back to TRAINING) -> REPORT ...
 *              ^ |--bits are equal--> MARK --all written--> COMMIT -> on (RESUME)
 *              +-----a server refused-----+ */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/losses.h"
#include "server/scheduler_parts.h"

static void enter(Scheduler *s, CutStep step) {
    s->cut.step = step;
    scheduler_ask_at_once(s);
}

static void begin_reports(Scheduler *s) {
    Member *server;
    s->cut.round++;
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));) {
        ServerAnswers *a = &server->answers;
        a->is_reported = a->is_marked = a->is_refused = a->is_written = a->has_failed = false;
    }
    enter(s, CUT_REPORT);
}

void cut_begin(Scheduler *s, CutReason reason) {
    s->cut.reason = reason;
    s->cut.n_marks = 0;
    s->cut.is_committed = false;
    scheduler_enter(s, PHASE_CUTTING);
    enter(s, CUT_DRAIN);
}

/* ---- messages ------------------------------------------------------------------------------------------------- */

void cut_ask_report(Scheduler *s, const Member *server) {
    Message *m = scheduler_message(s, MESSAGE_REPORT_ASK);
    m->sequence = s->cut.round;
    m->report_ask.epoch = s->epoch;
    scheduler_send(s, server->peer);
}

/* Sums of a stats row: frame 2 holds keys, frame 3 as many rows of SCHEMA_STATS_WIDTH values. */
static void take_losses(const Scheduler *s, ServerAnswers *a, Message *m) {
    size_t key_bytes, value_bytes;
    const uint64_t *keys = message_bytes(m, 2, 1, &key_bytes);
    const float *values = message_bytes(m, 3, 1, &value_bytes);
    memset(a->loss, 0, sizeof a->loss);
    for (int d = 0; d < N_DOMAINS; d++) {
        int tensor = losses_tensor(&s->data.schema, d);
        if (tensor < 0)
            continue;
        const Tensor *t = &s->data.schema.tensors[tensor];
        for (size_t i = 0; i < key_bytes / sizeof *keys; i++)
            if (keys[i] == key_of(t->table, t->first_row))
                for (int sum = 0; sum < LOSS_N; sum++)
                    a->loss[d][sum] = (double)values[i * SCHEMA_STATS_WIDTH + (size_t)sum];
    }
}

static Err check_report(const Scheduler *s, const Message *m) {
    for (int d = 0; d < N_DOMAINS && m->n_frames == 4; d++)
        if (m->frames[d].size_bytes != bitmap_bytes(s->data.n_steps[d]))
            return err_fail(ERR_PROTOCOL, "a report has %zu bytes of bits of domain %c, %u were expected",
                            m->frames[d].size_bytes, 'A' + d, bitmap_bytes(s->data.n_steps[d]));
    if (m->n_frames != 4 || m->frames[2].size_bytes % sizeof(uint64_t) ||
        m->frames[3].size_bytes != m->frames[2].size_bytes / sizeof(uint64_t) * SCHEMA_STATS_WIDTH * sizeof(float))
        return err_fail(ERR_PROTOCOL, "a report has %d frames, or sums that do not fit their keys", m->n_frames);
    return OK;
}

void cut_on_report(Scheduler *s, Member *server, Message *m) {
    ServerAnswers *a = &server->answers;
    bool is_wanted = s->phase == PHASE_TRAINING || (s->phase == PHASE_CUTTING && s->cut.step == CUT_REPORT &&
                                                    m->sequence == s->cut.round && !a->is_reported);
    if (!is_wanted || m->report.epoch != s->epoch || m->report.map != s->map) /* late */
        return;
    if (check_report(s, m)) {
        members_drop(s, server, ERR_PROTOCOL, err_message());
        return;
    }
    for (int d = 0; d < N_DOMAINS; d++) {
        size_t size = m->frames[d].size_bytes;
        a->bitmap[d] = must_realloc(a->bitmap[d], size + 1);
        memcpy(a->bitmap[d], m->frames[d].data, size);
    }
    a->t[DOMAIN_A] = m->report.t_a;
    a->t[DOMAIN_B] = m->report.t_b;
    a->is_reported = true;
    a->report_epoch = s->epoch;
    take_losses(s, a, m);
}

void cut_on_marked(Scheduler *s, Member *server, const Message *m) {
    if (s->phase != PHASE_CUTTING || s->cut.step != CUT_MARK || m->marked.cut != s->cut.number ||
        server->answers.is_marked)
        return;
    if (m->marked.is_ok == 1)
        server->answers.is_marked = true;
    else
        server->answers.is_refused = true;
}

void cut_on_written(Scheduler *s, Member *server, Message *m) {
    ServerAnswers *a = &server->answers;
    if (s->phase != PHASE_CUTTING || s->cut.step != CUT_MARK || m->written.cut != s->cut.number || a->is_written)
        return;
    a->is_written = a->is_marked = true;
    a->has_failed = m->written.is_ok != 1;
    free(a->files);
    a->files = NULL;
    if (a->has_failed) {
        log_warn("%s could not write its part of the snapshot %s, training goes on without it: %s", server->name,
                 s->cut.dir, m->written.text);
        return;
    }
    size_t size;
    const char *text = m->n_frames ? message_bytes(m, 0, m->n_frames, &size) : (size = 0, "");
    a->files = must_alloc(size + 1);
    memcpy(a->files, text, size);
    a->files[size] = 0;
}

static void send_resume(Scheduler *s) {
    const Member *server;
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));) {
        MessageRESUME *resume = &scheduler_message(s, MESSAGE_RESUME)->resume;
        resume->cut = s->cut.number;
        resume->map = s->map;
        scheduler_send(s, server->peer);
    }
}

static void send_marks(Scheduler *s) {
    const Member *server;
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));) {
        Message *m = scheduler_message(s, MESSAGE_MARK);
        m->mark.cut = s->cut.number;
        m->mark.epoch = s->epoch;
        m->mark.map = s->map;
        snprintf(m->mark.dir, sizeof m->mark.dir, "%s", s->cut.dir);
        for (int d = 0; d < N_DOMAINS; d++)
            message_add_bytes(m, server->answers.bitmap[d], bitmap_bytes(s->data.n_steps[d]));
        scheduler_send(s, server->peer);
    }
}

/* ---- what the reports mean ------------------------------------------------------------------------------------ */

static const Member *first_server(const Scheduler *s) {
    uint32_t i = 0;
    return members_next(s, ROLE_SERVER, &i);
}

static bool bits_are_equal(const Scheduler *s) {
    const Member *first = first_server(s), *server;
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));)
        for (int d = 0; d < N_DOMAINS; d++)
            if (memcmp(server->answers.bitmap[d], first->answers.bitmap[d], bitmap_bytes(s->data.n_steps[d])))
                return false;
    return true;
}

static uint32_t count_bits(const Scheduler *s, const Member *server) {
    return bitmap_count(server->answers.bitmap[DOMAIN_A], s->data.n_steps[DOMAIN_A]) +
           bitmap_count(server->answers.bitmap[DOMAIN_B], s->data.n_steps[DOMAIN_B]);
}

/* Equal bits mean as many updates: a server that counted otherwise has applied a step twice, or not at all. */
static bool check_t(Scheduler *s) {
    const Member *first = first_server(s), *server;
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));)
        for (int d = 0; d < N_DOMAINS; d++)
            if (server->answers.t[d] != first->answers.t[d]) {
                scheduler_end(s, ERR_PROTOCOL,
                              "%s has applied %" PRIu64 " steps of domain %c, %s %" PRIu64
                              ": the tables are not in one state",
                              server->name, server->answers.t[d], 'A' + d, first->name, first->answers.t[d]);
                return false;
            }
    return true;
}

/* Pairs (domain, step) of what some servers have and others lack; leased in small pieces. */
static void lease_repairs(Scheduler *s) {
    const Member *server;
    CutState *c = &s->cut;
    uint32_t n = 0;
    lease_book_clear(&s->book);
    free(c->steps);
    c->steps = must_alloc(2 * sizeof *c->steps * ((size_t)s->data.n_steps[DOMAIN_A] + s->data.n_steps[DOMAIN_B] + 1));
    for (uint32_t d = 0; d < N_DOMAINS; d++)
        for (uint32_t step = 0; step < s->data.n_steps[d]; step++) {
            uint32_t n_have = 0, n_servers = 0;
            for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i)); n_servers++)
                n_have += bitmap_get(server->answers.bitmap[d], step);
            if (n_have == 0 || n_have == n_servers)
                continue;
            c->steps[2 * n] = d;
            c->steps[2 * n++ + 1] = step;
        }
    for (uint32_t first = 0; first < n; first += STEPS_OF_PIECE)
        lease_book_add(
            &s->book,
            (Piece){.kind = LEASE_STEPS, .first = first, .n = n - first < STEPS_OF_PIECE ? n - first : STEPS_OF_PIECE});
    enter(s, CUT_REPAIR);
}

/* The cut has all it came for. */
static void complete(Scheduler *s) {
    const CutState *c = &s->cut;
    bool is_saved = c->is_committed && !c->commit_result;
    if (c->n_marks)
        send_resume(s);
    s->evaluation.is_committed = is_saved;
    if (c->reason == CUT_EPOCH && !s->is_stopping)
        evaluation_begin(s);
    else if (is_saved)
        scheduler_end(s, ERR_STOPPED, "stopped as asked in epoch %u; the state is in %s", s->epoch, c->dir);
    else
        scheduler_end(s, ERR_STOPPED, "stopped as asked in epoch %u; no snapshot was written", s->epoch);
}

static void begin_marks(Scheduler *s) {
    CutState *c = &s->cut;
    if (++c->n_marks > MAX_MARKS) {
        scheduler_end(s, ERR_TIMEOUT, "the servers did not come to one state in %d tries", MAX_MARKS);
        return;
    }
    c->number++;
    int n = snprintf(c->dir, sizeof c->dir, "%s/snapshots/epoch-%04u", s->config->run_dir, s->epoch);
    if (c->reason == CUT_STOP)
        snprintf(c->dir + n, sizeof c->dir - (size_t)n, "-step-%06u", count_bits(s, first_server(s)));
    enter(s, CUT_MARK);
    send_marks(s);
}

/* Every server has reported. Rule 5: in a stop's cut only steps that some have and others lack are done; else training
 * goes on with all that is lacking. */
static void judge(Scheduler *s) {
    CutState *c = &s->cut;
    uint32_t n_all = s->data.n_steps[DOMAIN_A] + s->data.n_steps[DOMAIN_B], n_first = count_bits(s, first_server(s));
    bool is_equal = bits_are_equal(s), is_full = is_equal && n_first == n_all;
    if (is_equal && !check_t(s))
        return;
    if (is_full)
        c->reason = CUT_EPOCH;
    else if (s->is_stopping)
        c->reason = CUT_STOP;
    if (!is_full && c->reason != CUT_STOP)
        leases_resume_epoch(s);
    else if (!is_equal)
        lease_repairs(s);
    else if (!s->config->snapshot.enabled || n_first == 0)
        complete(s);
    else
        begin_marks(s);
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
            cut_ask_report(s, server);
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

static void commit(Scheduler *s) {
    CutState *c = &s->cut;
    const Member *first = first_server(s), *server;
    uint32_t n = 0;
    c->files = must_realloc(c->files, sizeof *c->files * (size_t)s->config->cluster.servers);
    for (uint32_t rank = 0; rank < (uint32_t)s->config->cluster.servers; rank++)
        for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));)
            if (server->rank == rank)
                c->files[n++] = server->answers.files;
    SnapshotFacts facts = {.epoch = s->epoch,
                           .cut = c->number,
                           .is_epoch_end = c->reason == CUT_EPOCH,
                           .dir = c->dir,
                           .n_servers = n,
                           .files = c->files,
                           .slot_map = s->slots,
                           .manifest = s->data.manifest};
    for (int d = 0; d < N_DOMAINS; d++) {
        facts.bitmaps[d] = first->answers.bitmap[d];
        facts.n_steps[d] = s->data.n_steps[d];
        facts.t[d] = first->answers.t[d];
    }
    c->is_committing = true;
    enter(s, CUT_COMMIT);
    s->env.commit(s->env.ctx, &facts);
}

/* All have written: commit. A server refused: its bits moved; once the others are through, all over again. */
static bool collect_files(Scheduler *s) {
    const Member *server, *waited = NULL;
    bool is_refused = false, has_failed = false;
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));) {
        is_refused = is_refused || server->answers.is_refused;
        has_failed = has_failed || server->answers.has_failed;
        if (!server->answers.is_refused && !server->answers.is_written)
            waited = server;
    }
    if (!waited && is_refused) {
        send_resume(s);
        begin_reports(s);
    } else if (!waited && has_failed)
        complete(s);
    else if (!waited)
        commit(s);
    else if (scheduler_elapsed_ms(s) >= (waited->answers.is_marked ? WRITE_MS : ANSWER_MS))
        scheduler_end(s, ERR_TIMEOUT, "%s at %s has not written its part of the snapshot in time", waited->name,
                      waited->endpoint);
    return !waited || s->phase != PHASE_CUTTING;
}

static bool wait_for_commit(Scheduler *s) {
    if (!s->cut.is_committed)
        return false;
    complete(s);
    return true;
}

bool cut_advance(Scheduler *s) {
    static bool (*const STEPS[])(Scheduler * s) = {
        [CUT_DRAIN] = drain,        [CUT_REPORT] = collect_reports, [CUT_REPAIR] = repair,
        [CUT_MARK] = collect_files, [CUT_COMMIT] = wait_for_commit,
    };
    return STEPS[s->cut.step](s);
}

bool cut_has_report(const Scheduler *s, const Member *server) {
    return s->epoch && server->answers.report_epoch == s->epoch;
}

void cut_losses(const Scheduler *s, EpochResult *out) {
    const Member *server;
    double sums[N_DOMAINS][LOSS_N] = {{0}};
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));)
        for (int d = 0; d < N_DOMAINS && cut_has_report(s, server); d++)
            for (int sum = 0; sum < LOSS_N; sum++)
                sums[d][sum] += server->answers.loss[d][sum];
    for (int d = 0; d < N_DOMAINS; d++) {
        double n = sums[d][LOSS_STEPS] > 0 ? sums[d][LOSS_STEPS] : 1;
        out->data_loss[d] = sums[d][LOSS_DATA] / n;
        out->regulariser[d] = sums[d][LOSS_REGULARISER] / n;
        out->watch[d] = sums[d][LOSS_WATCH] / n;
        out->n_steps[d] = s->data.n_steps[d];
    }
}

void cut_free(Scheduler *s) {
    free(s->cut.steps);
    free(s->cut.files);
}
