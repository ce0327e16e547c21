/* The event loop of a process: libuv behind a few calls. All callbacks run on the thread that called loop_run; none may
 * take longer than 10 ms (long work goes through loop_work). Only loop_wake may be called from other threads.
 *
 * Order of closing: the network (link.h) and then the loop, and only then the state that callbacks touch. */
#ifndef MANGROVE_PROTO_LOOP_H
#define MANGROVE_PROTO_LOOP_H

#include <stdint.h>

#include "common/err.h"

typedef struct Loop Loop;
typedef struct LoopTimer LoopTimer;
typedef struct LoopWake LoopWake;
typedef void (*LoopCallback)(void *ctx);

Err loop_open(Loop **out) MUST_CHECK;
/* Runs until loop_stop; returns at once if that was called before. May be called again. */
void loop_run(Loop *loop);
void loop_stop(Loop *loop);
/* Waits for the work that is under way (its done is called), frees every timer, signal and wake that is left. Pointers
 * to them are invalid afterwards. */
void loop_close(Loop **loop);

uint64_t loop_now_ms(Loop *loop); /* monotonic, of this turn */
uint64_t clock_ms(void);          /* monotonic, now, any thread; the same clock */

/* every_ms 0: once. A timer that has fired stays the caller's until it is closed, by loop_timer_close (NULLs; also from
 * within its own callback) or by loop_close. */
LoopTimer *loop_timer(Loop *loop, uint64_t first_ms, uint64_t every_ms, LoopCallback call, void *ctx);
void loop_timer_close(LoopTimer **timer);

void loop_on_signal(Loop *loop, int signal_number, LoopCallback call, void *ctx);

/* Another thread's way in: call runs on the loop's thread soon after loop_wake (several wakes may become one call). */
LoopWake *loop_wake_open(Loop *loop, LoopCallback call, void *ctx);
void loop_wake(LoopWake *wake);

/* work on a pool thread, then done on the loop's. */
void loop_work(Loop *loop, LoopCallback work, LoopCallback done, void *ctx);

struct uv_loop_s *loop_uv(Loop *loop); /* for the link alone */

#endif
