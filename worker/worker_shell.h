/* A worker as a process: the member on a link to the scheduler, the remote client on links to the servers, the trainer
 * on the compute thread. */
#ifndef MANGROVE_WORKER_WORKER_SHELL_H
#define MANGROVE_WORKER_WORKER_SHELL_H

#include "common/err.h"

typedef struct WorkerRunOptions {
    const char *scheduler; /* its endpoint */
    const char *data_dir;  /* a prepared data set, the run's own or a copy of it */
} WorkerRunOptions;

/* Runs until the scheduler ends the run, or a signal or a failure does; not OK: err_message() is the cause. */
Err worker_run(const WorkerRunOptions *options) MUST_CHECK;

#endif
