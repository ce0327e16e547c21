/* The matrix products of a step of MAN, beside the same ones as plain calls of OpenBLAS.
 *
 * The list follows worker/model/man.c with the sasrec encoder: a layer is one product forward and two on the way back,
 * over the packed rows of the batch. Ours go through gemm.h in the pieces that the operations make; the yardstick's are
 * one call each. Every product has operands of its own, as in a step, so they come from where a step's come from. */
#include <cblas.h>
#include <stdio.h>

#include "common/arena.h"
#include "deploy/bench/bench.h"
#include "worker/ops/gemm.h"

enum { MAX_LAYERS = 64, N_CANDIDATES = 10, N_GROUPS = 10, PAIR_HIDDEN = 32, PAIR_OUT = 16 };
/* The pieces of similarity.c, which ends them with an instance, and of batch_norm.c. */
enum { PAIR_ROWS = 256, NORM_ROWS = 512, ALL_ROWS = 1 << 30 };
#define DEFAULT_SECONDS 0.2

/* y (R,M) = x (R,K) W, dx = dy W^T, dW = x^T dy */
typedef struct Layer {
    int R, K, M;
    int piece; /* rows of one call of ours */
    float *x, *W, *y, *dx, *dW, *dy;
} Layer;

typedef struct Width {
    int D, history;
    int head[2]; /* hidden layers */
    double target;
} Width;

static const Width WIDTHS[] = {
    {20, 10, {20, 10}, 1.2}, {40, 250, {100, 64}, 1.2}, {100, 10, {100, 64}, 0.95}, {200, 10, {100, 64}, 0.95}};

typedef enum Direction { FORWARD, TO_INPUT, TO_MATRIX, ALL_THREE } Direction;
static const char *const DIRECTION_NAMES[] = {
    [FORWARD] = "forward", [TO_INPUT] = "to the input", [TO_MATRIX] = "to the matrix", [ALL_THREE] = "all three"};

typedef struct Products {
    Layer layers[MAX_LAYERS];
    int n;
    Arena arena;
    Direction direction;
    double seconds, flops; /* flops: of one direction */
} Products;

/* ---- the list --------------------------------------------------------------------------------------------------- */

static float *numbers(Arena *a, int rows, int columns) {
    size_t n = (size_t)rows * (size_t)columns;
    float *x = arena_array(a, float, n);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(i * 2654435761u % 1021) / 1021 - 0.5f;
    return x;
}

static void add_layers(Products *p, int count, int R, int K, int M, int piece) {
    for (int i = 0; i < count; i++) {
        Layer *l = &p->layers[p->n++];
        *l = (Layer){.R = R, .K = K, .M = M, .piece = piece};
        l->x = numbers(&p->arena, R, K);
        l->W = numbers(&p->arena, K, M);
        l->y = numbers(&p->arena, R, M);
        l->dx = numbers(&p->arena, R, K);
        l->dW = numbers(&p->arena, K, M);
        l->dy = numbers(&p->arena, R, M);
        p->flops += 2.0 * R * K * M;
    }
}

static void make_products(Products *p, const Width *w, int B, int history) {
    int P = B * history, Q = B * N_CANDIDATES, D = w->D, per_instance = history * N_CANDIDATES;
    int piece = (PAIR_ROWS + per_instance - 1) / per_instance * per_instance;
    add_layers(p, 16, P, D, D, ALL_ROWS);                      /* attention and FFN of two blocks in two encoders, */
    add_layers(p, 5, P, D, D, ALL_ROWS);                       /* of SFA; and ISA's matrix */
    add_layers(p, 6, B * N_GROUPS, D, D, ALL_ROWS);            /* GPA */
    add_layers(p, 1, P, D, PAIR_HIDDEN, ALL_ROWS);             /* ISA's first layer: the history's part, */
    add_layers(p, 1, Q, D, PAIR_HIDDEN, ALL_ROWS);             /* the candidates', */
    add_layers(p, 1, P * N_CANDIDATES, D, PAIR_HIDDEN, piece); /* the pairs'; */
    add_layers(p, 1, P * N_CANDIDATES, PAIR_HIDDEN, PAIR_OUT, NORM_ROWS); /* and its second */
    add_layers(p, 3, Q, D, w->head[0], ALL_ROWS);                         /* the heads: the candidates' parts, */
    add_layers(p, 4, B, D, w->head[0], ALL_ROWS);                         /* the instances'; and their second */
    add_layers(p, 2, Q, w->head[0], w->head[1], NORM_ROWS);
}

/* ---- both sides ------------------------------------------------------------------------------------------------- */

static void our_call(const Layer *l, Direction direction) {
    for (int i = 0; i < l->R; i += l->piece) {
        int rows = l->R - i < l->piece ? l->R - i : l->piece, K = l->K, M = l->M;
        size_t x = (size_t)i * (size_t)K, y = (size_t)i * (size_t)M;
        if (direction == FORWARD)
            gemm_nn(rows, M, K, l->x + x, K, l->W, M, 1, l->y + y, M);
        else if (direction == TO_INPUT)
            gemm_nt(rows, K, M, l->dy + y, M, l->W, M, 0, l->dx + x, K);
        else
            gemm_tn(K, M, rows, l->x + x, K, l->dy + y, M, 1, l->dW, M);
    }
}

static void plain_call(const Layer *l, Direction direction) {
    int R = l->R, K = l->K, M = l->M;
    if (direction == FORWARD)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, R, M, K, 1, l->x, K, l->W, M, 1, l->y, M);
    else if (direction == TO_INPUT)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, R, K, M, 1, l->dy, M, l->W, M, 0, l->dx, K);
    else
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, K, M, R, 1, l->x, K, l->dy, M, 1, l->dW, M);
}

/* Whole steps for so long, by the processor's clock: forward through the layers, and back. */
static double rate(const Products *p, void (*call)(const Layer *l, Direction direction)) {
    double start = bench_cpu_s(), spent = 0, flops = 0;
    for (; spent < p->seconds; spent = bench_cpu_s() - start) {
        if (p->direction == FORWARD || p->direction == ALL_THREE)
            for (int i = 0; i < p->n; i++)
                call(&p->layers[i], FORWARD);
        for (int i = p->n - 1; i >= 0 && p->direction != FORWARD; i--) {
            if (p->direction != TO_INPUT)
                call(&p->layers[i], TO_MATRIX);
            if (p->direction != TO_MATRIX)
                call(&p->layers[i], TO_INPUT);
        }
        flops += p->flops * (p->direction == ALL_THREE ? 3 : 1);
    }
    return flops / spent * 1e-9;
}

static Err ours(void *ctx, double *value) {
    *value = rate(ctx, our_call);
    return OK;
}

static Err theirs(void *ctx, double *value) {
    *value = rate(ctx, plain_call);
    return OK;
}

/* ---- the cases -------------------------------------------------------------------------------------------------- */

static Err measure_width(const Width *w, int B, const BenchOptions *o) {
    int history = o->mean_history > 0 ? (int)(o->mean_history + 0.5) : w->history;
    Products p = {.seconds = o->seconds > 0 ? o->seconds : DEFAULT_SECONDS};
    arena_init(&p.arena, 1 << 20);
    make_products(&p, w, B, history > 0 ? history : 1);
    Err err = OK;
    for (p.direction = FORWARD; p.direction <= ALL_THREE && !err; p.direction++) {
        char name[64];
        snprintf(name, sizeof name, "D %d batch %d %s", w->D, B, DIRECTION_NAMES[p.direction]);
        BenchCase c = {
            .bench = "gemm", .name = name, .unit = "GFLOP/s", .yardstick = "OpenBLAS call by call", .ctx = &p};
        c.target = p.direction == ALL_THREE ? w->target : 0;
        c.ours = ours;
        c.theirs = theirs;
        err = bench_compare(&c, o, NULL);
    }
    arena_free(&p.arena);
    return err;
}

Err bench_gemm(const Config *config, const BenchOptions *options) {
    Err err = gemm_self_check();
    for (size_t i = 0; i < sizeof WIDTHS / sizeof *WIDTHS && !err; i++)
        err = measure_width(&WIDTHS[i], config->train.batch, options);
    return err;
}
