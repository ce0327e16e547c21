/* Gradients of the operations on rows, matrices and norms.
 * link: mg_numbers_f64 */
#include "tests/gradient/gradient.h"
#include "worker/ops/linear.h"
#include "worker/ops/loss.h"
#include "worker/ops/norm.h"
#include "worker/ops/rows.h"

static const int ONE[] = {1}, MIXED[] = {3, 1, 5};

/* ---- gathers and sums ------------------------------------------------------------------------------------------- */

static Var *gather(Tape *t, Var **x, const Case *c, double *loss) {
    (void)loss;
    return op_gather(t, x[0], c->index, c->N);
}

static void gather_adds_up_repeated_rows(void **state) {
    (void)state;
    static const uint32_t INDEX[] = {2, 0, 2, 2, 1};
    check_case(&(Case){"gather, a row three times", 1, {3}, {4}, .build = gather, .index = INDEX, .N = 5});
    check_case(&(Case){"gather, one row", 1, {1}, {3}, .build = gather, .index = INDEX + 1, .N = 1});
}

static Var *embed(Tape *t, Var **x, const Case *c, double *loss) {
    (void)loss;
    return op_embed(t, x[0], c->index, x[1], c->segments);
}

static void embedding_reaches_rows_and_positions(void **state) {
    (void)state;
    static const uint32_t INDEX[] = {2, 0, 2, 1, 0, 0, 3, 2, 1};
    Histories h = {0};
    histories_init(&h, 3, MIXED);
    check_case(&(Case){"embed", 2, {4, 5}, {3, 3}, .build = embed, .segments = &h.segments, .index = INDEX});
    Histories one = {0};
    histories_init(&one, 1, ONE);
    check_case(&(Case){"embed, T=1", 2, {3, 1}, {3, 3}, .build = embed, .segments = &one.segments, .index = INDEX});
}

static Var *add(Tape *t, Var **x, const Case *c, double *loss) {
    (void)loss;
    return op_add(t, x[0], x[c->kind]);
}

static void a_sum_reaches_both_terms(void **state) {
    (void)state;
    check_case(&(Case){"add", 2, {3, 3}, {5, 5}, .build = add, .kind = 1});
    check_case(&(Case){"add, twice the same", 1, {3}, {5}, .build = add, .kind = 0});
}

static Var *mean(Tape *t, Var **x, const Case *c, double *loss) {
    (void)loss;
    return op_mean_segments(t, x[0], c->segments);
}

static void a_mean_is_shared_by_its_positions(void **state) {
    (void)state;
    Histories h = {0};
    histories_init(&h, 3, MIXED);
    check_case(&(Case){"mean of segments", 1, {9}, {4}, .build = mean, .segments = &h.segments});
}

static Var *softmax(Tape *t, Var **x, const Case *c, double *loss) {
    (void)loss;
    return op_softmax_groups(t, x[0], c->N);
}

static Var *weighted_sum(Tape *t, Var **x, const Case *c, double *loss) {
    (void)c;
    (void)loss;
    return op_weighted_sum(t, x[0], x[1]);
}

static void prototypes_are_weighted(void **state) {
    (void)state;
    check_case(&(Case){"softmax over groups", 1, {12}, {1}, .build = softmax, .N = 4});
    check_case(&(Case){"softmax over one", 1, {3}, {1}, .build = softmax, .N = 1});
    check_case(&(Case){"weighted sum", 2, {3, 12}, {4, 5}, .build = weighted_sum});
    check_case(&(Case){"weighted sum of one", 2, {1, 1}, {1, 5}, .build = weighted_sum});
}

static Var *match(Tape *t, Var **x, const Case *c, double *loss) {
    (void)loss;
    return op_match_groups(t, x[0], x[1], x[2], x[3], x[4], c->segments);
}

static void positions_are_matched_with_prototypes(void **state) {
    (void)state;
    Histories h = {0}, one = {0};
    histories_init(&h, 3, MIXED);
    histories_init(&one, 1, ONE);
    check_case(&(Case){"match groups", 5, {9, 6, 1, 4, 4}, {4, 3, 3, 4, 1}, .build = match, .segments = &h.segments});
    check_case(
        &(Case){"match groups, T=1", 5, {1, 1, 1, 4, 4}, {4, 3, 3, 4, 1}, .build = match, .segments = &one.segments});
}

/* ---- matrices --------------------------------------------------------------------------------------------------- */

static Var *linear(Tape *t, Var **x, const Case *c, double *loss) {
    (void)loss;
    return op_linear(t, x[0], x[1], c->n_inputs > 2 ? x[2] : NULL);
}

static Var *linear_residual(Tape *t, Var **x, const Case *c, double *loss) {
    (void)c;
    (void)loss;
    return op_linear_residual(t, x[0], x[1], x[2], x[3]);
}

static Var *feed_forward(Tape *t, Var **x, const Case *c, double *loss) {
    (void)c;
    (void)loss;
    return op_feed_forward(t, x[0], x[1], x[2], x[3], x[4]);
}

static void linear_layers_reach_input_matrix_and_bias(void **state) {
    (void)state;
    check_case(&(Case){"linear", 3, {7, 5, 1}, {5, 4, 4}, .build = linear});
    check_case(&(Case){"linear to one, one row", 3, {1, 5, 1}, {5, 1, 1}, .build = linear});
    check_case(&(Case){"linear without bias", 2, {7, 20}, {20, 20}, .build = linear});
    check_case(&(Case){"linear + residual", 4, {6, 5, 1, 6}, {5, 3, 3, 3}, .build = linear_residual});
    check_case(&(Case){"linear + repeated rows", 4, {6, 5, 1, 2}, {5, 3, 3, 3}, .build = linear_residual});
    check_case(&(Case){"feed forward", 5, {6, 5, 1, 5, 1}, {5, 5, 5, 5, 5}, .build = feed_forward});
    check_case(&(Case){"feed forward, one row", 5, {1, 20, 1, 20, 1}, {20, 20, 20, 20, 20}, .build = feed_forward});
}

/* Parts: per candidate, per instance, per candidate, per instance. */
static Var *linear_parts(Tape *t, Var **x, const Case *c, double *loss) {
    (void)loss;
    return op_linear_parts(t, x + 2, c->n_inputs - 2, x[0], x[1], c->kind, c->N);
}

static void split_heads_equal_the_concatenation(void **state) {
    (void)state;
    check_case(
        &(Case){"split head", 6, {12, 1, 6, 2, 6, 2}, {4, 4, 3, 2, 3, 4}, .build = linear_parts, .kind = 2, .N = 3});
    check_case(
        &(Case){"split head, one instance", 4, {6, 1, 3, 1}, {4, 4, 3, 3}, .build = linear_parts, .kind = 1, .N = 3});
}

/* ---- norms ------------------------------------------------------------------------------------------------------ */

static Var *layer_norm(Tape *t, Var **x, const Case *c, double *loss) {
    (void)c;
    (void)loss;
    return op_layer_norm(t, x[0], x[1], x[2]);
}

static void layer_norm_passes_its_statistics(void **state) {
    (void)state;
    check_case(&(Case){"layer norm", 3, {6, 1, 1}, {5, 5, 5}, .build = layer_norm});
    check_case(&(Case){"layer norm, one row of 20", 3, {1, 1, 1}, {20, 20, 20}, .build = layer_norm});
}

enum { NONE, TRAINING, RUNNING };

static Var *norm_relu_linear(Tape *t, Var **x, const Case *c, double *loss) {
    static const real MEAN[40] = {0.3, -0.2, 0.1}, VAR[40] = {0.5, 1.5, 0.7, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                                                              1,   1,   1,   1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    (void)loss;
    int K = x[0]->cols;
    BatchNorm norm = {.gamma = x[3], .beta = x[4]};
    if (c->kind == RUNNING) {
        norm.running_mean = MEAN;
        norm.running_var = VAR;
    } else {
        norm.mean = arena_array(t->arena, real, K);
        norm.var = arena_array(t->arena, real, K);
    }
    return op_norm_relu_linear(t, x[0], c->kind == NONE ? NULL : &norm, x[1], x[2]);
}

static void batch_norm_passes_its_statistics(void **state) {
    (void)state;
    check_case(&(Case){"batch norm", 5, {9, 5, 1, 1, 1}, {5, 3, 3, 5, 5}, .build = norm_relu_linear, .kind = TRAINING});
    check_case(&(Case){
        "batch norm to one", 5, {9, 16, 1, 1, 1}, {16, 1, 1, 16, 16}, .build = norm_relu_linear, .kind = TRAINING});
    check_case(&(Case){
        "batch norm, two rows", 5, {2, 5, 1, 1, 1}, {5, 3, 3, 5, 5}, .build = norm_relu_linear, .kind = TRAINING});
    check_case(&(Case){
        "batch norm, running", 5, {9, 5, 1, 1, 1}, {5, 3, 3, 5, 5}, .build = norm_relu_linear, .kind = RUNNING});
    check_case(&(Case){"no norm", 3, {9, 32, 1}, {32, 16, 16}, .build = norm_relu_linear, .kind = NONE});
    /* more rows than a tile of 128; few, so that no activation lies within the differences of the kink */
    check_case(&(Case){
        "batch norm, tiles", 5, {520, 1, 1, 1, 1}, {1, 2, 2, 1, 1}, .build = norm_relu_linear, .kind = TRAINING});
}

/* ---- losses ----------------------------------------------------------------------------------------------------- */

enum { SOFTMAX, BINARY, SPREAD };

static Var *loss_of(Tape *t, Var **x, const Case *c, double *loss) {
    if (c->kind == SPREAD)
        *loss = op_loss_spread(t, x[0], 0.3);
    else /* of a step that is larger than this slice */
        *loss = (c->kind == SOFTMAX ? op_loss_softmax : op_loss_binary)(t, x[0], c->N, 7);
    return NULL;
}

static void losses_start_the_way_back(void **state) {
    (void)state;
    check_case(&(Case){"softmax loss", 1, {12}, {1}, .build = loss_of, .kind = SOFTMAX, .N = 4});
    check_case(&(Case){"softmax loss, one instance", 1, {3}, {1}, .build = loss_of, .kind = SOFTMAX, .N = 3});
    check_case(&(Case){"binary loss", 1, {12}, {1}, .build = loss_of, .kind = BINARY, .N = 4});
    check_case(&(Case){"spread of the prototypes", 1, {4}, {5}, .build = loss_of, .kind = SPREAD});
}

/* ---- the tape --------------------------------------------------------------------------------------------------- */

static void nothing_passes_a_stop(void **state) {
    (void)state;
    Arena arena;
    Tape t;
    arena_init(&arena, 1 << 12);
    tape_init(&t, &arena, true);
    Var *x = tape_var(&t, 2, 2, true), *W = tape_var(&t, 2, 2, true);
    for (int i = 0; i < 4; i++)
        x->x[i] = W->x[i] = i;
    Var *y = op_linear(&t, op_stop(&t, x), W, NULL);
    op_loss_softmax(&t, y, 2, 2);
    tape_backward(&t);
    assert_true(x->is_fresh);
    assert_false(W->is_fresh);
    arena_free(&arena);
}

/* Else a model that has diverged would go on with zeros behind its first ReLU, unseen. */
static void what_is_not_a_number_passes_a_relu(void **state) {
    (void)state;
    for (int M = 1; M <= 2; M++) {
        Arena arena;
        Tape t;
        arena_init(&arena, 1 << 12);
        tape_init(&t, &arena, false);
        Var *h = tape_var(&t, 1, 5, false), *W = tape_var(&t, 5, M, false);
        for (int i = 0; i < 5; i++)
            h->x[i] = i == 1 ? (real)NAN : 1;
        for (int i = 0; i < 5 * M; i++)
            W->x[i] = 1;
        assert_true(isnan(op_norm_relu_linear(&t, h, NULL, W, NULL)->x[0]));
        arena_free(&arena);
    }
}

static void evaluation_records_nothing(void **state) {
    (void)state;
    Arena arena;
    Tape t;
    arena_init(&arena, 1 << 12);
    tape_init(&t, &arena, false);
    Var *x = tape_var(&t, 2, 2, true), *W = tape_var(&t, 2, 2, true);
    memset(x->x, 0, sizeof(real) * 4);
    memset(W->x, 0, sizeof(real) * 4);
    op_loss_softmax(&t, op_linear(&t, x, W, NULL), 2, 2);
    assert_null(t.last);
    assert_null(x->dx);
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gather_adds_up_repeated_rows),
        cmocka_unit_test(embedding_reaches_rows_and_positions),
        cmocka_unit_test(a_sum_reaches_both_terms),
        cmocka_unit_test(a_mean_is_shared_by_its_positions),
        cmocka_unit_test(prototypes_are_weighted),
        cmocka_unit_test(positions_are_matched_with_prototypes),
        cmocka_unit_test(linear_layers_reach_input_matrix_and_bias),
        cmocka_unit_test(split_heads_equal_the_concatenation),
        cmocka_unit_test(layer_norm_passes_its_statistics),
        cmocka_unit_test(batch_norm_passes_its_statistics),
        cmocka_unit_test(losses_start_the_way_back),
        cmocka_unit_test(nothing_passes_a_stop),
        cmocka_unit_test(evaluation_records_nothing),
        cmocka_unit_test(what_is_not_a_number_passes_a_relu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
