/* mangrove status: what a running scheduler says of its run. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "common/log.h"
#include "deploy/commands.h"
#include "deploy/control.h"

static double number(const json_t *o, const char *key) {
    return json_number_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key) {
    const char *value = json_string_value(json_object_get(o, key));
    return value ? value : "";
}

static void print_run(const json_t *s) {
    const json_t *loss = json_object_get(s, "loss"), *best = json_object_get(s, "best_epoch");
    double total = number(s, "steps_total");
    printf("%s%s", text(s, "phase"), json_is_true(json_object_get(s, "stopping")) ? " (told to stop)" : "");
    if (number(s, "epoch") > 0)
        printf(", epoch %.0f of at most %.0f, %.0f %% of %.0f steps, %.0f instances/s", number(s, "epoch"),
               number(s, "epochs"), total > 0 ? 100 * number(s, "steps_done") / total : 0, total,
               number(s, "instances_per_s"));
    putchar('\n');
    for (size_t d = 0; d < 2; d++) {
        const char name[] = {(char)('A' + d), 0};
        double epoch = json_number_value(json_array_get(best, d));
        printf("domain %s: loss %.4f", name, number(loss, name));
        if (epoch > 0)
            printf(", best validation in epoch %.0f", epoch);
        putchar('\n');
    }
}

/* The newest that is complete, and what is under way or went wrong beside it. */
static void print_snapshot(const json_t *snapshot) {
    const char *dir = text(snapshot, "dir"), *failure = text(snapshot, "failure");
    bool is_writing = json_is_true(json_object_get(snapshot, "writing"));
    printf("last snapshot: %s", *dir ? dir : "none yet");
    if (is_writing)
        printf(", %s is being written", *dir ? "another" : "one");
    if (number(snapshot, "pending") > 0)
        printf(", requests that wait for one: %.0f", number(snapshot, "pending"));
    if (*failure)
        printf("; the last failure: %s", failure);
    putchar('\n');
}

static void print_members(const json_t *members) {
    size_t i;
    const json_t *m;
    printf("\n%-12s %-8s %9s %10s %11s %11s %11s  %s\n", "process", "state", "silent ms", "rows", "MB of rows",
           "MB sent", "MB received", "host");
    json_array_foreach(members, i, m) {
        printf("%-12s %-8s %9.0f %10.0f %11.1f %11.1f %11.1f  %s\n", text(m, "name"), text(m, "state"),
               number(m, "silent_ms"), number(m, "rows"), number(m, "bytes") / 1e6, number(m, "sent_bytes") / 1e6,
               number(m, "received_bytes") / 1e6, text(m, "host"));
    }
}

static const ControlQuestion QUESTION = {
    .doc = "Prints what a running scheduler knows: phase, progress, losses, the last snapshot, and a row for each "
           "process. SCHEDULER is its tcp://host:port, or the directory of its run.",
    .type = MESSAGE_STATUS_ASK,
    .timeout_s = 5,
};

int cmd_status(int argc, char **argv) {
    Control c;
    Err err = control_run(&c, &QUESTION, argc, argv);
    if (err)
        log_error("%s", err_message());
    else if (!c.is_json) {
        print_run(c.status);
        print_snapshot(json_object_get(c.status, "snapshot"));
        print_members(json_object_get(c.status, "members"));
    }
    control_free(&c);
    return err_exit_code(err);
}
