/* Starts processes and watches them. One thread, no callbacks: children and signals arrive through a signalfd. */
#include "deploy/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"

static sigset_t watched_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return set;
}

Err supervisor_open(Supervisor *s) {
    *s = (Supervisor){.first_failed = -1};
    sigset_t set = watched_signals();
    sigprocmask(SIG_BLOCK, &set, NULL);
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signal_fd < 0 ? err_fail(ERR_FAILED, "cannot watch signals: %m") : OK;
}

/* ---- starting ----------------------------------------------------------------------------------------------- */

/* In the child: a group of its own, so that a terminal's ctrl-C reaches the supervisor alone; dies with its parent. */
static void become_child(pid_t parent, const char *log_path, int output) {
    sigset_t set = watched_signals();
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1); /* the parent died in between */
    if (output >= 0)
        dup2(output, STDOUT_FILENO);
    if (log_path && *log_path) {
        int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
        if (log >= 0)
            dup2(log, STDERR_FILENO);
    }
}

int supervisor_start(Supervisor *s, const char *name, const char *log_path, const char *const *argv, int *output_fd) {
    if (s->n_children == SUPERVISOR_MAX_CHILDREN)
        return err_fail(ERR_CONFIG, "at most %d processes on one machine", SUPERVISOR_MAX_CHILDREN);
    int pipe_fds[2] = {-1, -1};
    if (output_fd && pipe2(pipe_fds, O_CLOEXEC))
        return err_fail(ERR_FAILED, "cannot make a pipe: %m");
    pid_t parent = getpid(), pid = fork();
    if (pid < 0)
        return err_fail(ERR_FAILED, "cannot start %s: %m", name);
    if (pid == 0) {
        become_child(parent, log_path, pipe_fds[1]);
        char program[SUPERVISOR_PATH] = "";
        if (readlink("/proc/self/exe", program, sizeof program - 1) > 0)
            execv(program, (char *const *)argv);
        execv("/proc/self/exe", (char *const *)argv); /* where the file was replaced meanwhile */
        log_die(ERR_FAILED, "cannot start %s: %m", name);
    }
    if (output_fd) {
        close(pipe_fds[1]);
        *output_fd = pipe_fds[0];
    }
    Child *c = &s->children[s->n_children];
    *c = (Child){.pid = pid, .is_running = true};
    snprintf(c->name, sizeof c->name, "%s", name);
    snprintf(c->log_path, sizeof c->log_path, "%s", log_path ? log_path : "");
    return s->n_children++;
}

/* ---- watching ----------------------------------------------------------------------------------------------- */

static bool has_failed(const Child *c) {
    int code = child_exit_code(c);
    bool is_asked = code == err_exit_code(ERR_STOPPED) || code == 128 + SIGTERM || code == 128 + SIGKILL;
    return code != 0 && !(c->is_dismissed && is_asked);
}

static void reap(Supervisor *s) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (int i = 0; i < s->n_children; i++) {
            Child *c = &s->children[i];
            if (c->pid != pid || !c->is_running)
                continue;
            c->is_running = false;
            c->wait_status = status;
            if (has_failed(c) && s->first_failed < 0)
                s->first_failed = i;
        }
    }
}

static void read_signals(Supervisor *s) {
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        if (info.ssi_signo != SIGCHLD)
            s->n_stops++;
}

bool supervisor_wait(Supervisor *s, int timeout_ms, int extra_fd) {
    struct pollfd fds[2] = {{.fd = s->signal_fd, .events = POLLIN}, {.fd = extra_fd, .events = POLLIN}};
    if (poll(fds, extra_fd >= 0 ? 2 : 1, timeout_ms) < 0 && errno != EINTR)
        log_warn("poll failed: %m");
    read_signals(s);
    reap(s);
    return extra_fd >= 0 && fds[1].revents;
}

int supervisor_running(const Supervisor *s) {
    int n = 0;
    for (int i = 0; i < s->n_children; i++)
        n += s->children[i].is_running;
    return n;
}

void supervisor_signal(const Supervisor *s, int child, int signal_number) {
    for (int i = 0; i < s->n_children; i++)
        if (s->children[i].is_running && (child < 0 || child == i))
            kill(s->children[i].pid, signal_number);
}

void supervisor_dismiss(Supervisor *s, int signal_number) {
    for (int i = 0; i < s->n_children; i++)
        s->children[i].is_dismissed |= s->children[i].is_running;
    supervisor_signal(s, -1, signal_number);
}

void supervisor_close(Supervisor *s) {
    supervisor_signal(s, -1, SIGKILL);
    for (int i = 0; i < s->n_children; i++)
        if (s->children[i].is_running)
            waitpid(s->children[i].pid, &s->children[i].wait_status, 0);
    if (s->signal_fd > 0)
        close(s->signal_fd);
    *s = (Supervisor){.first_failed = -1};
}

/* ---- failures ----------------------------------------------------------------------------------------------- */

int child_exit_code(const Child *c) {
    return WIFSIGNALED(c->wait_status) ? 128 + WTERMSIG(c->wait_status) : WEXITSTATUS(c->wait_status);
}

enum { TAIL_BYTES = 2048, TAIL_LINES = 8 };

static void print_tail(const char *path) {
    FILE *f = fopen(path, "re");
    if (!f)
        return;
    char tail[TAIL_BYTES + 1];
    if (fseek(f, -TAIL_BYTES, SEEK_END))
        rewind(f);
    tail[fread(tail, 1, TAIL_BYTES, f)] = 0;
    fclose(f);
    char *start = tail + strlen(tail);
    for (int lines = 0; start > tail && lines <= TAIL_LINES; start--)
        lines += start[-1] == '\n';
    fprintf(stderr, "  the end of %s:\n", path);
    for (char *line = strtok(start, "\n"); line; line = strtok(NULL, "\n"))
        fprintf(stderr, "    %s\n", line);
}

void child_print_failure(const Child *c) {
    if (*c->log_path)
        print_tail(c->log_path);
    if (WIFSIGNALED(c->wait_status))
        fprintf(stderr, "mangrove: %s (pid %d) was killed by signal %d (%s)\n", c->name, (int)c->pid,
                WTERMSIG(c->wait_status), strsignal(WTERMSIG(c->wait_status)));
    else
        fprintf(stderr, "mangrove: %s (pid %d) ended with exit code %d\n", c->name, (int)c->pid,
                WEXITSTATUS(c->wait_status));
}
