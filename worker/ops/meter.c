/* The meter's clock. */
#include "worker/ops/meter.h"

#include <time.h>

_Thread_local Meter *meter_of_thread;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void meter_use(Meter *m) {
    meter_of_thread = m;
    if (m)
        *m = (Meter){.since_s = now_s()};
}

MeterKind meter_switch(MeterKind kind) {
    Meter *m = meter_of_thread;
    MeterKind before = m->now;
    double now = now_s();
    m->seconds[before] += now - m->since_s;
    m->since_s = now;
    m->now = kind;
    return before;
}
