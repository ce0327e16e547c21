/* A fork with two pipes and an end. */
#include "deploy/bench/bench_child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void bench_child_tie(pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it has died before the line above */
        _exit(0);
}

static _Noreturn void be_child(pid_t parent, void (*body)(void *ctx, int in, int out), void *ctx, int in, int out) {
    bench_child_tie(parent);
    body(ctx, in, out);
    fflush(NULL);
    _exit(0);
}

Err bench_child_start(BenchChild *c, void (*body)(void *ctx, int in, int out), void *ctx) {
    int down[2], up[2];
    pid_t parent = getpid();
    if (pipe(down))
        return err_fail(ERR_FAILED, "cannot open a pipe: %s", strerror(errno));
    if (pipe(up)) {
        close(down[0]), close(down[1]);
        return err_fail(ERR_FAILED, "cannot open a pipe: %s", strerror(errno));
    }
    signal(SIGPIPE, SIG_IGN); /* a child that has ended is an error with a sentence */
    fflush(NULL);             /* else the child has what is buffered, too */
    pid_t pid = fork();
    if (pid == 0) {
        close(down[1]), close(up[0]);
        be_child(parent, body, ctx, down[0], up[1]);
    }
    close(down[0]), close(up[1]);
    *c = (BenchChild){.pid = pid, .to = down[1], .from = up[0]};
    if (pid > 0)
        return OK;
    close(c->to), close(c->from);
    *c = (BenchChild){0};
    return err_fail(ERR_FAILED, "cannot start a process: %s", strerror(errno));
}

Err bench_pipe_read(int fd, char *line, size_t size) {
    for (size_t n = 0; n + 1 < size; n++) {
        ssize_t got;
        do
            got = read(fd, line + n, 1);
        while (got < 0 && errno == EINTR);
        if (got != 1)
            break;
        if (line[n] == '\n') {
            line[n] = 0;
            return OK;
        }
    }
    return err_fail(ERR_IO, "a process of the benchmark has ended before its time");
}

Err bench_pipe_write(int fd, const char *line) {
    if (dprintf(fd, "%s\n", line) < 0)
        return err_fail(ERR_IO, "a process of the benchmark has ended before its time");
    return OK;
}

static double clock_s(clockid_t id) {
    struct timespec t = {0};
    clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double bench_child_cpu_s(const BenchChild *c) {
    clockid_t of_child;
    double child_s = clock_getcpuclockid(c->pid, &of_child) ? 0 : clock_s(of_child);
    return child_s + clock_s(CLOCK_PROCESS_CPUTIME_ID);
}

bool bench_child_has_ended(const BenchChild *c) {
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == c->pid;
}

void bench_child_end(BenchChild *c) {
    if (c->pid <= 0)
        return;
    kill(c->pid, SIGKILL);
    while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(c->to);
    close(c->from);
    *c = (BenchChild){0};
}
