/* Gradients of the operations on sequences: attention, target attention, GRU. Histories of 1, of one vector more and
 * less, and several at once.
 * link: mg_numbers_f64 */
#include "tests/gradient/gradient.h"
#include "worker/ops/attention.h"
#include "worker/ops/gru.h"
#include "worker/ops/similarity.h"

/* The shapes of all cases: lengths, and the sum of them. */
typedef struct Shape {
    const char *name;
    int n, lengths[4], P;
} Shape;

static const Shape SHAPES[] = {
    {"T=1", 1, {1}, 1},
    {"one instance", 1, {4}, 4},
    {"mixed lengths", 3, {3, 1, 5}, 9},
    {"around a vector", 2, {9, 8}, 17}, /* a vector holds 8 doubles */
    {"more than two vectors", 1, {19}, 19},
};
enum { N_SHAPES = sizeof SHAPES / sizeof *SHAPES };

/* Runs a case of the given inputs, of which the rows in `of` follow the shape: P, or n times a factor. */
static void over_shapes(const char *op, Case c, void (*rows)(Case *c, const Shape *s)) {
    for (int i = 0; i < N_SHAPES; i++) {
        Histories h = {0};
        char name[96];
        histories_init(&h, SHAPES[i].n, SHAPES[i].lengths);
        snprintf(name, sizeof name, "%s, %s", op, SHAPES[i].name);
        Case now = c;
        now.name = name;
        now.segments = &h.segments;
        rows(&now, &SHAPES[i]);
        check_case(&now);
    }
}

static Var *causal(Tape *t, Var **x, const Case *c, double *loss) {
    (void)loss;
    return op_attention_causal(t, x[0], x[1], c->segments);
}

static void rows_of_causal(Case *c, const Shape *s) {
    for (int i = 0; i < c->n_inputs; i++)
        c->rows[i] = s->P;
}

static void causal_attention_sees_the_past(void **state) {
    (void)state;
    over_shapes("causal attention", (Case){.n_inputs = 2, .cols = {3, 3}, .build = causal}, rows_of_causal);
    over_shapes("causal, D 20", (Case){.n_inputs = 2, .cols = {20, 20}, .build = causal}, rows_of_causal);
    over_shapes("causal, D 40", (Case){.n_inputs = 2, .cols = {40, 40}, .build = causal}, rows_of_causal);
    over_shapes("causal, D 13", (Case){.n_inputs = 2, .cols = {13, 13}, .build = causal}, rows_of_causal);
}

/* So long that the weights are not kept for the way back. */
static void long_histories_compute_their_weights_again(void **state) {
    (void)state;
    static const int LENGTHS[] = {70, 3};
    Histories h = {0};
    histories_init(&h, 2, LENGTHS);
    check_case(&(Case){"causal attention, n 70", 2, {73, 73}, {2, 2}, .build = causal, .segments = &h.segments});
}

static Var *prototypes(Tape *t, Var **x, const Case *c, double *loss) {
    (void)loss;
    return op_attention_prototypes(t, x[0], x[1], c->segments);
}

static void rows_of_prototypes(Case *c, const Shape *s) {
    c->rows[0] = 5; /* more than a block of queries */
    c->rows[1] = s->P;
}

static void prototypes_see_every_position(void **state) {
    (void)state;
    over_shapes("prototype attention", (Case){.n_inputs = 2, .cols = {4, 4}, .build = prototypes}, rows_of_prototypes);
    over_shapes("prototypes, D 20", (Case){.n_inputs = 2, .cols = {20, 20}, .build = prototypes}, rows_of_prototypes);
}

static Var *query(Tape *t, Var **x, const Case *c, double *loss) {
    (void)loss;
    return c->n_inputs > 2 ? op_query(t, x[0], x[2], x[3], x[1]) : op_query(t, x[0], NULL, NULL, x[1]);
}

static void queries_reach_both_matrices(void **state) {
    (void)state;
    check_case(&(Case){"query", 4, {7, 5, 5, 1}, {5, 5, 5, 5}, .build = query});
    check_case(&(Case){"query, one row", 4, {1, 20, 20, 1}, {20, 20, 20, 20}, .build = query});
    check_case(&(Case){"query without a matrix", 2, {3, 5}, {5, 5}, .build = query});
}

static Var *pair_layer(Tape *t, Var **x, const Case *c, double *loss) {
    (void)loss;
    return op_pair_layer(t, x[0], x[1], x[2], x[3], c->segments, c->N);
}

static void rows_of_pair_layer(Case *c, const Shape *s) {
    c->rows[0] = s->P;
    c->rows[1] = s->n * c->N;
    c->rows[2] = 4 * c->cols[0];
    c->rows[3] = 1;
}

static Var *pair_pool(Tape *t, Var **x, const Case *c, double *loss) {
    (void)loss;
    return op_pair_pool(t, x[0], x[1], c->segments, c->N);
}

static void rows_of_pair_pool(Case *c, const Shape *s) {
    c->rows[0] = s->P * c->N;
    c->rows[1] = s->P;
}

static void target_attention_reaches_histories_and_candidates(void **state) {
    (void)state;
    over_shapes("pair layer", (Case){.n_inputs = 4, .cols = {3, 3, 5, 5}, .build = pair_layer, .N = 3},
                rows_of_pair_layer);
    over_shapes("pair layer, D 20", (Case){.n_inputs = 4, .cols = {20, 20, 32, 32}, .build = pair_layer, .N = 1},
                rows_of_pair_layer);
    over_shapes("pair pool", (Case){.n_inputs = 2, .cols = {1, 4}, .build = pair_pool, .N = 3}, rows_of_pair_pool);
    over_shapes("pair pool, D 20", (Case){.n_inputs = 2, .cols = {1, 20}, .build = pair_pool, .N = 6},
                rows_of_pair_pool);
}

/* 150 triples an instance: two make a chunk of the products, the third is one of its own. */
static void pair_products_are_made_in_chunks(void **state) {
    (void)state;
    static const int LENGTHS[] = {50, 50, 50};
    Histories h = {0};
    histories_init(&h, 3, LENGTHS);
    check_case(&(Case){
        "pair layer, chunks", 4, {150, 9, 8, 1}, {2, 2, 2, 2}, .build = pair_layer, .segments = &h.segments, .N = 3});
}

static Var *gru(Tape *t, Var **x, const Case *c, double *loss) {
    (void)loss;
    GruCell cell = {x[1], x[2], x[3], x[4]};
    return op_gru(t, x[0], &cell, c->segments);
}

static void rows_of_gru(Case *c, const Shape *s) {
    c->rows[0] = s->P;
    c->rows[1] = c->rows[3] = 2 * c->cols[0];
    c->rows[2] = c->rows[4] = 1;
}

static void gru_goes_back_through_time(void **state) {
    (void)state;
    over_shapes("gru", (Case){.n_inputs = 5, .cols = {3, 6, 6, 3, 3}, .build = gru}, rows_of_gru);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(causal_attention_sees_the_past),
        cmocka_unit_test(long_histories_compute_their_weights_again),
        cmocka_unit_test(prototypes_see_every_position),
        cmocka_unit_test(queries_reach_both_matrices),
        cmocka_unit_test(target_attention_reaches_histories_and_candidates),
        cmocka_unit_test(pair_products_are_made_in_chunks),
        cmocka_unit_test(gru_goes_back_through_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
