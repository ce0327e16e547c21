/* mangrove snapshot: has a running scheduler save the state of its run, and waits until that is on disk. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "deploy/commands.h"
#include "deploy/control.h"

/* Of our request; "" before the scheduler has taken it. */
static const char *request(const json_t *status, const char *key) {
    const json_t *r = json_object_get(json_object_get(status, "snapshot"), "request");
    const char *text = json_string_value(json_object_get(r, key));
    return text ? text : "";
}

static bool is_committed(const json_t *status) {
    return !strcmp(request(status, "state"), "committed");
}

static bool is_final(const json_t *status) {
    return is_committed(status) || !strcmp(request(status, "state"), "failed");
}

static const ControlQuestion QUESTION = {
    .doc =
        "Asks a running scheduler for a snapshot, waits until it is complete and prints its directory. Training goes "
        "on "
        "while it is written. Where nothing was trained since the last snapshot, that one is named. SCHEDULER is its "
        "tcp://host:port, or the directory of its run. By default it waits for half an hour.",
    .type = MESSAGE_SNAPSHOT_ASK,
    .timeout_s = 1800,
    .is_final = is_final,
};

int cmd_snapshot(int argc, char **argv) {
    Control c;
    Err err = control_run(&c, &QUESTION, argc, argv);
    if (!err && !is_committed(c.status))
        err = err_fail(ERR_FAILED, "no snapshot: %s", request(c.status, "text"));
    if (err)
        log_error("%s", err_message());
    else if (!c.is_json)
        puts(request(c.status, "text"));
    control_free(&c);
    return err_exit_code(err);
}
