/* A few rows' numbers in registers. Inline, for kernels that are compiled for several processors. Rows of up to 40
 * numbers are one panel of vectors; wider ones are cut into panels. */
#ifndef MANGROVE_WORKER_OPS_PANEL_H
#define MANGROVE_WORKER_OPS_PANEL_H

#include "worker/ops/lanes.h"

typedef real Half __attribute__((vector_size(8 * sizeof(real)), aligned(sizeof(real))));

/* Part of a row, `width` numbers. The width is a constant wherever this is inlined, so that members which it does not
 * need cost nothing. */
typedef struct Panel {
    Wide wide[40 / LANES];
    Half half;
    Narrow narrow;
} Panel;

enum { HAS_HALF = LANES > 8 };
#define PANEL_WIDE(width)   ((width) / LANES)
#define PANEL_HALF(width)   (HAS_HALF && (width) % LANES >= 8)
#define PANEL_NARROW(width) ((width) % 8 >= 4)

ALWAYS_INLINE Panel panel_load(int width, const real *x) {
    Panel p = {0};
#pragma GCC unroll 5
    for (int i = 0; i < PANEL_WIDE(width); i++)
        p.wide[i] = *(const Wide *)(x + i * LANES);
    if (PANEL_HALF(width))
        p.half = *(const Half *)(x + width / LANES * LANES);
    if (PANEL_NARROW(width))
        p.narrow = *(const Narrow *)(x + width / 8 * 8);
    return p;
}

ALWAYS_INLINE void panel_store(int width, real *x, const Panel *p) {
#pragma GCC unroll 5
    for (int i = 0; i < PANEL_WIDE(width); i++)
        *(Wide *)(x + i * LANES) = p->wide[i];
    if (PANEL_HALF(width))
        *(Half *)(x + width / LANES * LANES) = p->half;
    if (PANEL_NARROW(width))
        *(Narrow *)(x + width / 8 * 8) = p->narrow;
}

/* p += a x */
ALWAYS_INLINE void panel_add(int width, Panel *p, real a, const Panel *x) {
#pragma GCC unroll 5
    for (int i = 0; i < PANEL_WIDE(width); i++)
        p->wide[i] += a * x->wide[i];
    if (PANEL_HALF(width))
        p->half += a * x->half;
    if (PANEL_NARROW(width))
        p->narrow += a * x->narrow;
}

/* p += x y */
ALWAYS_INLINE void panel_add_product(int width, Panel *p, const Panel *x, const Panel *y) {
#pragma GCC unroll 5
    for (int i = 0; i < PANEL_WIDE(width); i++)
        p->wide[i] += x->wide[i] * y->wide[i];
    if (PANEL_HALF(width))
        p->half += x->half * y->half;
    if (PANEL_NARROW(width))
        p->narrow += x->narrow * y->narrow;
}

#endif
