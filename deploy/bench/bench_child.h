/* Children of a benchmark: they end with it, however it ends. */
#ifndef MANGROVE_DEPLOY_BENCH_BENCH_CHILD_H
#define MANGROVE_DEPLOY_BENCH_BENCH_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/err.h"

/* Zeroed: none. */
typedef struct BenchChild {
    pid_t pid;
    int to, from; /* pipes */
} BenchChild;

/* The child runs body and ends when it returns; in and out are its ends of the pipes. It inherits nothing but the
 * calling thread: start children before there are others. From the first one on SIGPIPE is ignored. */
Err bench_child_start(BenchChild *c, void (*body)(void *ctx, int in, int out), void *ctx) MUST_CHECK;
/* A line without its end, from a pipe that nobody else reads. ERR_IO: the other end is closed. */
Err bench_pipe_read(int fd, char *line, size_t size) MUST_CHECK;
Err bench_pipe_write(int fd, const char *line) MUST_CHECK;
/* Processor time of the child and of this process, all their threads. */
double bench_child_cpu_s(const BenchChild *c);
bool bench_child_has_ended(const BenchChild *c);
void bench_child_end(BenchChild *c); /* kills it, waits for it, and zeroes c */

/* First in a child that was forked otherwise: it is killed when its parent ends. */
void bench_child_tie(pid_t parent);

#endif
