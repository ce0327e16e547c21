/* Starts processes and watches them: the local launcher under `mangrove train`.
 *
 * Every child dies with the supervisor, also when that is killed with -9 (PR_SET_PDEATHSIG), and all end when one
 * fails; the first failure is kept as the cause. */
#ifndef MANGROVE_DEPLOY_SUPERVISOR_H
#define MANGROVE_DEPLOY_SUPERVISOR_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/err.h"

enum { SUPERVISOR_MAX_CHILDREN = 256, SUPERVISOR_NAME = 32, SUPERVISOR_PATH = 640 };

typedef struct Child {
    char name[SUPERVISOR_NAME];     /* "server-0" */
    char log_path[SUPERVISOR_PATH]; /* where its stderr goes; "" = the supervisor's own stderr */
    pid_t pid;
    bool is_running, is_dismissed; /* dismissed: see supervisor_dismiss */
    int wait_status; /* of waitpid, once it has ended */
} Child;

typedef struct Supervisor {
    int n_children;
    Child children[SUPERVISOR_MAX_CHILDREN];
    int signal_fd;    /* SIGCHLD, SIGINT, SIGTERM arrive here */
    int first_failed; /* index of the child that failed first, or -1 */
    int n_stops;      /* SIGINT and SIGTERM received */
} Supervisor;

Err supervisor_open(Supervisor *s) MUST_CHECK;
/* Kills whatever still runs and waits for it. */
void supervisor_close(Supervisor *s);

/* Starts this very program with argv (NULL-terminated; argv[0] is set here). output_fd: NULL = inherit stdout, else
 * gets the read end of the child's stdout. Returns the child's index, or a negative Err. */
int supervisor_start(Supervisor *s, const char *name, const char *log_path, const char *const *argv, int *output_fd);

/* Waits until a child ends, a stop signal arrives or timeout_ms has passed; updates the fields above. With extra_fd >=
 * 0 also returns when that has something to read: then true. */
bool supervisor_wait(Supervisor *s, int timeout_ms, int extra_fd);

int supervisor_running(const Supervisor *s);
void supervisor_signal(const Supervisor *s, int child, int signal_number); /* child -1: all that run */
/* Signals all that run because their work is done: whoever ends by that (SIGTERM or SIGKILL, or with the exit code of
 * one that was stopped) has not failed. */
void supervisor_dismiss(Supervisor *s, int signal_number);

/* 0..255 as a shell would say it: exit code, or 128 + signal. */
int child_exit_code(const Child *c);
/* "server-1 was killed by signal 9 (Killed)" with the last lines of its log behind it, to stderr. */
void child_print_failure(const Child *c);

#endif
