/* The event loop of a process: libuv behind a few calls. All callbacks run on the thread that called loop_run; none may
 * take longer than 10 ms (long work goes through loop_work). Only loop_wake may be called from other threads. */
#ifndef MANGROVE_PROTO_LOOP_H
#define MANGROVE_PROTO_LOOP_H

#include <stdint.h>

#include "common/err.h"

typedef struct Loop Loop;
typedef struct LoopTimer LoopTimer;
typedef struct LoopWake LoopWake;
typedef void (*LoopCallback)(void *ctx);

Err loop_open(Loop **out) MUST_CHECK;
/* Runs until loop_stop. Then loop_close frees every timer, signal and wake that is left. */
void loop_run(Loop *loop);
void loop_stop(Loop *loop);
void loop_close(Loop **loop);

uint64_t loop_now_ms(Loop *loop); /* monotonic, of this turn */
uint64_t clock_ms(void);          /* monotonic, now, any thread */

/* every_ms 0: once. */
LoopTimer *loop_timer(Loop *loop, uint64_t first_ms, uint64_t every_ms, LoopCallback call, void *ctx);
void loop_timer_close(LoopTimer **timer);

void loop_on_signal(Loop *loop, int signal_number, LoopCallback call, void *ctx);

/* Another thread's way in: call runs on the loop's thread soon after loop_wake (several wakes may become one call). */
LoopWake *loop_wake_open(Loop *loop, LoopCallback call, void *ctx);
void loop_wake(LoopWake *wake);

/* work on a pool thread, then done on the loop's. */
void loop_work(Loop *loop, LoopCallback work, LoopCallback done, void *ctx);

/* Children of this process: exited(ctx, exit code, signal) on the loop's thread. argv ends with NULL; stdout and stderr
 * of the child are inherited, or appended to log_path if it is not NULL. */
typedef struct LoopChild LoopChild;
typedef void (*LoopExited)(void *ctx, int exit_code, int signal_number);
Err loop_spawn(Loop *loop, LoopChild **out, char *const argv[], LoopExited exited, void *ctx) MUST_CHECK;
int loop_child_pid(const LoopChild *child);

#endif
