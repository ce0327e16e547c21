/* The event loop over libuv.
 *
 * DESIGN. Timers, signals and wakes are one struct, Handle: the libuv handle, what to call, and its place in the loop's
 * list, so that loop_close finds everything. libuv closes in two steps (uv_close, later a callback); the memory goes in
 * the second. A handle is either in the list or closing, never both. */
#include "proto/loop.h"

#include <assert.h>
#include <stdlib.h>
#include <uv.h>

#include "common/log.h"

typedef struct Handle Handle;
struct Handle {
    union {
        uv_handle_t any;
        uv_timer_t timer;
        uv_signal_t signal;
        uv_async_t async;
    } uv;
    LoopCallback call;
    void *ctx;
    Loop *loop;
    Handle *previous, *next;
};

struct LoopTimer {
    Handle handle;
};
struct LoopWake {
    Handle handle;
};

struct Loop {
    uv_loop_t uv;
    uv_async_t keep_alive; /* else libuv leaves when nothing but the link's handles are there */
    Handle *handles;
};

typedef struct Work {
    uv_work_t uv;
    LoopCallback work, done;
    void *ctx;
} Work;

static Handle *handle_new(Loop *loop, LoopCallback call, void *ctx) {
    Handle *h = must_calloc(1, sizeof *h);
    *h = (Handle){.call = call, .ctx = ctx, .loop = loop, .next = loop->handles};
    if (loop->handles)
        loop->handles->previous = h;
    loop->handles = h;
    h->uv.any.data = h;
    return h;
}

static void handle_unlink(Handle *h) {
    if (h->previous)
        h->previous->next = h->next;
    else
        h->loop->handles = h->next;
    if (h->next)
        h->next->previous = h->previous;
}

static void free_handle(uv_handle_t *uv) {
    free(uv->data);
}

static void handle_close(Handle *h) {
    handle_unlink(h);
    uv_close(&h->uv.any, free_handle);
}

/* libuv's set-up calls fail only for want of memory or descriptors: a process cannot be useful without. */
static void must_start(int rc, const char *what) {
    if (rc)
        log_die(ERR_FAILED, "cannot start a %s in the event loop: %s", what, uv_strerror(rc));
}

static void never(uv_async_t *uv) {
    (void)uv;
}

Err loop_open(Loop **out) {
    Loop *loop = must_calloc(1, sizeof *loop);
    int rc = uv_loop_init(&loop->uv);
    if (rc) {
        free(loop);
        return err_fail(ERR_FAILED, "cannot open an event loop: %s", uv_strerror(rc));
    }
    must_start(uv_async_init(&loop->uv, &loop->keep_alive, never), "wake");
    *out = loop;
    return OK;
}

void loop_run(Loop *loop) {
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(Loop *loop) {
    uv_stop(&loop->uv);
}

void loop_close(Loop **out) {
    Loop *loop = *out;
    if (!loop)
        return;
    uv_close((uv_handle_t *)&loop->keep_alive, NULL);
    do /* once for what is open; again while work is under way and for what its done callbacks open */
        while (loop->handles)
            handle_close(loop->handles);
    while (uv_run(&loop->uv, UV_RUN_ONCE));
    int rc = uv_loop_close(&loop->uv);
    assert(rc == 0 && "the network must be closed before the loop");
    (void)rc;
    free(loop);
    *out = NULL;
}

uint64_t loop_now_ms(Loop *loop) {
    return uv_now(&loop->uv);
}

uint64_t clock_ms(void) {
    return uv_hrtime() / 1000000;
}

static void on_timer(uv_timer_t *uv) {
    Handle *h = uv->data;
    h->call(h->ctx);
}

LoopTimer *loop_timer(Loop *loop, uint64_t first_ms, uint64_t every_ms, LoopCallback call, void *ctx) {
    Handle *h = handle_new(loop, call, ctx);
    must_start(uv_timer_init(&loop->uv, &h->uv.timer), "timer");
    must_start(uv_timer_start(&h->uv.timer, on_timer, first_ms, every_ms), "timer");
    return (LoopTimer *)h;
}

void loop_timer_close(LoopTimer **timer) {
    if (*timer)
        handle_close(&(*timer)->handle);
    *timer = NULL;
}

static void on_signal(uv_signal_t *uv, int signal_number) {
    (void)signal_number;
    Handle *h = uv->data;
    h->call(h->ctx);
}

void loop_on_signal(Loop *loop, int signal_number, LoopCallback call, void *ctx) {
    Handle *h = handle_new(loop, call, ctx);
    must_start(uv_signal_init(&loop->uv, &h->uv.signal), "signal");
    must_start(uv_signal_start(&h->uv.signal, on_signal, signal_number), "signal");
}

static void on_wake(uv_async_t *uv) {
    Handle *h = uv->data;
    h->call(h->ctx);
}

LoopWake *loop_wake_open(Loop *loop, LoopCallback call, void *ctx) {
    Handle *h = handle_new(loop, call, ctx);
    must_start(uv_async_init(&loop->uv, &h->uv.async, on_wake), "wake");
    return (LoopWake *)h;
}

void loop_wake(LoopWake *wake) {
    uv_async_send(&wake->handle.uv.async);
}

static void run_work(uv_work_t *uv) {
    Work *w = uv->data;
    w->work(w->ctx);
}

static void finish_work(uv_work_t *uv, int status) {
    assert(status == 0); /* nothing here cancels */
    (void)status;
    Work *w = uv->data;
    w->done(w->ctx);
    free(w);
}

void loop_work(Loop *loop, LoopCallback work, LoopCallback done, void *ctx) {
    Work *w = must_calloc(1, sizeof *w);
    *w = (Work){.work = work, .done = done, .ctx = ctx, .uv.data = w};
    must_start(uv_queue_work(&loop->uv, &w->uv, run_work, finish_work), "piece of work");
}

struct uv_loop_s *loop_uv(Loop *loop) {
    return &loop->uv;
}
