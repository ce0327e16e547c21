/* What a step's time goes into, for a benchmark: while a thread has a meter, the operations tell it what they are at. A
 * thread without one only looks whether it has. */
#ifndef MANGROVE_WORKER_OPS_METER_H
#define MANGROVE_WORKER_OPS_METER_H

#include <stddef.h>

typedef enum MeterKind {
    METER_OVERHEAD,    /* between the operations: tape, memory, finding tensors */
    METER_GEMM,        /* products of gemm.h */
    METER_ATTENTION,   /* products and softmax of an attention, or of a pooling, in one pass */
    METER_ELEMENTWISE, /* all else within operations */
    METER_ROWS,        /* gathers and scatters */
    N_METER_KINDS
} MeterKind;

typedef struct Meter {
    double seconds[N_METER_KINDS];
    MeterKind now;
    double since_s;
} Meter;

/* From now on, all zero; NULL: no more. The meter of this thread, which is why it is not handed from call to call: a
 * matrix product does not know its step. */
void meter_use(Meter *m);

extern _Thread_local Meter *meter_of_thread;
MeterKind meter_switch(MeterKind kind);

/* What follows is of this kind. Returns what came before. */
static inline MeterKind meter_enter(MeterKind kind) {
    return meter_of_thread ? meter_switch(kind) : kind;
}

#endif
