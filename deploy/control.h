/* What `status`, `snapshot` and `stop` share: a question to a running scheduler, from the command line to the answer.
 */
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

typedef struct ControlQuestion {
    const char *doc;
    MessageType type; /* repeated until the scheduler answers; it takes no harm from that */
    int timeout_s;    /* unless --timeout says otherwise */
    /* The answer is the last word; NULL: any is. Else the scheduler is asked again soon. */
    bool (*is_final)(const struct json_t *status);
} ControlQuestion;

/* Parses the command line (ends the process where it is wrong), asks until the scheduler answers or the time is up, and
 * with --json prints the answer. On success status and text are set; control_free frees them, also after an error. */
Err control_run(Control *c, const ControlQuestion *question, int argc, char **argv) MUST_CHECK;
void control_free(Control *c);

#endif
