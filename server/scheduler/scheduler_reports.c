/* REPORT: the bits, t and sums of every server, as they were at one moment. */
#include "server/scheduler/scheduler_reports.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/losses.h"
#include "server/scheduler/scheduler_parts.h"

void reports_begin(Scheduler *s) {
    Member *server;
    s->cut.round++;
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));)
        server->answers.is_reported = false;
}

void reports_ask(Scheduler *s, const Member *server) {
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

enum { FRAME_BEGUN = 4 }; /* behind bits and sums, where there are groups */

static int expected_frames(const Scheduler *s) {
    return s->config->dense.push > 1 ? FRAME_BEGUN + N_DOMAINS : FRAME_BEGUN;
}

static Err check_bits(const Scheduler *s, const Message *m, int first) {
    for (int d = 0; d < N_DOMAINS; d++)
        if (m->frames[first + d].size_bytes != bitmap_bytes(s->data.n_steps[d]))
            return err_fail(ERR_PROTOCOL, "a report has %zu bytes of bits of domain %c, %u were expected",
                            m->frames[first + d].size_bytes, 'A' + d, bitmap_bytes(s->data.n_steps[d]));
    return OK;
}

static Err check_report(const Scheduler *s, const Message *m) {
    int n_frames = expected_frames(s);
    Err err = m->n_frames == n_frames ? check_bits(s, m, 0) : OK;
    if (!err && m->n_frames == n_frames && n_frames > FRAME_BEGUN)
        err = check_bits(s, m, FRAME_BEGUN);
    if (err)
        return err;
    if (m->n_frames != n_frames || m->frames[2].size_bytes % sizeof(uint64_t) ||
        m->frames[3].size_bytes != m->frames[2].size_bytes / sizeof(uint64_t) * SCHEMA_STATS_WIDTH * sizeof(float))
        return err_fail(ERR_PROTOCOL, "a report has %d frames, or sums that do not fit their keys", m->n_frames);
    return OK;
}

static void keep_bits(uint8_t *kept[N_DOMAINS], const Message *m, int first) {
    for (int d = 0; d < N_DOMAINS; d++) {
        size_t size = m->frames[first + d].size_bytes;
        kept[d] = must_realloc(kept[d], size + 1);
        memcpy(kept[d], m->frames[first + d].data, size);
    }
}

void reports_on_report(Scheduler *s, Member *server, Message *m) {
    ServerAnswers *a = &server->answers;
    bool is_wanted = s->phase == PHASE_TRAINING || (s->phase == PHASE_CUTTING && s->cut.step == CUT_REPORT &&
                                                    m->sequence == s->cut.round && !a->is_reported);
    if (!is_wanted || m->report.epoch != s->epoch || m->report.map != s->map) /* late */
        return;
    if (check_report(s, m)) {
        members_drop(s, server, ERR_PROTOCOL, err_message());
        return;
    }
    keep_bits(a->bitmap, m, 0);
    if (m->n_frames > FRAME_BEGUN)
        keep_bits(a->begun, m, FRAME_BEGUN);
    a->t[DOMAIN_A] = m->report.t_a;
    a->t[DOMAIN_B] = m->report.t_b;
    a->is_reported = true;
    a->report_epoch = s->epoch;
    take_losses(s, a, m);
}

/* ---- what they say together ----------------------------------------------------------------------------------- */

const Member *reports_first_server(const Scheduler *s) {
    uint32_t i = 0;
    return members_next(s, ROLE_SERVER, &i);
}

bool reports_has(const Scheduler *s, const Member *server) {
    return s->epoch && server->answers.report_epoch == s->epoch;
}

/* Nor is a step begun anywhere whose group is not applied: its tables hold what no bitmap tells. */
bool reports_are_equal(const Scheduler *s) {
    const Member *first = reports_first_server(s), *server;
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));)
        for (int d = 0; d < N_DOMAINS; d++) {
            const ServerAnswers *a = &server->answers;
            size_t size = bitmap_bytes(s->data.n_steps[d]);
            if (memcmp(a->bitmap[d], first->answers.bitmap[d], size) ||
                (a->begun[d] && memcmp(a->begun[d], a->bitmap[d], size)))
                return false;
        }
    return true;
}

bool reports_check_t(Scheduler *s) {
    const Member *first = reports_first_server(s), *server;
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

uint32_t reports_count(const Scheduler *s, const Member *server) {
    uint32_t n = 0;
    for (int d = 0; d < N_DOMAINS && reports_has(s, server); d++)
        n += bitmap_count(server->answers.bitmap[d], s->data.n_steps[d]);
    return n;
}

uint32_t reports_least(const Scheduler *s) {
    const Member *server;
    uint32_t least = s->data.n_steps[DOMAIN_A] + s->data.n_steps[DOMAIN_B];
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));) {
        uint32_t n = reports_count(s, server);
        least = n < least ? n : least;
    }
    return least;
}

/* Servers that have applied the step, and all. */
static uint32_t count_having(const Scheduler *s, int domain, uint32_t step, uint32_t *n_servers) {
    const Member *server;
    uint32_t n = 0;
    *n_servers = 0;
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i)); ++*n_servers)
        n += bitmap_get(server->answers.bitmap[domain], step);
    return n;
}

bool reports_lack(const Scheduler *s, int domain, uint32_t step) {
    uint32_t n_servers;
    return count_having(s, domain, step, &n_servers) < n_servers;
}

static bool is_begun(const Scheduler *s, int domain, uint32_t step) {
    const Member *server;
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));)
        if (server->answers.begun[domain] && bitmap_get(server->answers.begun[domain], step))
            return true;
    return false;
}

bool reports_differ(const Scheduler *s, int domain, uint32_t step) {
    uint32_t n_servers, n = count_having(s, domain, step, &n_servers);
    return n < n_servers && (n > 0 || is_begun(s, domain, step));
}

void reports_losses(const Scheduler *s, EpochResult *out) {
    const Member *server;
    double sums[N_DOMAINS][LOSS_N] = {{0}};
    for (uint32_t i = 0; (server = members_next(s, ROLE_SERVER, &i));)
        for (int d = 0; d < N_DOMAINS && reports_has(s, server); d++)
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
