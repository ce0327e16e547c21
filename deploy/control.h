/* What `status` and `stop` share: a question to a running scheduler, from the command line to the answer. */
#ifndef MANGROVE_DEPLOY_CONTROL_H
#define MANGROVE_DEPLOY_CONTROL_H

#include <stdbool.h>

#include "common/err.h"
#include "proto/message.h"

struct json_t;

typedef struct Control {
    const char *scheduler; /* its endpoint, or the directory of its run */
    int timeout_s;
    bool is_json;
    struct json_t *status; /* the answer: the state of the run */
    char *text;            /* likewise, as it came; 0-terminated */
} Control;

/* Parses the command line (ends the process where it is wrong), asks until the scheduler answers or the time is up, and
 * with --json prints the answer. On success status and text are set; control_free frees them, also after an error. */
Err control_run(Control *c, const char *doc, MessageType question, int argc, char **argv) MUST_CHECK;
void control_free(Control *c);

#endif
