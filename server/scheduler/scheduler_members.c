/* Who takes part: HELLO and its checks, the view, silence, leaving. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/options.h"
#include "server/scheduler/scheduler_parts.h"

Member *members_find(Scheduler *s, uint64_t peer) {
    for (uint32_t i = 0; i < s->members.n; i++)
        if (s->members.list[i]->peer == peer)
            return s->members.list[i];
    return NULL;
}

Member *members_next(const Scheduler *s, int role, uint32_t *i) {
    while (*i < s->members.n) {
        Member *m = s->members.list[(*i)++];
        if (m->state == MEMBER_PRESENT && (role == ROLE_ANY || role == (int)m->role))
            return m;
    }
    return NULL;
}

uint32_t members_count(const Scheduler *s, int role) {
    uint32_t n = 0;
    for (uint32_t i = 0; members_next(s, role, &i);)
        n++;
    return n;
}

bool members_complete(const Scheduler *s) {
    return members_count(s, ROLE_SERVER) == (uint32_t)s->config->cluster.servers && s->data.is_known &&
           members_count(s, ROLE_WORKER) >= (uint32_t)s->config->cluster.workers;
}

void members_missing(const Scheduler *s, char *out, size_t size) {
    const ClusterConfig *c = &s->config->cluster;
    snprintf(out, size, "%u of %d servers and %u of %d workers", members_count(s, ROLE_SERVER), c->servers,
             members_count(s, ROLE_WORKER), c->workers);
}

/* ---- answers -------------------------------------------------------------------------------------------------- */

void members_refuse(Scheduler *s, uint64_t peer, Err code, const char *sentence) {
    log_warn("refused a process: %s", sentence);
    MessageREFUSE *refuse = &scheduler_message(s, MESSAGE_REFUSE)->refuse;
    refuse->code = (uint64_t)-code;
    snprintf(refuse->text, sizeof refuse->text, "%s", sentence);
    scheduler_send(s, peer);
}

static void send_welcome(Scheduler *s, const Member *member) {
    Message *m = scheduler_message(s, MESSAGE_WELCOME);
    m->welcome.id = member->id;
    m->welcome.rank = member->rank;
    m->welcome.config = s->config_fingerprint;
    m->welcome.heartbeat_ms = (uint64_t)s->config->cluster.heartbeat_ms;
    m->welcome.dead_ms = (uint64_t)s->config->cluster.dead_ms;
    snprintf(m->welcome.version, sizeof m->welcome.version, "%s", MANGROVE_VERSION);
    message_add_bytes(m, s->config_text, strlen(s->config_text));
    scheduler_send(s, member->peer);
}

static Member *server_of_rank(const Scheduler *s, uint32_t rank) {
    Member *m;
    for (uint32_t i = 0; (m = members_next(s, ROLE_SERVER, &i));)
        if (m->rank == rank)
            return m;
    return NULL;
}

void members_send_view(Scheduler *s, const Member *member) {
    Message *m = scheduler_message(s, MESSAGE_VIEW);
    const Member *server;
    size_t size = 0;
    char *lines = must_alloc((size_t)s->config->cluster.servers * (MESSAGE_TEXT + 1) + 1);
    m->view.map = s->map;
    m->view.n_servers = (uint64_t)s->config->cluster.servers;
    m->view.restore = s->start.restore;
    memcpy(m->view.snapshot, s->start.dir, sizeof m->view.snapshot);
    message_add_bytes(m, s->slots, sizeof s->slots);
    for (uint32_t rank = 0; (server = server_of_rank(s, rank)); rank++)
        size += (size_t)sprintf(lines + size, "%s\n", server->endpoint);
    message_add_bytes(m, lines, size);
    message_add_bytes(m, s->data.manifest, s->data.manifest_bytes);
    free(lines);
    scheduler_send(s, member->peer);
}

/* ---- HELLO ---------------------------------------------------------------------------------------------------- */

/* The first worker tells what the data are: everything that is derived from them is derived here. */
static Err learn_data(Scheduler *s, Message *m) {
    DataState *data = &s->data;
    size_t size = 0;
    for (int i = 0; i < m->n_frames; i++)
        size += m->frames[i].size_bytes;
    if (size == 0 || size > DATAINFO_MAX_BYTES)
        return err_fail(ERR_PROTOCOL, "a worker's manifest has %zu bytes; 1 to %d are possible", size,
                        DATAINFO_MAX_BYTES);
    const char *text = message_bytes(m, 0, m->n_frames, &size);
    Err err = datainfo_parse(&data->info, text, size);
    if (err)
        return err;
    if (data->info.fingerprint != m->hello.data) {
        err = err_fail(ERR_PROTOCOL, "a worker's manifest is of data set %016" PRIx64 ", its HELLO of %016" PRIx64,
                       data->info.fingerprint, m->hello.data);
        datainfo_free(&data->info);
        return err;
    }
    data->manifest = must_alloc(size + 1);
    memcpy(data->manifest, text, size);
    data->manifest[size] = 0;
    data->manifest_bytes = size;
    data->is_known = true;
    return OK;
}

static Err derive_geometry(Scheduler *s) {
    DataState *data = &s->data;
    Err err = geometry_init(&data->geometry, data->info.counts[s->config->eval.protocol], data->info.n_chunks,
                            s->n_ranks, (uint32_t)s->config->train.batch, (uint32_t)s->config->eval.batch);
    for (int d = 0; d < N_DOMAINS && !err; d++) {
        data->n_steps[d] = geometry_steps(&data->geometry, d, SPLIT_TRAIN);
        if (data->n_steps[d] > MAX_STEPS)
            err = err_fail(ERR_CONFIG,
                           "an epoch of domain %c has %u steps, at most %u are possible: use a larger "
                           "train.batch",
                           'A' + d, data->n_steps[d], MAX_STEPS);
    }
    if (!err)
        err = opening_check_data(s);
    if (!err)
        err = s->env.schema(s->env.ctx, s->config, &data->info, &data->schema);
    return err;
}

static Err check_worker(Scheduler *s, Message *m) {
    if (s->data.is_known && m->hello.data != s->data.info.fingerprint)
        return err_fail(ERR_DATA,
                        "this worker's data set is %016" PRIx64 ", the run's is %016" PRIx64
                        ": all workers read copies of one prepared data set",
                        m->hello.data, s->data.info.fingerprint);
    return s->data.is_known ? OK : learn_data(s, m);
}

static Err check_hello(Scheduler *s, const MessageHELLO *h) {
    if (strcmp(h->version, MANGROVE_VERSION))
        return err_fail(ERR_PEER, "this process is mangrove %.40s, the scheduler is %s: all must be of one version",
                        h->version, MANGROVE_VERSION);
    if (h->config && h->config != s->config_fingerprint)
        return err_fail(ERR_PEER, "this process has configuration %016" PRIx64 ", the scheduler has %016" PRIx64,
                        h->config, s->config_fingerprint);
    if (h->role != ROLE_SERVER && h->role != ROLE_WORKER)
        return err_fail(ERR_PROTOCOL, "HELLO names role %" PRIu64 "; servers and workers say it", h->role);
    if (h->role == ROLE_SERVER && !h->endpoint[0])
        return err_fail(ERR_PROTOCOL, "a server says HELLO without the endpoint where workers reach it");
    return OK;
}

static Member *server_at(Scheduler *s, const char *endpoint) {
    Member *m;
    for (uint32_t i = 0; (m = members_next(s, ROLE_SERVER, &i));)
        if (!strcmp(m->endpoint, endpoint))
            return m;
    return NULL;
}

static void free_member(Member *m) {
    for (int d = 0; d < N_DOMAINS; d++) {
        free(m->answers.bitmap[d]);
        free(m->answers.begun[d]);
    }
    free(m->endpoint);
    free(m);
}

/* A new place in the list, or when it is full that of one who is not there any more. */
static Member **free_place(Scheduler *s) {
    if (s->members.n < MAX_MEMBERS)
        return &s->members.list[s->members.n++];
    for (uint32_t i = 0; i < MAX_MEMBERS; i++) {
        if (s->members.list[i]->state != MEMBER_PRESENT) {
            free_member(s->members.list[i]);
            return &s->members.list[i];
        }
    }
    return NULL;
}

static Member *admit(Scheduler *s, uint64_t peer, const MessageHELLO *h, uint32_t rank) {
    Member **place = free_place(s);
    if (!place)
        return NULL;
    Member *m = *place = must_calloc(1, sizeof *m);
    m->peer = peer;
    m->role = (Role)h->role;
    m->id = ++s->members.last_id;
    m->rank = rank;
    m->heard_ms = s->clock_ms;
    snprintf(m->name, sizeof m->name, "%s-%u", m->role == ROLE_SERVER ? "server" : "worker", rank);
    snprintf(m->host, sizeof m->host, "%.63s", h->host);
    if (m->role == ROLE_SERVER)
        m->endpoint = must_strdup(h->endpoint);
    log_info("%s has joined from %s%s%s", m->name, m->host[0] ? m->host : "an unnamed host",
             m->endpoint ? ", serving at " : "", m->endpoint ? m->endpoint : "");
    return m;
}

/* Rule 7. A server that was started anew has lost its rows. While nothing is trained yet it only takes its old place.
 */
static bool replaces(Scheduler *s, uint64_t peer, const MessageHELLO *h) {
    Member *old = server_at(s, h->endpoint);
    if (!old)
        return false;
    if (s->phase != PHASE_JOINING) {
        scheduler_end(s, ERR_PEER, "%s at %s has died: a new process came in its place, without its rows", old->name,
                      old->endpoint);
        return true;
    }
    log_warn("%s at %s was started again", old->name, old->endpoint);
    old->peer = peer;
    old->heard_ms = s->clock_ms;
    send_welcome(s, old);
    return true;
}

static Err admit_server(Scheduler *s, uint64_t peer, const MessageHELLO *h) {
    if (replaces(s, peer, h))
        return OK;
    uint32_t rank = 0;
    while (server_of_rank(s, rank))
        rank++;
    if (rank == (uint32_t)s->config->cluster.servers)
        return err_fail(ERR_PEER, "there are %u servers already, which is all that cluster.servers asks for", rank);
    Member *m = admit(s, peer, h, rank);
    if (!m)
        return err_fail(ERR_FULL, "the scheduler knows %d processes and takes no more", MAX_MEMBERS);
    send_welcome(s, m);
    return OK;
}

static Err admit_worker(Scheduler *s, uint64_t peer, Message *m) {
    bool is_first = !s->data.is_known;
    Err err = check_worker(s, m);
    if (err)
        return err;
    if (is_first && (err = derive_geometry(s)) != OK) { /* no worker could mend that */
        scheduler_end(s, err, "%s", err_message());
        return OK;
    }
    Member *member = admit(s, peer, &m->hello, s->members.n_workers);
    if (!member)
        return err_fail(ERR_FULL, "the scheduler knows %d processes and takes no more", MAX_MEMBERS);
    s->members.n_workers++; /* a rank is a worker's name and never used twice */
    send_welcome(s, member);
    if (s->is_viewed)
        members_send_view(s, member);
    return OK;
}

static void hello_again(Scheduler *s, Member *member) {
    if (member->state == MEMBER_GONE)
        return;
    members_heard(s, member);
    send_welcome(s, member);
    if (s->is_viewed && member->role == ROLE_WORKER)
        members_send_view(s, member);
}

void members_hello(Scheduler *s, uint64_t peer, Message *m) {
    Member *member = members_find(s, peer);
    if (member) {
        hello_again(s, member);
        return;
    }
    Err err = check_hello(s, &m->hello);
    if (!err && m->hello.role == ROLE_SERVER)
        err = admit_server(s, peer, &m->hello);
    else if (!err)
        err = admit_worker(s, peer, m);
    if (err)
        members_refuse(s, peer, err, err_message());
}

/* ---- leaving -------------------------------------------------------------------------------------------------- */

/* "server-1 at tcp://10.0.0.7:41234 has died": the last words of it, for the log now or for the end of the run. A
 * worker's work goes to others. A server takes its rows with it, unless there are none yet. */
static void leave(Scheduler *s, Member *member, MemberState state, Err code, const char *what) {
    char *words = s->members.last_words;
    bool is_server = member->role == ROLE_SERVER, ends_run = is_server && s->phase != PHASE_JOINING;
    snprintf(words, sizeof s->members.last_words, "%s %s %s %.300s", member->name, is_server ? "at" : "on",
             is_server ? member->endpoint : member->host, what);
    leases_take_back(s, member);
    member->state = state;
    if (ends_run)
        scheduler_end(s, code, "%s", words);
    else if (s->phase != PHASE_ENDING)
        log_warn("%s", words);
}

void members_bye(Scheduler *s, Member *member, Message *m) {
    char what[MESSAGE_TEXT];
    uint64_t code = m->bye.code;
    Err err = code == 0 || code > (uint64_t)-ERR_FULL ? ERR_PEER : (Err) - (int)code;
    snprintf(what, sizeof what, "left the run: %.300s", m->bye.text);
    leave(s, member, MEMBER_GONE, err, what);
}

void members_drop(Scheduler *s, Member *member, Err code, const char *sentence) {
    char what[MESSAGE_TEXT];
    snprintf(what, sizeof what, "was dropped: %.300s", sentence);
    members_refuse(s, member->peer, code, sentence);
    leave(s, member, MEMBER_GONE, code, what);
}

void members_heard(Scheduler *s, Member *member) {
    member->heard_ms = s->clock_ms;
    if (member->state == MEMBER_SILENT) {
        member->state = MEMBER_PRESENT;
        log_info("%s on %s is heard again", member->name, member->host);
    }
}

static void on_silence(Scheduler *s, Member *member) {
    char what[MESSAGE_TEXT];
    snprintf(what, sizeof what, "has died: silent for %d ms (cluster.dead_ms)", s->config->cluster.dead_ms);
    leave(s, member, member->role == ROLE_WORKER ? MEMBER_SILENT : MEMBER_GONE, ERR_PEER, what);
}

static void send_heartbeats(Scheduler *s) {
    const Member *m;
    if (s->clock_ms < s->members.heartbeat_ms)
        return;
    s->members.heartbeat_ms = s->clock_ms + (uint64_t)s->config->cluster.heartbeat_ms;
    for (uint32_t i = 0; (m = members_next(s, ROLE_ANY, &i));) {
        scheduler_message(s, MESSAGE_HEARTBEAT);
        scheduler_send(s, m->peer);
    }
}

/* Most of a cut is the servers' own: a snapshot is written to its end without workers, and its time does not count. */
static bool needs_workers(const Scheduler *s) {
    return s->phase != PHASE_CUTTING || s->cut.step == CUT_REPAIR;
}

/* The servers' state is worth a snapshot where they need no worker to be in one. */
static void give_up_waiting(Scheduler *s) {
    char why[MESSAGE_TEXT];
    snprintf(why, sizeof why, "%.150s; no worker is left and none came within %d s (cluster.join_s)",
             s->members.last_words, s->config->cluster.join_s);
    if (s->phase == PHASE_CUTTING)
        scheduler_end(s, ERR_PEER, "%s to bring the servers to one state: no snapshot was written", why);
    else
        scheduler_stop(s, ERR_PEER, why);
}

/* While work waits for workers and none lives, it waits for another as long as a start may take. */
static void check_workers(Scheduler *s) {
    Members *m = &s->members;
    uint64_t elapsed_ms = s->clock_ms - m->checked_ms;
    m->checked_ms = s->clock_ms;
    if (s->phase <= PHASE_JOINING || s->phase >= PHASE_ENDING || members_count(s, ROLE_WORKER)) {
        m->is_deserted = false;
        m->deserted_ms = 0;
        return;
    }
    if (!m->is_deserted)
        log_warn("no worker is left; waiting %d s (cluster.join_s) for another", s->config->cluster.join_s);
    else if (needs_workers(s))
        m->deserted_ms += elapsed_ms;
    m->is_deserted = true;
    if (needs_workers(s) && m->deserted_ms >= (uint64_t)s->config->cluster.join_s * 1000)
        give_up_waiting(s);
}

void members_tick(Scheduler *s) {
    Member *m;
    for (uint32_t i = 0; (m = members_next(s, ROLE_ANY, &i));)
        if (s->clock_ms - m->heard_ms > (uint64_t)s->config->cluster.dead_ms)
            on_silence(s, m);
    send_heartbeats(s);
    check_workers(s);
}

void members_free(Scheduler *s) {
    for (uint32_t i = 0; i < s->members.n; i++)
        free_member(s->members.list[i]);
}
