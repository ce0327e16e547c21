/* A parameter server as a process: the session between a link to the scheduler, a link for the workers, and the disk.
 */
#ifndef MANGROVE_SERVER_SERVER_SHELL_H
#define MANGROVE_SERVER_SERVER_SHELL_H

#include <stdbool.h>

#include "common/config.h"
#include "common/datainfo.h"
#include "common/err.h"
#include "common/schema.h"

typedef struct ServerRunOptions {
    const char *scheduler; /* its endpoint */
    const char *bind;      /* for workers, tcp://address:port; NULL: the address from which the scheduler is reached, or
                              loopback where the scheduler is loopback; any port */
    const char *advertise; /* what workers are told, tcp://address[:port]; NULL: derived from what was bound */
    bool insecure;         /* allows addresses that are not private to this host */
    Err (*schema)(void *ctx, const Config *config, const DataInfo *data, Schema *out);
    void *ctx;
} ServerRunOptions;

/* Runs until the scheduler ends the run, or a signal or a failure does; not OK: err_message() is the cause. */
Err server_run(const ServerRunOptions *options) MUST_CHECK;

#endif
