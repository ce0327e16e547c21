/* A cluster that saves, and those who ask for snapshots. */
#ifndef MANGROVE_TESTS_SAVING_FIXTURE_H
#define MANGROVE_TESTS_SAVING_FIXTURE_H

#include "tests/unit/scheduler_fixture.h"

#include <jansson.h>

/* A cluster of two servers and one worker that holds a lease. */
static inline World *world_saving(Message *lease) {
    World *w = world_new(2, 1);
    w->config.snapshot.every_s = 5;
    start(w);
    *lease = expect(w, MESSAGE_LEASE, WORKER);
    return w;
}

/* n more steps of the lease are done, a snapshot falls due and all servers mark. */
static inline void cut(World *w, Message *lease, uint32_t n) {
    push_some(w, lease, n);
    pass_ms(w, 5100, EVERYBODY);
    give_back(w, WORKER, lease);
    serve(w);
}

static inline void hold_writes(World *w, bool holds) {
    w->servers[0].holds_write = w->servers[1].holds_write = holds;
}

static inline void say_all_written(World *w, uint64_t cut_number) {
    say_written(w, SERVER, cut_number, true);
    say_written(w, SERVER + 1, cut_number, true);
}

static inline uint64_t marked_cut(World *w) {
    Message m = expect(w, MESSAGE_RESUME, SERVER);
    uint64_t number = m.resume.cut;
    message_free(&m);
    expect_sent(w, MESSAGE_RESUME, SERVER + 1);
    return number;
}

/* What the scheduler answers to this peer: {state, text} of its request; "" where it has none. */
static inline const char *request_state(World *w, MessageType question, uint64_t peer, char *text, size_t size) {
    static const char *const STATES[] = {"pending", "writing", "committed", "failed"};
    const char *found = "";
    Message m;
    size_t n;
    message_init(&m, question);
    say(w, peer, &m);
    m = expect(w, MESSAGE_STATUS, peer);
    const char *bytes = message_bytes(&m, 0, m.n_frames, &n);
    json_t *status = json_loadb(bytes, n, 0, NULL);
    const json_t *request = json_object_get(json_object_get(status, "snapshot"), "request");
    snprintf(text, size, "%s", request ? json_string_value(json_object_get(request, "text")) : "");
    for (int i = 0; request && i < 4; i++)
        if (!strcmp(json_string_value(json_object_get(request, "state")), STATES[i]))
            found = STATES[i];
    json_decref(status);
    message_free(&m);
    return found;
}

static inline void expect_request(World *w, MessageType question, uint64_t peer, const char *want, const char *words) {
    char text[MESSAGE_TEXT];
    const char *found = request_state(w, question, peer, text, sizeof text);
    assert_string_equal(found, want);
    if (!strstr(text, words))
        fail_msg("\"%s\" does not hold \"%s\"", text, words);
}

#endif
