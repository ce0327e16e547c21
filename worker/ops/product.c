/* Panels of columns, their kernels, and which processor has which. */
#include "worker/ops/product.h"

#include "worker/ops/simd.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define HAS_X86_KERNELS
#endif

#ifdef __clang__
#define UNROLL /* it does so unasked */
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* ---- 16 bytes of two rows together ------------------------------------------------------------------------------ */

typedef real Single __attribute__((vector_size(16), aligned(sizeof(real))));
typedef real Pair __attribute__((vector_size(32), aligned(sizeof(real))));
enum { SINGLE = 16 / (int)sizeof(real) };

#ifdef MANGROVE_DOUBLE
#define ALL(x)           ((Pair){x, x, x, x})
#define JOINED(v, w)     __builtin_shufflevector(v, w, 0, 1, 6, 7)
#define TWICE(s)         __builtin_shufflevector(s, s, 0, 1, 0, 1)
#define HALF_OF(p, high) ((high) ? __builtin_shufflevector(p, p, 2, 3) : __builtin_shufflevector(p, p, 0, 1))
#else
#define ALL(x)       ((Pair){x, x, x, x, x, x, x, x})
#define JOINED(v, w) __builtin_shufflevector(v, w, 0, 1, 2, 3, 12, 13, 14, 15)
#define TWICE(s)     __builtin_shufflevector(s, s, 0, 1, 2, 3, 0, 1, 2, 3)
#define HALF_OF(p, high)                                                                                               \
    ((high) ? __builtin_shufflevector(p, p, 4, 5, 6, 7) : __builtin_shufflevector(p, p, 0, 1, 2, 3))
#endif

/* ---- the panels of each instruction set ------------------------------------------------------------------------- */

/* All rows of some columns. */
typedef void (*PanelFunction)(const Product *p, const real *B, real *C, int width);

typedef struct Panel {
    int least, most; /* columns */
    PanelFunction rows, sums;
} Panel;

/* In product_tiles.h and below, of the instruction set at hand. */
#define FULL           ((int)(VECTOR_BYTES / sizeof(real)))
#define HALF           (FULL / 2)
#define AT(Type, from) (*(Type *)(from))
#define FULL_AT(j)     ((j) == full - 1 && !half && !tail ? width - FULL : (j)*FULL)
#define HALF_AT(j)     ((j) == half - 1 && !tail ? width - HALF : full * FULL + (j)*HALF)
#define EACH_ROW       UNROLL for (int r = 0; r < rows; r++)
#define EACH_FULL      UNROLL for (int j = 0; j < full; j++)
#define EACH_HALF      UNROLL for (int j = 0; j < half; j++)
#define LAST_OF(r)     ((r) < n_rows ? (r) : n_rows - 1)

/* rows_NAME and sums_NAME. A function each, else the compiler runs out of registers. */
#define PANEL_TILE(is_sum, rows, n, full, half, tail)                                                                  \
    TILE(tile)                                                                                                         \
    (is_sum, rows, full, half, tail, p, p->A + m * (is_sum ? 1 : p->lda), B, C + m * p->ldc, width, n)
#define DEFINE_PANEL(name, full, half, tail)                                                                           \
    TILE_TARGET static void TILE(rows_##name)(const Product *p, const real *B, real *C, int width) {                   \
        int m = 0;                                                                                                     \
        for (; p->M - m > TILE_ROWS / 2; m += TILE_ROWS)                                                               \
            PANEL_TILE(false, TILE_ROWS, p->M - m, full, half, tail);                                                  \
        if (p->M > m)                                                                                                  \
            PANEL_TILE(false, TILE_ROWS / 2, p->M - m, full, half, tail);                                              \
    }                                                                                                                  \
    TILE_TARGET static void TILE(sums_##name)(const Product *p, const real *B, real *C, int width) {                   \
        int m = 0;                                                                                                     \
        for (; p->M - m >= TILE_ROWS; m += TILE_ROWS)                                                                  \
            PANEL_TILE(true, TILE_ROWS, TILE_ROWS, full, half, tail);                                                  \
        for (; p->M - m >= TILE_ROWS / 2; m += TILE_ROWS / 2)                                                          \
            PANEL_TILE(true, TILE_ROWS / 2, TILE_ROWS / 2, full, half, tail);                                          \
        for (; p->M - m >= 2; m += 2)                                                                                  \
            PANEL_TILE(true, 2, 2, full, half, tail);                                                                  \
        if (p->M > m)                                                                                                  \
            PANEL_TILE(true, 2, 1, full, half, tail);                                                                  \
    }
#define PANEL(name, least, most)                                                                                       \
    { least, most, TILE(rows_##name), TILE(sums_##name) }

#ifdef HAS_X86_KERNELS

#define TILE(name)   avx512_##name
#define TILE_TARGET  __attribute__((target("arch=x86-64-v4")))
#define VECTOR_BYTES 64
#define TILE_ROWS    8
#include "worker/ops/product_tiles.h"
DEFINE_PANEL(h, 0, 1, 0)
DEFINE_PANEL(f, 1, 0, 0)
DEFINE_PANEL(hh, 0, 2, 0)
DEFINE_PANEL(ft, 1, 0, 1)
DEFINE_PANEL(ff, 2, 0, 0)
DEFINE_PANEL(ffh, 2, 1, 0)
DEFINE_PANEL(fff, 3, 0, 0)
static const Panel AVX512_PANELS[] = {
    PANEL(h, HALF, HALF),           PANEL(f, FULL, FULL),      PANEL(hh, HALF, FULL),
    PANEL(ft, FULL, FULL + SINGLE), PANEL(ff, FULL, 2 * FULL), PANEL(ffh, 2 * FULL, 2 * FULL + HALF),
    PANEL(fff, 2 * FULL, 3 * FULL),
};
#undef TILE
#undef TILE_TARGET
#undef VECTOR_BYTES
#undef TILE_ROWS

#define TILE(name)   avx2_##name
#define TILE_TARGET  __attribute__((target("arch=x86-64-v3")))
#define VECTOR_BYTES 32
#define TILE_ROWS    4
#include "worker/ops/product_tiles.h"
DEFINE_PANEL(f, 1, 0, 0)
DEFINE_PANEL(ft, 1, 0, 1)
DEFINE_PANEL(ff, 2, 0, 0)
DEFINE_PANEL(fft, 2, 0, 1)
DEFINE_PANEL(fff, 3, 0, 0)
static const Panel AVX2_PANELS[] = {
    PANEL(f, FULL, FULL),           PANEL(ft, FULL, FULL + SINGLE),
    PANEL(ff, FULL, 2 * FULL),      PANEL(fft, 2 * FULL, 2 * FULL + SINGLE),
    PANEL(fff, 2 * FULL, 3 * FULL),
};
#undef TILE
#undef TILE_TARGET
#undef VECTOR_BYTES
#undef TILE_ROWS

#endif

#define TILE(name) portable_##name
#define TILE_TARGET
#define VECTOR_BYTES 16
#define TILE_ROWS    4
#include "worker/ops/product_tiles.h"
DEFINE_PANEL(f, 1, 0, 0)
DEFINE_PANEL(ff, 2, 0, 0)
DEFINE_PANEL(fff, 3, 0, 0)
static const Panel PORTABLE_PANELS[] = {
    PANEL(f, FULL, FULL),
    PANEL(ff, FULL, 2 * FULL),
    PANEL(fff, 2 * FULL, 3 * FULL),
};

/* ---- a product panel by panel ----------------------------------------------------------------------------------- */

/* The narrowest that holds what is left; else the widest that leaves enough for another. */
static const Panel *next_panel(const Panel *panels, int n_panels, int left) {
    const Panel *panel = panels, *widest = panels + n_panels - 1;
    if (left > widest->most) {
        for (panel = widest; left - panel->most < panels->least;)
            panel--;
        return panel;
    }
    while (left < panel->least || left > panel->most)
        panel++;
    return panel;
}

static void multiply(const Product *p, const Panel *panels, int n_panels, bool is_sum) {
    const real *B = p->B;
    real *C = p->C;
    for (int left = p->N, width; left > 0; left -= width, B += width, C += width) {
        const Panel *panel = next_panel(panels, n_panels, left);
        width = left < panel->most ? left : panel->most;
        (is_sum ? panel->sums : panel->rows)(p, B, C, width);
    }
}

#define DEFINE_KERNEL(name, PANELS)                                                                                    \
    static void name##_rows(const Product *p) {                                                                        \
        multiply(p, PANELS, (int)(sizeof PANELS / sizeof *PANELS), false);                                             \
    }                                                                                                                  \
    static void name##_sums(const Product *p) {                                                                        \
        multiply(p, PANELS, (int)(sizeof PANELS / sizeof *PANELS), true);                                              \
    }
#define KERNEL(name)                                                                                                   \
    { #name, name##_runs_here, name##_rows, name##_sums }

DEFINE_KERNEL(portable, PORTABLE_PANELS)
static bool portable_runs_here(void) {
    return true;
}

#ifdef HAS_X86_KERNELS
DEFINE_KERNEL(avx512, AVX512_PANELS)
static bool avx512_runs_here(void) {
    return __builtin_cpu_supports("x86-64-v4");
}
DEFINE_KERNEL(avx2, AVX2_PANELS)
static bool avx2_runs_here(void) {
    return __builtin_cpu_supports("x86-64-v3");
}
const ProductKernel PRODUCT_KERNELS[] = {KERNEL(avx512), KERNEL(avx2), KERNEL(portable)};
#else
const ProductKernel PRODUCT_KERNELS[] = {KERNEL(portable)};
#endif
const int N_PRODUCT_KERNELS = (int)(sizeof PRODUCT_KERNELS / sizeof *PRODUCT_KERNELS);

const ProductKernel *product_kernel_here(void) {
    const ProductKernel *kernel = PRODUCT_KERNELS;
    while (!kernel->runs_here())
        kernel++;
    return kernel;
}
