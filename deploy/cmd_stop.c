/* mangrove stop: ends a run as ctrl-C on its scheduler would. */
#include <stdio.h>

#include "common/log.h"
#include "deploy/commands.h"
#include "deploy/control.h"

static const ControlQuestion QUESTION = {
    .doc = "Asks a running scheduler to finish the steps in hand, write a snapshot and end its run with "
           "code 75. Returns when the scheduler has heard it. SCHEDULER is its tcp://host:port, or the "
           "directory of its run.",
    .type = MESSAGE_STOP_ASK,
    .timeout_s = 5,
};

int cmd_stop(int argc, char **argv) {
    Control c;
    Err err = control_run(&c, &QUESTION, argc, argv);
    if (err)
        log_error("%s", err_message());
    else if (!c.is_json)
        puts("the run finishes the steps in hand, writes a snapshot and ends");
    control_free(&c);
    return err_exit_code(err);
}
